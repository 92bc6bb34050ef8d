"""opencode: who it says it is, its tools and their results, in the four protocols that it speaks (seen: 1.18.33).

Each session has an id of its own, also those of subagents, which name their parent's beside it. Its title and its
compaction are asked for under the same id, without tools. Results carry an error flag in the Messages API only, so
their wordings count; the exit code of a command is nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ocproxy.agents import codex_patch, mcp_files, opencode_replace, opencode_summary, patches, shapes
from ocproxy.agents.base import Action, Answer, CallFacts, Replacement
from ocproxy.agents.fields import number_of
from ocproxy.agents.generic import Generic, first_line
from ocproxy.agents.shapes import Shape
from ocproxy.model import (
    CallKind,
    EventType,
    Identity,
    Json,
    Message,
    ModelRequest,
    Part,
    Status,
    Text,
    ToolResult,
    ToolUse,
)

_USER_AGENT = re.compile(r"\Aopencode/(\d[\w.+-]*)")
_WORKDIR = re.compile(r"^\s*Working directory: (.+?)\s*$", re.M)
_TOUCH_NOTHING = frozenset(
    """batch codesearch invalid lsp plan_enter plan_exit question skill task todoread todowrite webfetch
    websearch""".split()
)
_PATCH = Shape(EventType.EDIT, {"patchText": "text"})
_PATTERN = Shape(EventType.SEARCH, {"pattern": "text"}, {"path": "text"})
_SHAPES = {
    "read": Shape(EventType.READ, {"filePath": "path"}, {"offset": "number", "limit": "number"}),
    "write": Shape(EventType.WRITE, {"filePath": "path", "content": "text"}),
    "edit": Shape(
        EventType.EDIT, {"filePath": "path", "oldString": "text", "newString": "text"}, {"replaceAll": "flag"}
    ),
    "multiedit": Shape(EventType.EDIT, {"filePath": "path", "edits": "list"}),
    "patch": _PATCH,
    "apply_patch": _PATCH,
    "bash": Shape(EventType.BASH, {"command": "text"}),
    "glob": _PATTERN,
    "grep": _PATTERN,
    "list": Shape(EventType.SEARCH, optional={"path": "text"}),
}
_OWN = _TOUCH_NOTHING | {"read", "write", "edit", "multiedit", "patch", "apply_patch", "bash", "glob", "grep", "list"}

_REJECTED = re.compile(
    r"\A(?:Error: )?(?:The user rejected permission to use this specific tool call"
    r"|The user has specified a rule which prevents you from using this specific tool call)"
)
_ABORTED = re.compile(r"\A(?:Error: )?Tool execution aborted")
_REFUSED = re.compile(
    r"\A(?:The arguments provided to the tool are invalid: |The \S+ tool was called with invalid arguments: "
    r"|apply_patch verification failed: |Could not find oldString in the file|Found multiple matches for oldString"
    r"|(?:No changes to apply|oldString and newString) |File .{1,4000} not found\Z|Transport error \()",
    re.S,
)
_NO_FILE = re.compile(r"\A(?:Error: )?File not found: ")
_FILE = re.compile(
    r"\A(?:<path>[^\n]*</path>\n<type>file</type>\n<content>|<file>)\n(?P<text>.*?)\n\n?"
    r"\((?P<end>End of file - total (?P<total>\d+) lines|Showing lines [^\n]*|Output capped [^\n]*|"
    r"File has more lines[^\n]*|Output truncated [^\n]*)\)\n</(?:content|file)>",
    re.S,
)
_CUT = re.compile(r"\A<path>[^\n]*</path>\n<type>file</type>\n<content>\n.*\n\[truncated\]\Z", re.S)  # for a summary
_FOLDER = re.compile(r"\A<path>[^\n]*</path>\n<type>directory</type>\n")
_LINE = re.compile(r"\A\s*(\d{1,9})(?:: |\| )(.*)\Z", re.S)
_CUT_LINE = re.compile(r"\.\.\.(?: \(line truncated to \d+ chars\))?\Z")
_LONGEST_LINE = 2000
_SHELL = re.compile(r"\n\n<shell_metadata>\n(?P<told>.*?)\n</shell_metadata>\Z", re.S)
_CALLED = re.compile(r"\ACalled the Read tool with the following input: (\{.*\})\s*\Z", re.S)
_NO_CODE = "opencode does not say exit codes"
_NEWLINE = "whether its last line ends in a newline is not said; it is taken to"


class Opencode(Generic):
    """The terminal agent of sst."""

    name = "opencode"

    def recognises(self, facts: CallFacts) -> bool:
        agent = facts.headers.get("user-agent", "")
        return _USER_AGENT.match(agent) is not None or facts.headers.get("originator") == "opencode"

    def identity(self, facts: CallFacts) -> Identity:
        headers = facts.headers
        version = _USER_AGENT.match(headers.get("user-agent", ""))
        session = headers.get("x-session-id") or headers.get("x-session-affinity") or headers.get("session-id")
        parent = headers.get("x-parent-session-id")
        identity = Identity(
            agent=self.name,
            session=session or None,
            parent_session=parent if parent != session else None,
            workdir=_workdir(facts.request),
            version=version[1] if version else None,
        )
        return self.tagged(identity, facts.tags)

    def kind(self, facts: CallFacts) -> CallKind:
        request = facts.request
        if request is None or request.endpoint != "generate" or request.tools:
            return super().kind(facts)
        system = _system_text(request)
        if "title generator" in system or "Generate a title for this conversation" in _first_text(request):
            return CallKind.TITLE
        if "summariz" in system.lower():
            return CallKind.SUMMARY
        return super().kind(facts)

    def title(self, facts: CallFacts) -> str | None:
        if facts.reply is None or self.kind(facts) is not CallKind.TITLE:
            return None
        text = "".join(part.text for part in facts.reply.parts if isinstance(part, Text))
        spoken = re.sub(r"<think>.*?</think>\s*", "", text, flags=re.S)
        return first_line(spoken)[:100] or None

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        if use.name not in _OWN:
            served = _of_server(use)
            found = mcp_files.actions(served) if served else None
            return found if found is not None else super().actions(use)
        found = shapes.fitted(use, _SHAPES, _actions)
        return tuple(msgspec.structs.replace(action, follows_shell=False) for action in found)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        text = result.text
        status = _failure(text)
        if status is None and result.is_error:
            status = Status.FAILED
        if status is not None:
            return Answer(status, note=first_line(text), missing=_NO_FILE.match(text) is not None)
        if use.name == "bash":
            return _command_answer(text)
        if use.name == "read":
            return _read_answer(use, text)
        size = len(text.encode("utf-8", "replace"))
        if use.name in ("write", "edit", "multiedit", "patch", "apply_patch"):
            return _change_answer(text)
        if use.name in _OWN:
            return Answer(Status.APPLIED, output_bytes=size)
        served = _of_server(use)
        if served is not None:
            is_failed = text.startswith("Error: ") and result.is_error is None
            status = Status.FAILED if is_failed else Status.APPLIED
            return mcp_files.answer(served, text, status, first_line(text) if is_failed else None)
        return super().answer(use, result)

    def attached(self, parts: Sequence[Part]) -> tuple[tuple[str, Answer], ...]:
        """Files mentioned with @: a text that tells the call, and behind it a text with the result."""
        found: list[tuple[str, Answer]] = []
        texts = [part.text for part in parts if isinstance(part, Text)]
        for told, shown in zip(texts, texts[1:], strict=False):
            called = _CALLED.match(told)
            given = _decoded(called[1]) if called else None
            path = given.get("filePath") if isinstance(given, dict) else None
            if isinstance(path, str) and _FILE.match(shown):
                found.append((path, _read_answer(ToolUse("", "read", {"filePath": path}), shown)))
        return tuple(found)

    def retold(self, messages: Sequence[Message], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
        return opencode_summary.results(messages, uses)

    def delegated(self, use: ToolUse) -> str | None:
        return None  # its subagents say themselves whose they are

    def replace(self, text: str, replacement: Replacement) -> str | None:
        if replacement.whole_lines:
            return codex_patch.apply_hunk(text, replacement)  # a port of it; a hunk without old lines shows that
        if replacement.first:
            return super().replace(text, replacement)
        return opencode_replace.replace(text, replacement)

    def replace_all(self, text: str, replacements: Sequence[Replacement]) -> str | None:
        if all(replacement.whole_lines for replacement in replacements):
            # It passes over `*** End of File` (seen with 1.18.33).
            return codex_patch.apply_hunks(text, [msgspec.structs.replace(r, at_end=False) for r in replacements])
        return super().replace_all(text, replacements)


def _actions(use: ToolUse) -> tuple[Action, ...]:
    given, path = use.input, use.input.get("filePath")
    if use.name in _TOUCH_NOTHING:
        return ()
    if use.name in ("patch", "apply_patch"):
        text = given.get("patchText")
        found = patches.parse_patch(text) if isinstance(text, str) else ()
        return tuple(msgspec.structs.replace(action, creates=False, content=_ended(action.content)) for action in found)
    if use.name == "bash":
        command = given.get("command")
        return (Action(EventType.BASH, command=command),) if isinstance(command, str) else ()
    if use.name in ("glob", "grep", "list"):
        where, pattern = given.get("path"), given.get("pattern")
        where = where if isinstance(where, str) and where else None
        return (Action(EventType.SEARCH, path=where, command=pattern if isinstance(pattern, str) else None),)
    if not isinstance(path, str):
        return ()  # refused
    if use.name == "read":
        first, count = number_of(given, "offset"), number_of(given, "limit")
        return (Action(EventType.READ, path=path, first_line=first, line_count=count),)
    if use.name == "write":
        content = given.get("content")
        return (Action(EventType.WRITE, path=path, content=content),) if isinstance(content, str) else ()
    return _edits(path, given.get("edits") if use.name == "multiedit" else [given])


def _ended(content: str | None) -> str | None:
    """An added file gets its last newline only where its last line is not empty."""
    if content is None:
        return None
    lines = content.removesuffix("\n")
    return lines if not lines or lines.endswith("\n") else lines + "\n"


def _edits(path: str, edits: Json) -> tuple[Action, ...]:
    """An edit of nothing writes the file anew."""
    found: list[Replacement] = []
    for edit in edits if isinstance(edits, list) else []:
        old, new = (edit.get("oldString"), edit.get("newString")) if isinstance(edit, dict) else (None, None)
        if not isinstance(old, str) or not isinstance(new, str):
            return ()
        found.append(Replacement(old, new, edit.get("replaceAll") is True))
    if len(found) == 1 and not found[0].old:
        return (Action(EventType.WRITE, path=path, content=found[0].new),)
    return (Action(EventType.EDIT, path=path, replacements=tuple(found)),) if found else ()


def _of_server(use: ToolUse) -> ToolUse | None:
    """The use of an MCP tool, `SERVER_TOOL`, by the name that others give it; None for a name without a server."""
    server, _, tool = use.name.partition("_")
    return msgspec.structs.replace(use, name=f"mcp__{server}__{tool}") if tool else None


def _failure(text: str) -> Status | None:
    """By words that opencode itself puts there; None where they tell no failure."""
    if _REJECTED.match(text):
        return Status.REJECTED
    if _ABORTED.match(text):
        return Status.UNKNOWN
    return Status.FAILED if _REFUSED.match(text) or _NO_FILE.match(text) else None


def _command_answer(text: str) -> Answer:
    told = _SHELL.search(text)
    output = text[: told.start()] if told else text
    size = 0 if output == "(no output)" else len(output.encode("utf-8", "replace"))
    if told and "terminated command" in told["told"]:
        return Answer(Status.FAILED, output_bytes=size, note=first_line(told["told"]))
    return Answer(Status.UNKNOWN, output_bytes=size, note=first_line(told["told"]) if told else _NO_CODE)


def _change_answer(text: str) -> Answer:
    """Behind the first words may stand what a language server found."""
    done = ("Wrote file successfully.", "Edit applied successfully.", "Success. Updated the following files:")
    if text.startswith(done) or text == "":
        return Answer(Status.APPLIED)
    return Answer(Status.UNKNOWN, note=first_line(text))


def _read_answer(use: ToolUse, text: str) -> Answer:
    """The numbered lines of a file; a folder or an image has none."""
    size = len(text.encode("utf-8", "replace"))
    shown = _FILE.match(text)
    if _CUT.match(text):
        return Answer(Status.APPLIED, note="the result was cut")
    if shown is None:
        known = _FOLDER.match(text) or text.startswith(("Image read successfully", "PDF read successfully"))
        return Answer(Status.APPLIED if known else Status.UNKNOWN, output_bytes=size)
    lines = _numbered(shown["text"])
    if lines is None:
        return Answer(Status.APPLIED, output_bytes=size)
    size = sum(len(line.encode("utf-8", "replace")) + 1 for _, line in lines)
    is_cut = any(len(line) > _LONGEST_LINE and _CUT_LINE.search(line) for _, line in lines)
    if shown["total"] is None or is_cut or not lines or lines[-1][0] != int(shown["total"]):
        whole = [(number, line) for number, line in lines if len(line) <= _LONGEST_LINE]
        return Answer(Status.APPLIED, output_bytes=size, lines=tuple(whole))
    is_whole = lines[0][0] == 1
    seen = Answer(Status.APPLIED, output_bytes=size, lines=lines, whole=is_whole, note=_NEWLINE)
    return msgspec.structs.replace(seen, final_newline=True, ending_assumed=True)


def _numbered(text: str) -> tuple[tuple[int, str], ...] | None:
    """(number, text) of each line; None for lines that are not numbered in order."""
    lines: list[tuple[int, str]] = []
    for line in text.split("\n"):
        found = _LINE.match(line)
        if found is None or (lines and int(found[1]) != lines[-1][0] + 1):
            return None
        lines.append((int(found[1]), found[2]))
    return tuple(lines)


def _decoded(text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _system_text(request: ModelRequest) -> str:
    """The system prompt, also where it is the first message."""
    parts = [*request.system, *(part for m in request.messages[:2] if m.role == "system" for part in m.parts)]
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def _first_text(request: ModelRequest) -> str:
    first = next((message for message in request.messages if message.role == "user"), None)
    return "\n".join(part.text for part in first.parts if isinstance(part, Text)) if first else ""


def _workdir(request: ModelRequest | None) -> str | None:
    found = _WORKDIR.search(_system_text(request)) if request else None
    return found[1] if found else None


AGENT = Opencode()
