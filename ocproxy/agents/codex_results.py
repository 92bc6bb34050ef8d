"""What the results of Codex's tools say, by their wordings (seen up to 0.169.0). They carry no error flag.

A command's result begins with its exit code, or with the id of the session in which it goes on; a patch's with
`Success. Updated the following files`. Older versions sent JSON, `{"output": …, "metadata": {"exit_code": …}}`.
"""

from __future__ import annotations

import re

import msgspec

from ocproxy.agents.base import Action, Answer, CommandEnd
from ocproxy.agents.codex_shell import Read, read_of
from ocproxy.agents.generic import first_line
from ocproxy.model import EventType, Status

_HEAD = re.compile(
    r"\A(?:Chunk ID: [^\n]*\n)?Wall time: [^\n]*\n"
    r"(?:Process exited with code (?P<code>-?\d{1,10})\n|Process running with session ID (?P<session>\d{1,12})\n)?"
    r"(?:Original token count: \d+\n)?Output:\n"
)
_OLDER_HEAD = re.compile(
    r"\AExit code: (?P<code>-?\d{1,10})\nWall time: [^\n]*\n(?:Total output lines: \d+\n)?Output:\n"
)
_CUT = re.compile(
    r"\AWarning: truncated output \(original token count: |\[\.\.\. omitted \d+ of \d+ lines|\d tokens truncated…"
)
_REJECTED = re.compile(
    r"\A(?:(?:exec command|patch)? ?rejected\b|approval policy is |approval was cancelled|.{1,2000}"
    r"(?:rejected by user|rejected: (?:blocked by policy|policy forbids)))",
    re.S,
)
_ABORTED = re.compile(r"\Aaborted(?: by user(?: after [\d.]+s)?)?\Z")
_REFUSED = re.compile(
    r"\A(?:unsupported call: |failed to parse function arguments: |apply_patch verification failed: )"
)
_NO_IMAGE = re.compile(r"\Aunable to locate image at `")
_PATCHED = re.compile(r"(?:\A|\n)Success\. Updated the following files:\n")
_RUNS_ON = "runs on; its exit code is not in this result"
_NO_FILE = re.compile(r"\A(?:cat|sed|nl|head): .{1,4000}: No such file or directory\n?\Z", re.S)


class Ran(msgspec.Struct, frozen=True):
    """The result of a command. `output` is None where it was cut."""

    code: int | None
    session: str | None
    output: str
    is_cut: bool = False


def is_refused(text: str) -> bool:
    """Whether Codex did not even try."""
    return _REFUSED.match(text) is not None


def is_rejected(text: str) -> bool:
    """Whether the user, or the policy that the user chose, forbade it."""
    return _REJECTED.match(text) is not None


def ran(text: str) -> Ran | None:
    """A result of the shell; None for any other text."""
    if found := _HEAD.match(text) or _OLDER_HEAD.match(text):
        said = found.groupdict()
        output = text[found.end() :]
        is_cut = _CUT.search(output) is not None
        return Ran(int(said["code"]) if said["code"] else None, said.get("session"), output, is_cut)
    if text.startswith("{"):
        return _older(text)
    return None


def _older(text: str) -> Ran | None:
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    metadata = said.get("metadata") if isinstance(said, dict) else None
    code = metadata.get("exit_code") if isinstance(metadata, dict) else None
    output = said.get("output") if isinstance(said, dict) else None
    if type(code) is not int or not isinstance(output, str):
        return None
    return Ran(code, None, output, _CUT.search(output) is not None)


def answer(actions: tuple[Action, ...], text: str) -> Answer:
    """What the result of one of Codex's own tools says of the actions of its use."""
    size = len(text.encode("utf-8", "replace"))
    if _ABORTED.match(text):
        return Answer(Status.UNKNOWN, note=first_line(text))
    if is_rejected(text):
        return Answer(Status.REJECTED, note=first_line(text))
    if _REFUSED.match(text):
        return Answer(Status.FAILED, note=first_line(text))
    if _NO_IMAGE.match(text):
        return Answer(Status.FAILED, note=first_line(text), missing=True)
    result = ran(text)
    if any(action.event_type is EventType.BASH for action in actions):
        return command_answer(actions, result) if result else Answer(Status.UNKNOWN, note=first_line(text))
    if any(action.event_type is EventType.READ for action in actions):  # an image
        return Answer(Status.APPLIED, output_bytes=size)
    if _PATCHED.search(text):
        return Answer(Status.APPLIED)
    is_failed = result is not None and result.code not in (None, 0)
    # Of several files some may have been written before the failure.
    return Answer(Status.UNKNOWN if is_failed or len(actions) > 1 else Status.FAILED, note=first_line(text))


def command_answer(actions: tuple[Action, ...], result: Ran) -> Answer:
    """The answers of a command and of the read that it may be."""
    size = None if result.is_cut else len(result.output.encode("utf-8", "replace"))
    if result.session is not None:
        status = Status.APPLIED
        one = Answer(status, output_bytes=size, note=_RUNS_ON, background=result.session)
        each = [one, *(Answer(Status.UNKNOWN, note=_RUNS_ON) for _ in actions[1:])]
        return msgspec.structs.replace(one, each=tuple(each))
    status = status_of(result.code)
    note = first_line(result.output) or None if status is Status.FAILED else None
    command = Answer(status, exit_code=result.code, output_bytes=size, note=note)
    return msgspec.structs.replace(command, each=tuple(_each(actions, result, command)))


def _each(actions: tuple[Action, ...], result: Ran, command: Answer) -> list[Answer]:
    line = actions[0].command
    read = read_of(line) if line is not None else None
    return [
        read_answer(read, result) if action.event_type is EventType.READ and read else command for action in actions
    ]


def status_of(code: int | None) -> Status:
    if code is None:
        return Status.UNKNOWN
    return Status.FAILED if code else Status.APPLIED


def read_answer(read: Read, result: Ran) -> Answer:
    """What a read command shows of its file. Without an exit code its output has to do."""
    output = result.output
    if _NO_FILE.match(output) or result.code:
        return Answer(Status.FAILED, note=first_line(output), missing=_NO_FILE.match(output) is not None)
    if result.is_cut:
        return Answer(Status.APPLIED, note="the output was cut")
    lines = output.split("\n")
    ends = lines[-1] == ""
    lines = lines[:-1] if ends else lines
    if read.numbered:
        return Answer(Status.APPLIED, output_bytes=len(output.encode("utf-8", "replace")))
    first = read.first or 1
    known = tuple(enumerate(lines, first))
    is_all = read.count is None or len(lines) < read.count
    size = len(output.encode("utf-8", "replace"))
    if not is_all:
        return Answer(Status.APPLIED, output_bytes=size, lines=known)
    is_whole = first == 1
    if not lines and not is_whole:
        return Answer(Status.APPLIED, output_bytes=size)  # behind the end of the file
    return Answer(Status.APPLIED, output_bytes=size, lines=known, whole=is_whole, final_newline=ends and bool(lines))


def end_of(session: str, text: str) -> CommandEnd | None:
    """The end of a command that a later result tells; None while it runs on."""
    result = ran(text)
    return None if result is None else command_end(session, result)


def command_end(session: str, result: Ran) -> CommandEnd | None:
    """The end of the command of this session; None while it runs on."""
    if result.code is None:
        return None
    status = status_of(result.code)
    note = first_line(result.output) or None if status is Status.FAILED else None
    return CommandEnd(session, status, result.code, note)
