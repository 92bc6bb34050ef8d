"""Qwen Code: what its calls are for, its tools and their results. Recorded from 0.24.4.

It says nothing of its session: calls are linked by their histories and call ids. Tools that are not in the catalogue of
a call run through `tool_call{name, arguments}`. No result has an error flag: what became of a call is in its words. A
subagent (`agent`) is a conversation of its own, which begins with the prompt; by default it runs in the background. A
fork has the history of its parent before that, with another result of the call that made it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ocproxy.agents import qwen_replace, shapes
from ocproxy.agents.base import Action, Answer, CallFacts, Cell, Checkout, CommandEnd, News, Replacement
from ocproxy.agents.by_user_agent import ByUserAgent
from ocproxy.agents.generic import first_line
from ocproxy.agents.shapes import Shape
from ocproxy.model import (
    CallKind,
    EventType,
    Json,
    Message,
    ModelRequest,
    Part,
    Status,
    Text,
    ToolResult,
    ToolUse,
)

_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.S)
_WORKDIR = re.compile(r"^I'm currently working in the directory: ([^\n]+?)[ \t]*$", re.M)
_BRANCH = re.compile(r"^Git snapshot at conversation start\..{0,500}?^git: Current branch: (\S+)\s*$", re.M | re.S)
_FORK = re.compile(r"\A<fork-boilerplate>.*?</fork-boilerplate>\s*Directive: ", re.S)
_FORK_AGREES = "Understood. Executing directive now."  # put into a fork's history as an answer
_SEARCHES = ("glob", "grep_search", "list_directory")

# How side calls begin what they want: in the system prompt, or in the last message.
_ASKS = (
    ("You are the component that summarizes a conversation", CallKind.SUMMARY),
    ("You are a specialized context summarizer", CallKind.SUMMARY),
    ("<state_snapshot>", CallKind.SUMMARY),
    ("<recap>", CallKind.SUMMARY),
    ("session title", CallKind.TITLE),
    ("sentence-case title", CallKind.TITLE),
    ("security classifier", CallKind.SAFETY),
)
_SUMMARIZE = "You are the component that summarizes a conversation"
_SUGGEST = "[SUGGESTION MODE: "
_MEMORY = "Managed memory has TWO directories."

_GOT_IT = "Got it. Thanks for the additional context!"
_RESTORED = re.compile(
    r"\ARecently accessed file \(full current content embedded\):\n\n## ([^\n]+)\n\n(`{3,})\n(.*)\n\2\s*\Z", re.S
)
_PART = re.compile(r"\AShowing lines (\d+)-(\d+) of (\d+) total lines\.[^\n]*\n\n---\n\n")
_CUT_LINE = "... [truncated]"
_RAN = re.compile(r"\ACommand: .*?\nDirectory: [^\n]*\nOutput: ", re.S)
_ENDING = re.compile(
    r"\nError: (?P<error>[^\n]*)\nExit Code: (?P<code>-?\d{1,10}|\(none\))\nSignal: (?P<signal>[^\n]*)"
    r"(?:\nBackground PIDs: [^\n]*)?\nProcess Group PGID: [^\n]*"
)
_STARTED = re.compile(r"\ABackground shell started\.\nid: (\S+)\n")
_NOTIFICATION = re.compile(r"<task-notification>\n<task-id>([^<\n]+)</task-id>\n(.*?)</task-notification>", re.S)
_STATUS = re.compile(r"^<status>(\w+)</status>$", re.M)
_EXIT = re.compile(r"\bexit code (-?\d{1,10})\b", re.I)
_ENDS = {"completed": Status.APPLIED, "failed": Status.FAILED, "cancelled": Status.UNKNOWN}

_CREATED = ("Successfully created and wrote to new file: ", "Created new file: ")
_WRITTEN = (*_CREATED, "Successfully overwrote file: ")
_EDITED = re.compile(r"\A(?:The file: .* has been updated\.|Created new file: )", re.S)
_BY_USER = ("User modified the `content` to be: ", "User modified the `new_string` content to be: ")
_REJECTED = re.compile(
    r"\A\[Operation Cancelled\]|denied by (?:policy|user)|User (?:denied|did not allow|cancelled)"
    r"|\AQwen Code requires permission to use .*, but that permission was declined"
)
_SERVER_FAILED = re.compile(r"\AMCP tool '[^\n]*' reported (?:tool|an) error\b")
_MISSING = re.compile(r"\A(?:File not found|Error: File not found)")
_READ_FAILED = re.compile(
    r"\A(?:File not found|File path must be |File path .* is ignored|Path is a directory|Error|Failed to )"
)


_NUMBERS: dict[str, shapes.Kind] = {"offset": "number", "limit": "number"}
_PATTERN = Shape(EventType.SEARCH, {"pattern": "text"}, {"path": "text"})
_SHAPES = {
    "read_file": Shape(EventType.READ, {"file_path": "path"}, _NUMBERS),
    "write_file": Shape(EventType.WRITE, {"file_path": "path", "content": "text"}),
    "edit": Shape(
        EventType.EDIT, {"file_path": "path", "old_string": "text", "new_string": "text"}, {"replace_all": "flag"}
    ),
    "notebook_edit": Shape(
        EventType.EDIT,
        {"notebook_path": "path"},
        {"new_source": "text", "cell_id": "text", "edit_mode": "text"},
    ),
    "run_shell_command": Shape(EventType.BASH, {"command": "text"}),
    "glob": _PATTERN,
    "grep_search": _PATTERN,
    "list_directory": Shape(EventType.SEARCH, optional={"path": "text"}),
}


class QwenCode(ByUserAgent):
    """Alibaba's terminal agent."""

    name = "qwen-code"
    user_agent = re.compile(r"\bQwenCode/(\d[\w.+-]*)")

    def workdir(self, request: ModelRequest) -> str | None:
        first = next((message for message in request.messages if message.role == "user"), None)
        found = _WORKDIR.search("\n".join(_REMINDER.findall(_text(first.parts)))) if first else None
        return found[1] if found else None

    def checkout(self, facts: CallFacts) -> Checkout:
        """The git snapshot in the system prompt."""
        found = _BRANCH.search(_text(facts.request.system)) if facts.request else None
        return Checkout(branch=found[1]) if found else Checkout()

    def kind(self, facts: CallFacts) -> CallKind:
        """Compaction keeps the tools of the session, and so do suggestions of what the user may type next (in the
        terminal) and the extraction of memories, which takes several turns; all other side calls offer none."""
        request = facts.request
        kind = super().kind(facts)
        if request is None or kind is not CallKind.MAIN:
            return kind
        said = [_text(message.parts) for message in request.messages if message.role == "user"]
        if any(text.lstrip().startswith(_MEMORY) for text in said):
            return CallKind.MEMORY
        last = said[-1] if said else ""
        if last.lstrip().startswith(_SUMMARIZE):
            return CallKind.SUMMARY
        if last.lstrip().startswith(_SUGGEST):
            return CallKind.CHECK
        if request.tools:
            return CallKind.MAIN
        asked = f"{_text(request.system)}\n{last}"
        return next((kind for sign, kind in _ASKS if sign in asked), CallKind.CHECK)

    def title(self, facts: CallFacts) -> str | None:
        if facts.reply is None or self.kind(facts) is not CallKind.TITLE:
            return None
        given = [part.input for part in facts.reply.parts if isinstance(part, ToolUse)]
        given += [_object(part.text) for part in facts.reply.parts if isinstance(part, Text)]
        title = next((said["title"] for said in given if isinstance(said.get("title"), str)), "")
        return title.strip() or None

    def recap(self, messages: Sequence[Message]) -> int:
        """The summary is answered by the program, not by the model."""
        said = messages[1] if len(messages) > 1 else None
        return 2 if said and said.role == "assistant" and said.parts == (Text(_GOT_IT),) else 0

    def key(self, message: Message) -> str | None:
        if message.role == "assistant" and message.parts == (Text(_FORK_AGREES),):
            return None
        return super().key(message)

    def inherited(self, messages: Sequence[Sequence[Part]]) -> int:
        """What stands before the directive of a fork."""
        begins = (
            at for at, parts in enumerate(messages) if any(isinstance(p, Text) and _FORK.match(p.text) for p in parts)
        )
        return next(begins, 0)

    def spoken(self, text: str) -> str:
        text = _FORK.sub("", text)
        return _REMINDER.sub("", text).strip() if "<system-reminder>" in text else text.strip()

    def attached(self, parts: Sequence[Part]) -> tuple[tuple[str, Answer], ...]:
        """Files that are shown again, as they are on the disk, after the history was made shorter."""
        found = [_RESTORED.match(part.text) for part in parts if isinstance(part, Text)]
        return tuple((one[1], _shown(one[3])) for one in found if one)

    def delegated(self, use: ToolUse) -> str | None:
        """The prompt of a subagent, with which its conversation begins."""
        prompt = use.input.get("prompt")
        return prompt if use.name == "agent" and isinstance(prompt, str) else None

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        return shapes.fitted(_unwrapped(use), _SHAPES, self._actions)

    def _actions(self, use: ToolUse) -> tuple[Action, ...]:
        if use.name == "notebook_edit":
            return _notebook_edit(use.input)
        if use.name == "edit":
            return shapes.edit_or_new(use.input, use.input.get("replace_all") is True)
        return shapes.plain(use, _SHAPES, first_line=0) if use.name in _SHAPES else super().actions(use)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        use, text = _unwrapped(use), result.text
        size = len(text.encode("utf-8", "replace"))
        if _REJECTED.search(text[:300]):
            return Answer(Status.REJECTED, output_bytes=size, note=first_line(text))
        if text.startswith("[tool_call bridge refused]") or _SERVER_FAILED.match(text):
            return Answer(Status.FAILED, output_bytes=size, note=first_line(text))
        if use.name == "run_shell_command":
            return _ran(text, size)
        if use.name == "read_file":
            return _read(text, size)
        if use.name == "notebook_edit" and text.startswith("Notebook "):
            return Answer(Status.APPLIED, output_bytes=size)
        if use.name in ("write_file", "edit", "notebook_edit"):
            done = text.startswith(_WRITTEN) if use.name == "write_file" else _EDITED.match(text) is not None
            altered = done and any(said in text for said in _BY_USER)
            if done:
                created = text.startswith(_CREATED)
                return Answer(Status.APPLIED, output_bytes=size, created=created, altered=altered)
            missing = _MISSING.match(text) is not None
            return Answer(Status.FAILED, output_bytes=size, note=first_line(text), missing=missing)
        if use.name in _SEARCHES:
            status = Status.APPLIED if text.startswith(("Found ", "No ", "Directory ", "Listed ")) else Status.UNKNOWN
            return Answer(status, output_bytes=size)
        return super().answer(use, result)

    def news(self, said: Text | ToolResult, use: ToolUse | None) -> News:
        """The ends of commands in the background, told in a message of the program's own."""
        if not isinstance(said, Text) or not said.text.lstrip().startswith("<task-notification>"):
            return News()
        ended = []
        for found in _NOTIFICATION.finditer(said.text):
            status, code = _STATUS.search(found[2]), _EXIT.search(found[2])
            if status is not None and status[1] in _ENDS:
                exit_code = int(code[1]) if code else None
                ended.append(CommandEnd(found[1], _ENDS[status[1]], exit_code, "ran in the background"))
        return News(tuple(ended))

    def replace(self, text: str, replacement: Replacement) -> str | None:
        if replacement.whole_lines or replacement.first:
            return super().replace(text, replacement)
        return None if replacement.cell is not None else qwen_replace.replace(text, replacement)

    def written(self, old: str | None, content: str) -> str:
        """Over a file with Windows line ends all ends become such."""
        return re.sub(r"\r?\n", "\r\n", content) if old is not None and "\r\n" in old else content


