"""Gemini CLI: what its calls are for, its tools and their results. Recorded from 0.61.0; older names are kept.

It says nothing of its session: calls are linked by their histories and call ids. A subagent (`invoke_agent`) is a
conversation of its own, which begins with the prompt and ends with the tool `complete_task`. Results are
`{"output": …}` or `{"error": …}`; a failing command is an output.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ocproxy.agents import gemini_replace, shapes
from ocproxy.agents.base import Action, Answer, CallFacts, CommandEnd, News, Replacement
from ocproxy.agents.by_user_agent import ByUserAgent
from ocproxy.agents.fields import number_of, path_of, text_of
from ocproxy.agents.generic import first_line
from ocproxy.agents.shapes import Shape
from ocproxy.model import (
    CallKind,
    EventType,
    Message,
    ModelRequest,
    Part,
    Status,
    Text,
    ToolResult,
    ToolUse,
)

_CONTEXT = re.compile(r"\A\s*<session_context>.*</session_context>\s*\Z", re.S)
_WORKDIR = re.compile(
    r"(?:\*\*Workspace Directories:\*\*\s*\n\s+- (?P<list>[^\n]+?)"
    r"|currently working in the directory: (?P<old>[^\n]+?))[ \t]*$",
    re.M,
)
_REFERENCED = "\n--- Content from referenced files ---"
_MENTIONED = re.compile(r"\nContent from @([^\n]+):\n")
_GOT_IT = ("assistant", "Got it. Thanks for the additional context!")  # behind a summary; the program says it
_SEARCHES = ("glob", "grep_search", "search_file_content", "list_directory")
_PATTERNS = ("pattern", "include_pattern")
_PLACES = ("dir_path", "path")

_JIT = re.compile(r"\n\n--- Newly Discovered Project Context ---\n.*\n--- End Project Context ---\Z", re.S)
_PART = re.compile(
    r"\A\nIMPORTANT: The file content has been truncated\.\nStatus: Showing lines (\d+)-(\d+) of (\d+) total lines\.\n"
    r".*?\n--- FILE CONTENT \(truncated\) ---\n",
    re.S,
)
_CUT_LINE = "... [truncated]"  # at the end of a line of more than 2,000 characters
_WRAPPED = re.compile(r"\A<untrusted_context>\n(.*)\n</untrusted_context>\Z", re.S)
# What the shell tool writes behind the output, in this order. The exit code is there only when it is not 0.
_ENDING = re.compile(
    r"(?:\nError: (?P<error>[^\n]*))?(?:\nExit Code: (?P<code>-?\d{1,10}))?(?:\nSignal: (?P<signal>\w+))?"
    r"(?:\nBackground PIDs: [\d, ]+)?(?:\nProcess Group PGID: \d+)?\s*\Z"
)
_STARTED = re.compile(r"\ACommand moved to background \(PID: (\d+)\)")
# A line of `list_background_processes`; a command may have several lines.
_LISTED = re.compile(
    r"^- \[PID (\d+)\] EXITED: `.*?`(?: \(Exit Code: (-?\d{1,10})\))?(?: \(Signal: (\w+)\))?$", re.S | re.M
)
_REJECTED = re.compile(
    r"\A\[Operation Cancelled\]|denied by (?:policy|user)|User (?:denied|cancelled)"
    r"|\ATool execution for \".*\" requires user confirmation, which is not supported"
)
_MISSING = re.compile(r"\A(?:File not found|File path .* not found|Error: File not found)", re.I)
_CREATED = ("Successfully created and wrote to new file: ", "Created new file: ")
_DONE = (*_CREATED, "Successfully overwrote file: ", "Successfully modified file: ")
_BY_USER = ("User modified the `content` to be: ", "The confirmation step modified the `new_string` content to be: ")


_FILE: dict[str, shapes.Kind] = {"file_path|absolute_path": "path"}
_FOLDERS: dict[str, shapes.Kind] = dict.fromkeys(_PLACES, "text")
_PATTERN = Shape(EventType.SEARCH, {"pattern|include_pattern": "text"}, _FOLDERS)
_SHAPES = {
    "read_file": Shape(
        EventType.READ,
        _FILE,
        {"start_line": "number", "end_line": "number", "offset": "number", "limit": "number"},
    ),
    "write_file": Shape(EventType.WRITE, {**_FILE, "content": "text"}),
    "replace": Shape(
        EventType.EDIT,
        {**_FILE, "old_string": "text", "new_string": "text"},
        {"allow_multiple": "flag", "expected_replacements": "number"},
    ),
    "run_shell_command": Shape(EventType.BASH, {"command": "text"}),
    "glob": _PATTERN,
    "grep_search": _PATTERN,
    "search_file_content": _PATTERN,
    "list_directory": Shape(EventType.SEARCH, optional=_FOLDERS),
}


class GeminiCli(ByUserAgent):
    """Google's terminal agent. Side calls (compression, checks of loops and of the next speaker, routing) are those
    that offer no functions."""

    name = "gemini-cli"
    user_agent = re.compile(r"\bGeminiCLI(?:-[\w.-]+)?/(\d[\w.+-]*)")

    def workdir(self, request: ModelRequest) -> str | None:
        """From the context in the first message; subagents have it in the system prompt."""
        first = request.messages[0].parts if request.messages else ()
        contexts = [part.text for part in first if isinstance(part, Text) and _CONTEXT.match(part.text)]
        contexts += [part.text for part in request.system if isinstance(part, Text)]
        found = next((found for text in contexts if (found := _WORKDIR.search(text))), None)
        return (found["list"] or found["old"]) if found else None

    def kind(self, facts: CallFacts) -> CallKind:
        request = facts.request
        kind = super().kind(facts)
        if request is None or kind is not CallKind.MAIN or _functions(request):
            return kind
        said = _texts(request)
        if "<state_snapshot>" in said or "<intent_summary>" in said:
            return CallKind.SUMMARY
        return CallKind.CHECK

    def key(self, message: Message) -> str | None:
        """A resumed session sends each result twice, and its first message holds a new listing of the folder."""
        if message.parts and all(isinstance(part, ToolResult) for part in message.parts):
            once = {part.tool_use_id: part for part in message.parts if isinstance(part, ToolResult)}
            message = Message(message.role, tuple(once.values()))
        return super().key(message)

    def recap(self, messages: Sequence[Message]) -> int:
        return 2 if len(messages) > 1 and _GOT_IT == _plain(messages[1]) else 0

    def spoken(self, text: str) -> str:
        return "" if _CONTEXT.match(text) else text.strip()

    def attached(self, parts: Sequence[Part]) -> tuple[tuple[str, Answer], ...]:
        """Files that a prompt mentions with @. Space around their contents was cut off, so no line is claimed."""
        if not any(isinstance(part, Text) and part.text == _REFERENCED for part in parts):
            return ()
        found = [_MENTIONED.fullmatch(part.text) for part in parts if isinstance(part, Text)]
        return tuple((one[1], Answer(Status.APPLIED)) for one in found if one)

    def delegated(self, use: ToolUse) -> str | None:
        """The prompt of a subagent, with which its conversation begins."""
        prompt = use.input.get("prompt")
        return prompt if use.name == "invoke_agent" and isinstance(prompt, str) else None

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        return shapes.fitted(use, _SHAPES, self._actions)

    def _actions(self, use: ToolUse) -> tuple[Action, ...]:
        given = use.input
        if use.name in _SEARCHES:
            return (Action(EventType.SEARCH, path=text_of(given, _PLACES), command=text_of(given, _PATTERNS)),)
        if use.name == "read_file":
            first, last = number_of(given, "start_line"), number_of(given, "end_line")
            count = last - (first or 1) + 1 if last is not None else number_of(given, "limit")
            return (Action(EventType.READ, path=path_of(given), first_line=first, line_count=count),)
        if use.name == "replace":
            everywhere = given.get("allow_multiple") is True or (number_of(given, "expected_replacements") or 1) > 1
            return shapes.edit_or_new(given, everywhere)
        return shapes.plain(use, _SHAPES) if use.name in _SHAPES else super().actions(use)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        text, is_error = _said(result)
        size = len(text.encode("utf-8", "replace"))
        if is_error:
            status = Status.REJECTED if _REJECTED.search(text) else Status.FAILED
            missing = _MISSING.match(text) is not None
            return Answer(status, output_bytes=size, note=first_line(text), missing=missing)
        if use.name == "run_shell_command":
            return _ran(text, size)
        if use.name == "read_file":
            return _read(_JIT.sub("", text), size)
        if use.name in ("write_file", "replace"):
            status = Status.APPLIED if text.startswith(_DONE) else Status.UNKNOWN
            head = text.partition("Here is the updated code:\n")[0]
            altered = any(said in (head if use.name == "write_file" else text) for said in _BY_USER)
            return Answer(status, output_bytes=size, created=text.startswith(_CREATED), altered=altered)
        if use.name in _SEARCHES:
            return Answer(Status.APPLIED, output_bytes=size)
        return super().answer(use, result)

    def news(self, said: Text | ToolResult, use: ToolUse | None) -> News:
        """The ends of commands in the background, which the model has to ask for."""
        if not isinstance(said, ToolResult) or use is None or use.name != "list_background_processes":
            return News()
        ended = []
        for pid, code, signal in _LISTED.findall(_said(said)[0]):
            failed = signal or code not in ("", "0")
            status = Status.FAILED if failed else Status.APPLIED if code else Status.UNKNOWN
            ended.append(CommandEnd(pid, status, int(code) if code else None, "ran in the background"))
        return News(tuple(ended))

    def replace(self, text: str, replacement: Replacement) -> str | None:
        if replacement.whole_lines:
            return super().replace(text, replacement)
        return gemini_replace.replace(text, replacement)

    def written(self, old: str | None, content: str) -> str:
        """Over a file with Windows line ends all ends become such."""
        return re.sub(r"\r?\n", "\r\n", content) if old is not None and "\r\n" in old else content


def _functions(request: ModelRequest) -> bool:
    return any(tool.get("functionDeclarations") or tool.get("name") for tool in request.tools)


def _texts(request: ModelRequest) -> str:
    """System prompt and last message: where side calls say what they want."""
    parts = [*request.system, *(request.messages[-1].parts if request.messages else ())]
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def _plain(message: Message) -> tuple[str, str] | None:
    """Role and text of a message that is nothing but one text."""
    only = message.parts[0] if len(message.parts) == 1 else None
    return (message.role, only.text.strip()) if isinstance(only, Text) else None


def _said(result: ToolResult) -> tuple[str, bool]:
    """The text of a result, and whether it is an error."""
    content = result.content
    if isinstance(content, dict):
        for name in ("error", "output"):
            if isinstance(content.get(name), str):
                return content[name], name == "error"
    return result.text, result.is_error is True


def _ran(text: str, size: int) -> Answer:
    if wrapped := _WRAPPED.match(text):
        text = wrapped[1]
    if text.startswith("Command moved to background"):
        started = _STARTED.match(text)
        background = started[1] if started else None
        return Answer(Status.APPLIED, output_bytes=size, note="runs in the background", background=background)
    if text.startswith(("Command was cancelled by user", "Command was automatically cancelled")):
        return Answer(Status.FAILED, output_bytes=size, note=first_line(text))
    if not text.startswith(("Output: ", "Command: ")):
        return Answer(Status.UNKNOWN, output_bytes=size)
    ending = _ENDING.search(text)
    assert ending is not None  # it matches the end of any text
    code = int(ending["code"]) if ending["code"] else None
    if code is None and not ending["signal"] and not ending["error"]:
        return Answer(Status.APPLIED, exit_code=0, output_bytes=size)
    why = ending["error"] or (f"ended by {ending['signal']}" if ending["signal"] else None)
    return Answer(Status.FAILED, exit_code=code, output_bytes=size, note=why)


def _read(text: str, size: int) -> Answer:
    """A text without a head is the whole file; lines are as the file has them, without carriage returns."""
    if text.startswith(("Cannot display content of ", "Skipped ")):
        return Answer(Status.APPLIED, output_bytes=size)
    head = _PART.match(text)
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
    numbered = tuple(enumerate(lines, first))
    return Answer(
        Status.APPLIED,
        output_bytes=size,
        lines=numbered,
        whole=whole or None,
        final_newline=is_ended if is_end else None,
    )


AGENT = GeminiCli()
