"""Any agent that no other plug-in recognises. Says only what tags and field names say.

Tools whose names are common knowledge (`read_file`, `bash`, `str_replace_editor`, …) give exact events; others are
guessed from the fields of their input and their events are `inferred`. A result's status is taken from its error flag,
else from unmistakable wording, else it is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ocproxy.agents import editor_tools, mcp_files, openai_tools, patches, shapes
from ocproxy.agents.base import Action, Answer, CallFacts, Checkout, Flattened, News, Replacement
from ocproxy.agents.fields import (
    CONTENT,
    PATTERN,
    command_of,
    path_of,
    paths_of,
    replacements_of,
    text_of,
)
from ocproxy.model import (
    CallKind,
    Certainty,
    EventType,
    Identity,
    Json,
    Media,
    Message,
    ModelRequest,
    Opaque,
    Part,
    Reasoning,
    Status,
    Text,
    ToolResult,
    ToolUse,
    digest,
)

_KNOWN: dict[str, EventType] = {
    **dict.fromkeys(("read", "read_file", "readfile", "view_file", "open_file", "cat", "read_files"), EventType.READ),
    **dict.fromkeys(("write", "write_file", "writefile", "create_file", "write_to_file", "save_file"), EventType.WRITE),
    **dict.fromkeys(("edit", "edit_file", "editfile", "replace", "str_replace", "replace_in_file"), EventType.EDIT),
    **dict.fromkeys(("multiedit", "multi_edit", "search_replace"), EventType.EDIT),
    **dict.fromkeys(("delete", "delete_file", "remove_file", "rm"), EventType.DELETE),
    **dict.fromkeys(("move", "move_file", "rename", "rename_file", "mv"), EventType.MOVE),
    **dict.fromkeys(("bash", "shell", "sh", "terminal", "execute", "exec_command", "execute_command"), EventType.BASH),
    **dict.fromkeys(("run_command", "run_commands", "run_shell_command", "run_terminal_cmd"), EventType.BASH),
    **dict.fromkeys(
        ("grep", "glob", "search", "ls", "list", "find", "search_files", "list_directory"), EventType.SEARCH
    ),
    **dict.fromkeys(("list_files", "grep_search", "file_search", "codebase_search", "list_dir"), EventType.SEARCH),
}
# What a call to such an endpoint is for, other than to "generate".
_KINDS = {
    "count_tokens": CallKind.COUNT,
    "models": CallKind.MODELS,
    "compact": CallKind.SUMMARY,
    "prewarm": CallKind.PROBE,
}
_CHANGES = (EventType.WRITE, EventType.EDIT, EventType.DELETE, EventType.MOVE)
_HINTS: tuple[tuple[str, EventType], ...] = (
    ("delete", EventType.DELETE),
    ("remove", EventType.DELETE),
    ("move", EventType.MOVE),
    ("rename", EventType.MOVE),
)
_SAYS_DONE = re.compile(
    r"\bsuccess(fully)?\b|\bhas been (updated|created|edited|written|deleted)\b"
    r"|\A\s*(wrote|created|updated|edited|saved|replaced|inserted|appended|deleted|removed|moved|renamed) ",
    re.I,
)
_SAYS_FAILED = re.compile(r"\A\s*(<error>|<tool_use_error>|error\b|traceback \(most recent|failed to |fatal: )", re.I)
# As `cat -n` numbers lines: nothing else looks so from the first line to the last.
_NUMBERED = re.compile(r"\A *(\d{1,9})(?:\t|→)(.*)\Z", re.S)
_SAYS_CREATED = re.compile(r"\A(?:new )?file created\b|\Acreated (?:a )?new file\b", re.I)
_EXIT_CODE = re.compile(r"\A\s*(?:exit code|exited with code|process exited with code)[: ]+(-?\d{1,10})\b", re.I)

# Tools that start a subagent, as frameworks and agents name them.
_DELEGATING = frozenset(
    "agent call_agent delegate delegate_task dispatch_agent invoke_agent new_task run_subagent"
    " spawn_agent subagent task".split()
)


class Generic:
    """The fallback agent, and the base of all others."""

    name = "generic"

    def recognises(self, facts: CallFacts) -> bool:
        return True

    def identity(self, facts: CallFacts) -> Identity:
        """From the x-ocproxy-* tags alone."""
        return self.tagged(Identity(agent=self.name), facts.tags)

    def tagged(self, identity: Identity, tags: dict[str, str]) -> Identity:
        """`identity`, overridden by the user's own tags: `session`, `agent`, `thread`, `workdir`, `title`.

        `agent` names the agent to the user. A tagged session is the user's own: agent ids within it stay.
        """
        said = {
            field: tags[tag]
            for tag, field in (
                ("session", "session"),
                ("thread", "thread"),
                ("workdir", "workdir"),
                ("title", "title"),
            )
            if tags.get(tag)
        }
        if tags.get("agent"):
            said["agent"] = tags["agent"]
        return msgspec.structs.replace(identity, **said)

    def checkout(self, facts: CallFacts) -> Checkout:
        return Checkout()

    def kind(self, facts: CallFacts) -> CallKind:
        request = facts.request
        if request is None:
            if facts.method == "HEAD" or _is_refused_upgrade(facts):
                return CallKind.PROBE
            is_models = facts.method == "GET" and facts.path.split("?")[0].rstrip("/").endswith("/models")
            return CallKind.MODELS if is_models else CallKind.OTHER
        if request.endpoint == "generate":
            return CallKind.MAIN
        return _KINDS.get(request.endpoint, CallKind.OTHER)

    def about(self, facts: CallFacts) -> str | None:
        return None

    def title(self, facts: CallFacts) -> str | None:
        return None

    def flattened(self, facts: CallFacts) -> Flattened | None:
        return None

    def recap(self, messages: Sequence[Message]) -> int:
        return 0

    def key(self, message: Message) -> str | None:
        items = [item for part in message.parts if (item := self.part_key(part)) is not None]
        return _canonical([message.role, items])

    def aside(self, message: Message) -> str | None:
        return None

    def part_key(self, part: Part) -> Json:
        """What of a part counts for the identity of its message; None for nothing."""
        if isinstance(part, Text):
            text = self.spoken(part.text)
            return ["text", text] if text else None
        if isinstance(part, ToolUse):
            return ["use", part.id]
        if isinstance(part, ToolResult):
            return ["result", part.tool_use_id]
        if isinstance(part, Media):
            # OpenAI's answers in audio come whole and are sent back by their id alone.
            id = part.raw.get("id") if isinstance(part.raw, dict) else None
            return ["media", part.kind, digest(_canonical(id or _without_cache_control(part.raw)))]
        if isinstance(part, Opaque):
            return ["opaque", part.kind, digest(_canonical(_without_cache_control(part.raw)))]
        assert isinstance(part, Reasoning)
        return None

    def inherited(self, messages: Sequence[Sequence[Part]]) -> int:
        return 0

    def spoken(self, text: str) -> str:
        return text.strip()

    def system_key(self, request: ModelRequest) -> str:
        texts = [self.part_key(part) for part in request.system]
        tools = _without_cache_control(list(request.tools))
        return digest(_canonical([request.model, [text for text in texts if text is not None], tools]))

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        for catalogue in (editor_tools, mcp_files, openai_tools, patches):
            found: tuple[Action, ...] | None = catalogue.actions(use)
            if found is not None:
                return found
        return self.guess(use)

    def guess(self, use: ToolUse) -> tuple[Action, ...]:
        """By name where the name is common knowledge, else by the fields of the input, `inferred`."""
        given, short = use.input, mcp_files.tool_of(use.name).lower()
        kind = _KNOWN.get(short)
        certainty: Certainty = "exact" if kind else "inferred"
        action = shapes.action_of(kind or _kind_by_fields(short, given), given, certainty)
        if action is None and kind is not None:
            action = shapes.action_of(_kind_by_fields(short, given), given, "inferred")
            if action is not None and kind in _CHANGES and action.event_type not in _CHANGES:
                return shapes.degraded(use, kind, f"the input of the tool {short} has a form that is not known")
        if action is None:
            return ()
        if action.event_type is EventType.READ and len(paths := paths_of(given)) > 1:
            return tuple(Action(EventType.READ, path=path, certainty=certainty) for path in paths)
        return (action,)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        text = result.text
        if (told := openai_tools.answer(use, result)) is not None:
            return told
        exit_code = int(found[1]) if (found := _EXIT_CODE.match(text)) else None
        size = len(text.encode("utf-8", "replace"))
        if result.is_error or exit_code:
            status = Status.FAILED
        elif exit_code is None and self._says_failed(use, result):
            status = Status.FAILED
        elif result.is_error is not None or exit_code is not None or _SAYS_DONE.search(text):
            status = Status.APPLIED
        else:
            status = Status.UNKNOWN
        if status is Status.FAILED:
            return Answer(status, exit_code=exit_code, output_bytes=size, note=first_line(text))
        # Editors say so of files that were there, too.
        created = True if _SAYS_CREATED.match(text) and not editor_tools.is_editor(use) else None
        lines = numbered_lines(text, editor_tools.NUMBERED if editor_tools.is_editor(use) else _NUMBERED)
        if lines is None and self._reads_whole(use):
            bare = tuple(enumerate(text.removesuffix("\n").split("\n"), 1)) if text else ()
            ends = text.endswith("\n")
            return Answer(status, output_bytes=size, lines=bare, whole=True, final_newline=ends, supposed=True)
        if lines is not None and status is Status.UNKNOWN and self._reads(use):
            status = Status.APPLIED  # nothing but a file is shown so
        return Answer(status, exit_code=exit_code, output_bytes=size, lines=lines, created=created)

    def _says_failed(self, use: ToolUse, result: ToolResult) -> bool:
        """By the wording. A flag that is false says less: LangChain sets it for every result. What a command prints
        may begin with anything."""
        if _SAYS_FAILED.search(result.text) is None:
            return False
        return result.is_error is None or all(action.event_type is not EventType.BASH for action in self.actions(use))

    def _reads(self, use: ToolUse) -> bool:
        return all(action.event_type is EventType.READ for action in self.actions(use))

    def _reads_whole(self, use: ToolUse) -> bool:
        """Whether it is known to ask for one whole file."""
        found = self.actions(use)
        asked = found[0] if len(found) == 1 else None
        return asked is not None and asked == Action(EventType.READ, path=asked.path)

    def news(self, said: Text | ToolResult, use: ToolUse | None) -> News:
        return News()

    def attached(self, parts: Sequence[Part]) -> tuple[tuple[str, Answer], ...]:
        return ()

    def uses_in(self, parts: Sequence[Part]) -> tuple[ToolUse, ...]:
        return ()

    def results_in(self, parts: Sequence[Part], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
        return ()

    def retold(self, messages: Sequence[Message], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
        return ()

    def delegated(self, use: ToolUse) -> str | None:
        if use.name.lower().replace("-", "_") not in _DELEGATING:
            return None
        prompts = (use.input.get(name) for name in ("prompt", "task", "message", "description"))
        return next((prompt for prompt in prompts if isinstance(prompt, str) and prompt.strip()), None)

    def replace(self, text: str, replacement: Replacement) -> str | None:
        """Exact matching; once means the text is there exactly once. A patch's hunk matches whole lines, the first."""
        old, new = replacement.old, replacement.new
        if replacement.whole_lines:
            return patches.apply_hunk(text, replacement)
        if replacement.first:
            return mcp_files.replace(text, replacement)
        if not old:
            return new if not text else None
        found = text.count(old)
        if not found or (found > 1 and not replacement.everywhere):
            return None
        return text.replace(old, new)

    def replace_all(self, text: str, replacements: Sequence[Replacement]) -> str | None:
        after: str | None = text
        for replacement in replacements:
            after = self.replace(after, replacement) if after is not None else None
        return after

    def written(self, old: str | None, content: str) -> str:
        return content