def _notebook_edit(given: dict[str, Json]) -> tuple[Action, ...]:
    """The program writes the notebook's JSON anew; how is not worked out, so only that it did is told."""
    name, mode, source = given.get("cell_id"), given.get("edit_mode"), given.get("new_source")
    cell = Cell(name if isinstance(name, str) else None, mode if isinstance(mode, str) else "replace")
    edit = Replacement("", source if isinstance(source, str) else "", cell=cell)
    return (Action(EventType.EDIT, path=given["notebook_path"], replacements=(edit,)),)


def _unwrapped(use: ToolUse) -> ToolUse:
    """The tool that `tool_call` runs; arguments may be an object or its JSON."""
    name, given = use.input.get("name"), use.input.get("arguments")
    if use.name != "tool_call" or not isinstance(name, str):
        return use
    inner = given if isinstance(given, dict) else _object(given) if isinstance(given, str) else {}
    return msgspec.structs.replace(use, name=name, input=inner)


def _object(text: str) -> dict[str, object]:
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _text(parts: tuple[Part, ...]) -> str:
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def _ran(text: str, size: int) -> Answer:
    if started := _STARTED.match(text):
        return Answer(Status.APPLIED, output_bytes=size, background=started[1], note="runs in the background")
    if text.startswith("Blocked: "):
        return Answer(Status.REJECTED, output_bytes=size, note=first_line(text))
    endings = list(_ENDING.finditer(text)) if _RAN.match(text) else []
    if not endings:
        failed = text.startswith(("Command was cancelled", "Command timed out", "Error"))
        note = first_line(text) if failed else None
        return Answer(Status.FAILED if failed else Status.UNKNOWN, output_bytes=size, note=note)
    ending = endings[-1]  # the output may hold anything
    code = int(ending["code"]) if ending["code"] != "(none)" else None
    error = ending["error"] if ending["error"] != "(none)" else None
    signal = f"ended by signal {ending['signal']}" if ending["signal"] not in ("", "(none)") else None
    status = Status.APPLIED if code == 0 and error is None else Status.FAILED
    return Answer(status, exit_code=code, output_bytes=size, note=error or signal)


