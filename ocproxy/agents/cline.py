"""Cline, the command line program: one tool call for many files or commands. Recorded from 3.0.65.

It says nothing of its session: calls are linked by their histories and call ids. A subagent (`spawn_agent`) and a
member of a team (`team_run_task`, one conversation for all its tasks) have system prompts of the model's making, and
are known by their tools; their conversations begin with the task. Results are
JSON: an object, or a list with one for each file or command, with `success`. Reads number their lines and do not say
whether the last one ends in a newline. With OpenAI's own provider it offers `apply_patch` in the place of its editor: a
file that a patch adds has no newline at its end, and adding one that exists fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from ocproxy.agents import shapes, transcripts
from ocproxy.agents.base import Action, Answer, CallFacts, Flattened, Replacement
from ocproxy.agents.fields import number_of
from ocproxy.agents.generic import Generic, first_line
from ocproxy.agents.offered import names_of, system_text
from ocproxy.agents.shapes import Shape
from ocproxy.model import CallKind, EventType, Identity, Json, ModelRequest, Status, Text, ToolResult, ToolUse

_TOOLS = {"read_files", "run_commands", "search_codebase"}
_MATES = {"spawn_agent", "team_run_task"}  # a member of a team spawns none
_SUMMARIZE = "Summarize the provided coding session into a concise continuation note"
_INPUT = re.compile(r"<user_input mode=\"\w+\">(.*?)</user_input>", re.S)
_CUT = r"\n\.\.\.\[truncated \d+ chars\]\Z"
_WORKDIR = re.compile(r"^4\. Working Directory: ([^\n]+?)[ \t]*$", re.M)
_LINE = re.compile(r" *(\d{1,9}) \| (.*)", re.S)
_EXIT = re.compile(r"\ACommand exited with code (-?\d{1,10})\b")
_MISSING = re.compile(r"\bENOENT\b|no such file", re.I)
# The last words stand behind whatever an approval says, so that the model does not take it for a failure.
_REJECTED = re.compile(r"\b(?:user|was) (?:denied|rejected|declined)\b|not approved|NOT a tool or system failure", re.I)


class Cline(Generic):
    """Works over Chat Completions, Messages, Responses and Gemini, with the same tools and results."""

    name = "cline"

    def recognises(self, facts: CallFacts) -> bool:
        request = facts.request
        if request is None:
            return False
        names, said = names_of(request), system_text(request)
        is_known = said.startswith(("You are Cline, ", _SUMMARIZE))
        return is_known or (names >= _TOOLS and bool(names & _MATES))

    def identity(self, facts: CallFacts) -> Identity:
        return self.tagged(Identity(self.name, workdir=_workdir(facts.request)), facts.tags)

    def kind(self, facts: CallFacts) -> CallKind:
        kind = super().kind(facts)
        if kind is not CallKind.MAIN or facts.request is None or facts.request.tools:
            return kind
        return CallKind.SUMMARY if system_text(facts.request).startswith(_SUMMARIZE) else CallKind.CHECK

    def flattened(self, facts: CallFacts) -> Flattened | None:
        """One user message: what is wanted, the summary of what was before, and the conversation."""
        if facts.request is None or self.kind(facts) is not CallKind.SUMMARY:
            return None
        asked = "\n".join(part.text for m in facts.request.messages for part in m.parts if isinstance(part, Text))
        wanted, _, told = asked.partition("\n\nConversation:\n")
        before = wanted.partition("\n\nPrevious summary:\n")[2]
        said = transcripts.texts(_INPUT.sub(r"\1", told), "User|Bot|Tool result", _CUT)
        return Flattened(said, before or None)

    def delegated(self, use: ToolUse) -> str | None:
        """The task of a subagent or of a member of the team, with which its conversation begins."""
        task = use.input.get("task")
        return task if use.name in _MATES and isinstance(task, str) else None

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        if use.name == "editor":
            return shapes.fitted(use, _EDITOR, lambda use: (_edit(use.input["path"], use.input),))
        if use.name == "apply_patch":
            return tuple(map(_unended, super().actions(use)))
        if use.name not in _MANY:
            return super().actions(use)
        field, kind, _ = _MANY[use.name]
        if use.input.get(field) is None:
            return shapes.degraded(use, kind, f"the tool {use.name} has no field {field}")
        return tuple(action for one in _listed(use.input[field]) for action in _one(use, one))

    def replace(self, text: str, replacement: Replacement) -> str | None:
        """A hunk of a patch leaves the end of the file as it was, with or without a newline."""
        if not replacement.whole_lines or text.endswith("\n"):
            return super().replace(text, replacement)
        after = super().replace(f"{text}\n", replacement)
        return after.removesuffix("\n") if after is not None else None

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        said = _object(result.text)
        size = len(result.text.encode("utf-8", "replace"))
        if isinstance(said, dict) and isinstance(said.get("isError"), bool):  # of an MCP server
            status = Status.FAILED if said["isError"] else Status.APPLIED
            return Answer(status, output_bytes=size, note=_server_error(said) if said["isError"] else None)
        if isinstance(said, dict) and (isinstance(said.get("success"), bool) or isinstance(said.get("error"), str)):
            return _answer(use, said, size)
        if isinstance(said, list) and said and all(isinstance(one, dict) for one in said):
            each = tuple(
                _answer(use, one, len(str(one.get("result") or "").encode("utf-8", "replace"))) for one in said
            )
            failed = any(one.status is Status.FAILED for one in each)
            return Answer(Status.FAILED if failed else Status.APPLIED, output_bytes=size, each=each)
        return super().answer(use, result)


def _workdir(request: ModelRequest | None) -> str | None:
    found = _WORKDIR.search(system_text(request)) if request else None
    return found[1] if found else None


def _listed(value: Json) -> list[Any]:
    """Models give a single one without its list now and then."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _one(use: ToolUse, given: Json) -> tuple[Action, ...]:
    """One file, command or query, so that each has an action to which its result belongs."""
    field, kind, read = _MANY[use.name]
    action = read(given)
    if action is not None:
        return (action,)
    part = msgspec.structs.replace(use, input=given if isinstance(given, dict) else {})
    return shapes.degraded(part, kind, f"the tool {use.name} has {field} of a form that is not known")[:1]