def numbered_lines(text: str, pattern: re.Pattern[str] = _NUMBERED) -> tuple[tuple[int, str], ...] | None:
    """The lines of a result that numbers each of its lines in order; None for any other text."""
    lines: list[tuple[int, str]] = []
    for line in text.removesuffix("\n").split("\n"):
        found = pattern.match(line)
        if not found or (lines and int(found[1]) != lines[-1][0] + 1):
            return None
        lines.append((int(found[1]), found[2]))
    return tuple(lines)


def first_line(text: str) -> str:
    """The first line of a text that says something, at most 300 characters: notes are for a table."""
    line = next((line.strip() for line in text.split("\n") if line.strip()), "")
    return line[:300]


def _is_refused_upgrade(facts: CallFacts) -> bool:
    """A WebSocket that a client of a known protocol asked for in vain: it has its answer, and no request in it."""
    return facts.headers.get("upgrade", "").lower() == "websocket" and facts.reply is not None


def _kind_by_fields(name: str, given: dict[str, Any]) -> EventType | None:
    if command_of(given) is not None and path_of(given) is None:
        return EventType.BASH
    if path_of(given) is None and not paths_of(given):
        return None
    for hint, kind in _HINTS:
        if hint in name:
            return kind
    if replacements_of(given):
        return EventType.EDIT
    if text_of(given, PATTERN) is not None:
        return EventType.SEARCH
    if text_of(given, CONTENT) is not None:
        return EventType.WRITE
    return EventType.READ


def _without_cache_control(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _without_cache_control(inner) for key, inner in value.items() if key != "cache_control"}
    return [_without_cache_control(inner) for inner in value] if isinstance(value, list) else value


def _canonical(value: Json) -> str:
    """JSON with sorted keys; lone surrogates, which no UTF-8 holds, are escaped by the standard library's encoder."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


AGENT = Generic()
