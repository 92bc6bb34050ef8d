"""What Claude Code's tool results say, by its own wordings (seen on the wire and in its files, up to 2.1.329).

Its results flag every failure, so a result without `is_error` is a success. It adds things to results: a line number
before each line read, `<system-reminder>` blocks glued to the end (older models' layout), frames around errors.
"""

from __future__ import annotations

import re

from ocproxy.agents import mcp_files
from ocproxy.agents.base import Answer
from ocproxy.model import Status, ToolResult, ToolUse

_REMINDERS = re.compile(r"(?:\n*<system-reminder>(?:(?!</?system-reminder>).)*</system-reminder>\s*)+\Z", re.S)
_NUMBERED = re.compile(r"\A *(\d+)(?:\t|→)(.*)\Z", re.S)
_LAST_NUMBER = re.compile(r"\A *(\d+)\Z")
_EMPTY = "<system-reminder>Warning: the file exists but the contents are empty.</system-reminder>"
_EMPTY_OLD = "<system-reminder>Warning: the file exists but has empty contents</system-reminder>"
_PAGE = 2000  # lines that a Read without limit gives at most (its own description)
_CUT = "... [truncated]"  # older versions cut lines at 2000 characters
_EXIT = re.compile(r"\AExit code (-?\d{1,10})(?:\n|\Z)")
# All of a result, or its last line behind what the command had written until then. Commands print anything: only the
# whole sentence is Claude Code's own. (Version 2.0 ends it behind the id.)
_WRITTEN_TO = r"\. Output is being written to: [^\n]+"
_BACKGROUND = re.compile(
    rf"\ACommand running in background with ID: ([\w-]+)(?:{_WRITTEN_TO})?\Z"
    rf"|(?:\A|\n)Command was manually backgrounded by user with ID: ([\w-]+){_WRITTEN_TO}\Z"
    r"|(?:\A|\n)Command was moved to the background \(ID: ([\w-]+)\)(?: after running for \d+s"
    rf"| so that a message that arrived while it was running can reach you; it was not interrupted){_WRITTEN_TO}\Z"
    r"|(?:\A|\n)Command did not complete within its \d+s timeout and was moved to the background \(ID: ([\w-]+)\)"
    rf"{_WRITTEN_TO}\Z"
)
_REJECTED = re.compile(
    r"\A(?:The user doesn't want to (?:proceed with this tool use|take this action right now)"
    r"|Permission (?:for this action|to use .{1,2000}?) (?:was|has been) denied|Permission to use \S+ denied by "
    r"|Claude requested permissions to |This command requires approval"
    r"|Auto mode (?:could not evaluate this action|is unavailable: )"
    r"|<tool_use_error>File is (?:in a directory that is denied by|covered by a \w+ deny rule in) your permission set"
    r"|<tool_use_error>Error: No such tool available: \S+\. \S+ is disabled for this session"
    r"|\S+ operation blocked by hook|PreToolUse:\S+ hook "
    r"|\[Request interrupted by user)",
    re.S,
)
# Of a command: what it writes itself stands behind its exit code.
_NOT_RUN = re.compile(
    r"\A[^\n]{1,4000}(?:\b(?:needs|requires?) approval\b|was blocked\. For security, Claude Code may only "
    r"|was blocked by a deny rule\b)"
)
_STAGED = "Not applied: "  # a settings file: a person must approve the change first
_LOST = ("[Tool result missing due to internal error]",)
_ABORTED = ("<error>Command was aborted before completion</error>", "Interrupted by user")
_MISSING = ("File does not exist", "<tool_use_error>File does not exist")
_ALTERED = re.compile(r"The user modified your proposed (?:content|changes) before accepting (?:it|them)")
_STALE = "(note: the file had been modified on disk since you last read it"
_INSERTED = re.compile(r"\AInserted cell ([\w-]+) with ")
_COMMANDS = ("Bash", "PowerShell")
_NO_OUTPUT = "(Bash completed with no output)"


def answer(use: ToolUse, result: ToolResult) -> Answer:
    """What the result of one of Claude Code's own tools says."""
    text = without_reminders(result.text)
    status = _status(use, result, text)
    if use.name.startswith("mcp__"):
        return mcp_files.answer(use, text, status, _note(text))
    note = None if status is Status.APPLIED else _note(text)
    if use.name in _COMMANDS:
        return _command_answer(text, status, note)
    if status is not Status.APPLIED:
        return Answer(status, note=note, missing=text.startswith(_MISSING))
    if use.name == "Read":
        return _read_answer(use, result.text)
    if use.name in ("Write", "Edit", "MultiEdit", "NotebookEdit"):
        return _change_answer(use, text)
    return Answer(status, output_bytes=_size(text))