def _command(given: Json) -> Action | None:
    command = given.get("command") if isinstance(given, dict) else given
    return Action(EventType.BASH, command=command) if isinstance(command, str) else None


def _query(given: Json) -> Action | None:
    return Action(EventType.SEARCH, command=given) if isinstance(given, str) else None


def _read(given: Json) -> Action | None:
    given = given if isinstance(given, dict) else {"path": given}
    path = given.get("path")
    if not isinstance(path, str) or not path:
        return None
    first, last = number_of(given, "start_line"), number_of(given, "end_line")
    count = None if last is None else last - (first or 1) + 1
    return Action(EventType.READ, path=path, first_line=first, line_count=count)


_MANY: dict[str, tuple[str, EventType, Callable[[Json], Action | None]]] = {
    "read_files": ("files", EventType.READ, _read),
    "run_commands": ("commands", EventType.BASH, _command),
    "search_codebase": ("queries", EventType.SEARCH, _query),
}
_EDITOR = {
    "editor": Shape(EventType.EDIT, {"path": "path", "new_text": "text"}, {"old_text": "text", "insert_line": "number"})
}


def _edit(path: str, given: dict[str, Json]) -> Action:
    """Without an old text and a line it makes a file, and nothing but that: over an existing one it fails."""
    old, new, line = given.get("old_text"), given["new_text"], number_of(given, "insert_line")
    if line is not None:  # the new text becomes this line
        return Action(EventType.EDIT, path=path, insert_after=(max(line - 1, 0), new))
    if isinstance(old, str):
        return Action(EventType.EDIT, path=path, replacements=(Replacement(old, new),))
    return Action(EventType.WRITE, path=path, content=new, creates=True)


def _unended(action: Action) -> Action:
    """A patch's new file is its lines, joined."""
    if action.event_type is EventType.WRITE and action.content is not None:
        return msgspec.structs.replace(action, content=action.content.removesuffix("\n"))
    return action


def _object(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _answer(use: ToolUse, said: dict[str, Any], size: int) -> Answer:
    """One file or command. A command that succeeded ended with 0: the others are said to have failed, with a code."""
    text = said["result"] if isinstance(said.get("result"), str) else ""
    if said.get("success") is not True:
        error = said["error"] if isinstance(said.get("error"), str) else text
        code = _EXIT.match(error)
        status = Status.REJECTED if _REJECTED.search(error[:300]) else Status.FAILED
        missing = _MISSING.search(error) is not None and use.name != "run_commands"
        exit_code = int(code[1]) if code else None
        return Answer(status, exit_code=exit_code, output_bytes=size, note=first_line(error), missing=missing)
    if use.name == "run_commands":
        return Answer(Status.APPLIED, exit_code=0, output_bytes=size)
    lines = _numbered(text) if use.name == "read_files" else None
    return Answer(Status.APPLIED, output_bytes=size, lines=lines)


def _server_error(said: dict[str, Any]) -> str | None:
    content = said["content"] if isinstance(said.get("content"), list) else []
    texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return first_line("\n".join(texts)) or None


def _numbered(text: str) -> tuple[tuple[int, str], ...] | None:
    lines: list[tuple[int, str]] = []
    for line in text.split("\n"):
        found = _LINE.fullmatch(line)
        if found is None or (lines and int(found[1]) != lines[-1][0] + 1):
            return tuple(lines) or None  # what comes behind is a remark
        lines.append((int(found[1]), found[2]))
    return tuple(lines)


AGENT = Cline()
