"""What Claude Code tells beside the answers to tool uses: the ends of background commands, and where its shell stands.

Recorded from 2.0.50 and 2.1.329. A notification is a system message of its own, or (older models) a reminder in a user
message, there also glued to the end of a tool result:

    <task-notification>
    <task-id>b9ovco5u5</task-id>
    <tool-use-id>toolu_1</tool-use-id>
    <output-file>/tmp/….output</output-file>
    <status>failed</status>                     completed | failed | killed | stopped
    <summary>Background command "NAME" failed with exit code 3</summary>
    </task-notification>

Version 2.0 tells it when asked with BashOutput, later ones with TaskOutput (its wording from the program's files). A
`cd` outlives its command; the newer version says so by "# Environment update", both say when the shell was put back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ocproxy.agents.base import Answer, CommandEnd, News
from ocproxy.agents.claude_results import answer, reminders_of, without_reminders
from ocproxy.model import Part, Status, Text, ToolResult, ToolUse

# How a text of Claude Code's own begins. What it is glued to, and what users write, may quote anything.
_OWN = (
    "[SYSTEM NOTIFICATION - NOT USER INPUT]",
    "<task-notification>",
    "# Environment update\n",
    "<system-reminder>\n",
)
_NOTIFICATION = re.compile(r"<task-notification>\n<task-id>([\w-]+)</task-id>\n(.*?)\n</task-notification>", re.S)
_STATUS = re.compile(r"^<status>(\w+)</status>$", re.M)
# The name may hold anything, quotes too, and the reason behind a code as well: the last place that fits is meant.
_SUMMARY = re.compile(
    r"^<summary>Background command \".*\" (?:completed \(exit code (-?\d{1,10})(?:: .*)?\)"
    r"|failed with exit code (-?\d{1,10}))",
    re.M | re.S,
)
_ASKED_STATUS = re.compile(
    r"\A(?:<retrieval_status>\w+</retrieval_status>\s+)?(?:<task_id>[\w-]+</task_id>\s+)?"
    r"(?:<task_type>local_bash</task_type>\s+)?<status>(\w+)</status>(?:\s+<exit_code>(-?\d{1,10})</exit_code>)?"
)
_STOPPED = re.compile(r'\A\{"message":"Successfully (?:killed shell|stopped task): ([\w-]+) ')
_ENDS = {
    "completed": Status.APPLIED,
    "failed": Status.FAILED,
    "killed": Status.UNKNOWN,
    "stopped": Status.UNKNOWN,
}
_RAN = "ran in the background"
_WAS_STOPPED = "ran in the background and was stopped"

_UPDATE = re.compile(
    r"^# Environment update\n(?:(?! - Primary)[^\n]+\n)* - Primary working directory: ([^\n]+?) \(was [^\n]+\)$", re.M
)
_RESET = re.compile(r"(?:\A|\n)Shell cwd was reset to (/[^\n]+)\Z")
_CD = re.compile(
    r"(?:\A|&&|;|\n)\s*cd\s+(?:'([^'\n]+)'|\"([^\"$`\\\n]+)\"|([^\s;&|<>$`~*?\[\]{}'\"()\\-][^\s;&|<>$`*?'\"(){}\\]*))"
    r"\s*(?=&&|;|\n|\Z)"
)
_CALLED = re.compile(r"\A<system-reminder>\nCalled the Read tool with the following input: (\{[^\n]*\})\n</system-rem")
_RESULT, _END = "<system-reminder>\nResult of calling the Read tool:\n", "\n</system-reminder>"
_GOES = re.compile(r"\b(?:cd|pushd|popd|chdir)\b")


def news(said: Text | ToolResult, use: ToolUse | None) -> News:
    """What a text that no model wrote, or the result of `use`, tells. A text of anybody else tells nothing."""
    if isinstance(said, Text):
        own = said.text.lstrip()
        return _told(own) if own.startswith(_OWN) else News()
    if use is None:
        return News()
    told = _told(reminders_of(said.text))
    asked = _asked(use, said)
    if told.folder is not None or use.name != "Bash" or said.is_error:
        return News((*asked, *told.ended), told.folder)
    text = without_reminders(said.text)
    if reset := _RESET.search(text):
        return News(told.ended, reset[1])
    return News(told.ended, _gone(use), "inferred")


def attached(parts: Sequence[Part]) -> tuple[tuple[str, Answer], ...]:
    """The files that a user's message names with @, or that come back after compaction: Claude Code reads them and puts
    both, what it called and what came, into reminders. No model asked for it, so it is no tool use.
    """
    texts = [part.text.strip() if isinstance(part, Text) else "" for part in parts]
    found: list[tuple[str, Answer]] = []
    for call, result in zip(texts, texts[1:], strict=False):
        called = _CALLED.match(call)
        if called is None or not result.startswith(_RESULT) or not result.endswith(_END):
            continue
        try:
            given = msgspec.json.decode(called[1])
        except msgspec.DecodeError:
            continue
        path = given.get("file_path")
        if isinstance(path, str):
            shown = ToolResult("", result.removeprefix(_RESULT).removesuffix(_END))
            found.append((path, answer(ToolUse("", "Read", given), shown)))
    return tuple(found)


def _told(text: str) -> News:
    ended: list[CommandEnd] = []
    for task, body in _NOTIFICATION.findall(text):
        status = _STATUS.search(body)
        if status is None or status[1] not in _ENDS:
            continue
        code = _SUMMARY.search(body)
        ended.append(_end(task, status[1], (code[1] or code[2]) if code else None))
    updates: list[str] = _UPDATE.findall(text)
    return News(tuple(ended), updates[-1] if updates else None)


def _asked(use: ToolUse, result: ToolResult) -> tuple[CommandEnd, ...]:
    """What the tools that look after background commands answer."""
    if result.is_error:
        return ()
    text = without_reminders(result.text)
    if use.name in ("KillShell", "KillBash", "TaskStop"):
        stopped = _STOPPED.match(text)
        return (_end(stopped[1], "stopped", None),) if stopped else ()
    task = use.input.get("bash_id") or use.input.get("task_id")
    if use.name not in ("BashOutput", "TaskOutput") or not isinstance(task, str):
        return ()
    found = _ASKED_STATUS.match(text)
    return (_end(task, found[1], found[2]),) if found and found[1] in _ENDS else ()


def _end(task: str, status: str, code: str | None) -> CommandEnd:
    end = _ENDS[status]
    return CommandEnd(task, end, None if code is None else int(code), _WAS_STOPPED if end is Status.UNKNOWN else _RAN)


def _gone(use: ToolUse) -> str | None:
    """Where a command leaves the shell: only where it goes once, in the open, to a folder that it names."""
    command = use.input.get("command")
    if not isinstance(command, str) or use.input.get("run_in_background") or len(_GOES.findall(command)) != 1:
        return None
    found = _CD.search(command)
    if found is None or re.search(r"[('\"`]|<<|\bif\b|\bfor\b|\bwhile\b|\bcase\b", command[: found.start()]):
        return None
    return found[1] or found[2] or found[3]