def without_reminders(text: str) -> str:
    """The text without the reminders glued to its end; a text that is nothing else stays."""
    cut = _REMINDERS.sub("", text)
    return cut if cut else text


def reminders_of(text: str) -> str:
    """The reminders glued to the end of a result; an empty text where there are none."""
    found = _REMINDERS.search(text)
    return found[0] if found else ""


def _status(use: ToolUse, result: ToolResult, text: str) -> Status:
    if text.startswith(_LOST):
        return Status.UNKNOWN
    if text.startswith(_STAGED) and use.name in ("Write", "Edit", "MultiEdit"):
        return Status.REJECTED
    if not result.is_error:
        return Status.APPLIED
    if _REJECTED.match(text) or (use.name in _COMMANDS and not _EXIT.match(text) and _NOT_RUN.match(text)):
        return Status.REJECTED
    return Status.UNKNOWN if text.startswith(_ABORTED) else Status.FAILED


def _note(text: str) -> str | None:
    plain = text.removeprefix("<tool_use_error>").removesuffix("</tool_use_error>")
    line = next((line.strip() for line in plain.split("\n") if line.strip()), None)
    return line[:300] if line else None


def _command_answer(text: str, status: Status, note: str | None) -> Answer:
    """A command that succeeded left with code 0: failures are flagged, and only theirs begin with the code. One in the
    background was started; its exit code is told later, if at all (`claude_news`).
    """
    if status is not Status.APPLIED:
        if found := _EXIT.match(text):
            return Answer(status, exit_code=int(found[1]), output_bytes=_size(text[found.end() :]), note=note)
        return Answer(status, note=note)
    if found := _BACKGROUND.search(text):
        id = next(group for group in found.groups() if group)
        return Answer(status, note="runs in the background; its exit code is not in the result", background=id)
    return Answer(status, exit_code=0, output_bytes=0 if text == _NO_OUTPUT else _size(text))


def _change_answer(use: ToolUse, text: str) -> Answer:
    altered, stale = _ALTERED.search(text) is not None, _STALE in text
    note = "the user changed the proposal before accepting it" if altered else None
    created = True if text.startswith("File created successfully at:") else None
    if created is None and re.match(r"The file .* has been updated", text, re.S):
        created = False
    inserted = _INSERTED.match(text) if use.name == "NotebookEdit" else None
    new_cell = inserted[1] if inserted else None
    return Answer(Status.APPLIED, created=created, altered=altered, stale=stale, note=note, new_cell=new_cell)


def _read_answer(use: ToolUse, text: str) -> Answer:
    """The lines of a Read. The file's final newline shows as one more, empty line; a Read that ends at its limit does
    not say whether its last line has a newline, nor whether an empty last line is a line.
    """
    if text.startswith((_EMPTY, _EMPTY_OLD)):
        return Answer(Status.APPLIED, output_bytes=0, lines=(), whole=True, final_newline=False)
    # A notebook is shown by its cells: numbers in it are no line numbers.
    lines, cut = ([], False) if str(use.input.get("file_path")).endswith(".ipynb") else _numbered(text)
    if not lines:
        return Answer(Status.APPLIED, output_bytes=_size(without_reminders(text)))
    limit = use.input.get("limit")
    is_page = len(lines) >= (limit if isinstance(limit, int) else _PAGE) or cut
    size = sum(_size(line) + 1 for _, line in lines)
    final_newline = None if is_page else lines[-1][1] == ""
    if final_newline and len(lines) == 1 and lines[0][0] > 1:
        final_newline = None  # nothing but the artefact: say where it stands, and no more
    elif final_newline:
        lines = lines[:-1]
    whole = final_newline is not None and (not lines or lines[0][0] == 1)
    known = tuple((number, line) for number, line in lines if not (line.endswith(_CUT) and len(line) > _PAGE))
    whole = whole and len(known) == len(lines)
    final_newline = final_newline if not lines or (known and known[-1] == lines[-1]) else None
    return Answer(Status.APPLIED, output_bytes=size, lines=known, whole=whole, final_newline=final_newline)


def _numbered(text: str) -> tuple[list[tuple[int, str]], bool]:
    """(number, text) of each line, and whether the result says that it is not all. What stands before the first and
    behind the last numbered line is decoration; trailing white space is lost where a reminder is glued on.
    """
    glued = without_reminders(text)
    lines: list[tuple[int, str]] = []
    for line in glued.split("\n"):
        found = _NUMBERED.match(line) or (_LAST_NUMBER.match(line) if glued != text else None)
        if found is None or (lines and int(found[1]) != lines[-1][0] + 1):
            if lines:
                break
            continue
        lines.append((int(found[1]), found[2] if found.re is _NUMBERED else ""))
    return lines, "[Truncated: PARTIAL view" in text


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
