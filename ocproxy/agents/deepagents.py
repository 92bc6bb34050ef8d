"""deepagents, the file-working agents of LangChain: known by the names of their tools. Recorded from 0.7.32.

They say nothing of their session. A subagent (`task`) is a conversation of its own, which begins with the description.
Reads begin with a line that says which lines follow, and do not say whether the last one ends in a newline. A failing
command has no error flag; its last line has the exit code.
"""

from __future__ import annotations

import re

import msgspec

from ocproxy.agents import shapes
from ocproxy.agents.base import Action, Answer, CallFacts
from ocproxy.agents.generic import Generic, first_line
from ocproxy.agents.offered import names_of
from ocproxy.agents.shapes import Shape
from ocproxy.model import EventType, Identity, Status, ToolResult, ToolUse

_TOOLS = {"ls", "read_file", "write_file", "edit_file", "glob", "grep"}
_SEARCHES = ("ls", "glob", "grep")
_LINES = re.compile(r"\A@@ lines (\d+)-(\d+) of (\d+)(?: \| [^\n@]*)? @@\n")
_ENDED = re.compile(r"\[Command (?:succeeded|failed) with exit code (-?\d{1,10})\]\s*\Z")
_DONE = re.compile(r"\A(?:Updated file|Created file|Deleted|Successfully (?:replaced|deleted|wrote))\b")
_MISSING = re.compile(r"\AError: File '.*' not found")


_PATTERN = Shape(EventType.SEARCH, {"pattern": "text"}, {"path": "text"})
_SHAPES = {
    "read_file": Shape(EventType.READ, {"file_path": "path"}, {"offset": "number", "limit": "number"}),
    "write_file": Shape(EventType.WRITE, {"file_path": "path", "content": "text"}),
    "edit_file": Shape(
        EventType.EDIT, {"file_path": "path", "old_string": "text", "new_string": "text"}, {"replace_all": "flag"}
    ),
    "delete": Shape(EventType.DELETE, {"file_path": "path"}),
    "execute": Shape(EventType.BASH, {"command": "text"}),
    "ls": Shape(EventType.SEARCH, optional={"path": "text"}),
    "glob": _PATTERN,
    "grep": _PATTERN,
}


class DeepAgents(Generic):
    """Agents made with `create_deep_agent`."""

    name = "deepagents"

    def recognises(self, facts: CallFacts) -> bool:
        return facts.request is not None and names_of(facts.request) >= _TOOLS

    def identity(self, facts: CallFacts) -> Identity:
        return self.tagged(Identity(self.name), facts.tags)

    def delegated(self, use: ToolUse) -> str | None:
        """The task of a subagent, with which its conversation begins."""
        task = use.input.get("description")
        return task if use.name == "task" and isinstance(task, str) else None

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        return shapes.fitted(use, _SHAPES, self._actions)

    def _actions(self, use: ToolUse) -> tuple[Action, ...]:
        return shapes.plain(use, _SHAPES, first_line=0) if use.name in _SHAPES else super().actions(use)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        text, size = result.text, len(result.text.encode("utf-8", "replace"))
        if use.name == "execute":
            ended = _ENDED.search(text)
            if ended is None:
                return super().answer(use, result)
            code = int(ended[1])
            return Answer(Status.FAILED if code else Status.APPLIED, exit_code=code, output_bytes=size)
        if text.startswith("Error: ") or result.is_error:
            missing = _MISSING.match(text) is not None
            return Answer(Status.FAILED, output_bytes=size, note=first_line(text), missing=missing)
        if use.name == "read_file" and (head := _LINES.match(text)):
            lines = tuple(enumerate(text[head.end() :].split("\n"), int(head[1])))
            read = Answer(Status.APPLIED, output_bytes=size, lines=lines)
            if head[2] != head[3] or lines[-1][0] != int(head[3]):
                return read
            return msgspec.structs.replace(read, whole=head[1] == "1", final_newline=True, ending_assumed=True)
        if use.name in _SEARCHES or _DONE.match(text):
            return Answer(Status.APPLIED, output_bytes=size)
        return super().answer(use, result)


AGENT = DeepAgents()