def _shown(content: str) -> Answer:
    """A whole file, as it is."""
    lines = content.removesuffix("\n").split("\n") if content else []
    return Answer(
        Status.APPLIED,
        output_bytes=len(content.encode("utf-8", "replace")),
        lines=tuple(enumerate(lines, 1)),
        whole=True,
        final_newline=content.endswith("\n"),
    )


def _read(text: str, size: int) -> Answer:
    """A text without a head is the whole file; lines are as the file has them, without carriage returns."""
    head = _PART.match(text)
    if head is None and (_READ_FAILED.match(text) and "\n" not in text.strip()):
        missing = _MISSING.match(text) is not None
        return Answer(Status.FAILED, output_bytes=size, note=first_line(text), missing=missing)
    if text.startswith("Jupyter Notebook ("):  # its cells, not its text
        return Answer(Status.APPLIED, output_bytes=size)
    if text.startswith("Cannot display content of ") and "\n" not in text.strip():
        return Answer(Status.APPLIED, output_bytes=size)
    lines = (text[head.end() :] if head else text).split("\n")
    first, total = (int(head[1]), int(head[3])) if head else (1, len(lines))
    is_end = first + len(lines) - 1 == total  # a file counts the empty text behind its last newline as a line
    is_ended = is_end and lines[-1] == ""
    if is_ended:
        lines.pop()
    whole = head is None
    cut = next((at for at, line in enumerate(lines) if line.endswith(_CUT_LINE) and len(line) > 2000), None)
    if cut is not None:
        lines, is_end, is_ended, whole = lines[:cut], False, False, False
    return Answer(
        Status.APPLIED,
        output_bytes=size,
        lines=tuple(enumerate(lines, first)),
        whole=whole or None,
        final_newline=is_ended if is_end else None,
    )


AGENT = QwenCode()
