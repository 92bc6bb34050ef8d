"""File events of message parts as callers of `OpencodeSessionService` have them: in the shapes of the seed schema, of
providers' APIs and of opencode's own store. A part alone says what was asked for; what became of it is not in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ocproxy.agents.base import Agent
from ocproxy.agents.catalog import agent_named
from ocproxy.files.derive import FileLedger
from ocproxy.model import EventType, FileEvent, Json, ToolUse

# Fields with what a seed tool changed, the first that is there counts.
_SEED_DIFFS = {"read": (), "write": ("diff", "content"), "edit": ("diff", "new_string", "replace")}
# Whose catalogue is asked, in order, about a tool of an agent that is not named: by the API whose shape the part has,
# the agents that use it most.
_ANTHROPIC = ("claude-code", "generic")
_OPENAI = ("codex", "qwen-code", "cline", "generic")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # the ledger dates its events; these are dated by whoever stores them


def text_of(parts: Sequence[Json]) -> str | None:
    """The string values of each part's `text`, else `content`, newline-joined; None where there are none."""
    found = []
    for part in parts:
        if isinstance(part, Mapping):
            values = [part.get(name) for name in ("text", "content")]
            found += [value for value in values if isinstance(value, str) and value][:1]
    return "\n".join(found) if found else None


def events_of(parts: Sequence[Json], agent_name: str | None = None) -> list[dict[str, Any]]:
    """What the tool uses among the parts do: {"event_type", "file_path", "diff"} for files, {"event_type", "command"}
    for commands.

    A `tool_use` named read, write, edit or bash with the seed's fields (path; diff or content; diff, new_string or
    replace; command) gives exactly these. All others are told by the catalogue of the agent named, or of the one that
    knows the tool, with unified diffs of what they say, as the recorder tells them before there is a result. Tools that
    no catalogue knows, and what names neither a file nor a command, give none.
    """
    events: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        if not isinstance(part, Mapping):
            continue
        if (seed := _seed_event(part)) is not None:
            events.append(seed)
            continue
        for use, agent in _uses(part, str(number), agent_name):
            told = [_told(event) for event in _requested(use, agent)]
            events += [event for event in told if event.get("file_path") or event.get("command")]
    return events


def _seed_event(part: Mapping[str, Any]) -> dict[str, Any] | None:
    if part.get("type") != "tool_use":
        return None
    given = part.get("input") if "input" in part else part
    name = part.get("name")
    if not isinstance(given, Mapping) or not isinstance(name, str):
        return None
    if name == "bash" and isinstance(given.get("command"), str):
        return {"event_type": "bash", "command": given["command"]}
    if name in _SEED_DIFFS and isinstance(given.get("path"), str):
        texts = [given.get(field) for field in _SEED_DIFFS[name]]
        diff = next((text for text in texts if isinstance(text, str)), None)
        if diff is not None or name == "read":
            return {"event_type": name, "file_path": given["path"], "diff": diff}
    return None


def _uses(part: Mapping[str, Any], id: str, agent_name: str | None) -> Iterator[tuple[ToolUse, Agent]]:
    """The tool uses of a part, each with the agent that knows its tool."""
    kind, state, function = part.get("type"), part.get("state"), part.get("function")
    if kind == "tool" and isinstance(state, Mapping):  # opencode's store: {type, tool, callID, state: {input, …}}
        yield from _use(part.get("tool"), state.get("input"), id, ("opencode",))
    elif kind == "tool_use":
        yield from _use(part.get("name"), part.get("input"), id, _before(agent_name, _ANTHROPIC))
    elif kind == "function" and isinstance(function, Mapping):  # Chat Completions
        yield from _use(function.get("name"), function.get("arguments"), id, _before(agent_name, _OPENAI))
    elif kind == "function_call":  # Responses
        yield from _use(part.get("name"), part.get("arguments"), id, _before(agent_name, _OPENAI))
    elif kind == "custom_tool_call":
        yield from _use(part.get("name"), {"input": part.get("input")}, id, _before(agent_name, _OPENAI))
    elif kind == "local_shell_call" and isinstance(part.get("action"), Mapping):
        yield from _use("local_shell", dict(part["action"]), id, ("codex",))
    for call in part.get("tool_calls") or () if isinstance(part.get("tool_calls"), list) else ():
        if isinstance(call, Mapping):
            yield from _uses(call, f"{id}/{call.get('id')}", agent_name)


def _before(agent_name: str | None, others: tuple[str, ...]) -> tuple[str, ...]:
    """The catalogue of the agent named alone, where there is one of that name; else the `others`."""
    return (agent_name,) if agent_name and agent_named(agent_name).name == agent_name else others


def _use(name: Json, given: Json, id: str, catalogues: tuple[str, ...]) -> Iterator[tuple[ToolUse, Agent]]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return  # arguments that broke off tell nothing
    if isinstance(name, str) and isinstance(given, Mapping):
        use = ToolUse(id, name, dict(given))
        if (agent := _knowing(use, catalogues)) is not None:
            yield use, agent


def _knowing(use: ToolUse, catalogues: Sequence[str]) -> Agent | None:
    """The first agent that knows the tool exactly. What would be guessed of one that none knows has no place in a
    row that cannot say so."""
    for agent in map(agent_named, catalogues):
        actions = agent.actions(use)
        if actions and all(action.certainty == "exact" and not action.unknown_shape for action in actions):
            return agent
    return None


def _requested(use: ToolUse, agent: Agent) -> list[FileEvent]:
    return FileLedger("", "", agent).requested(use, "", _NEVER)


def _told(event: FileEvent) -> dict[str, Any]:
    if event.event_type is EventType.BASH:
        return {"event_type": "bash", "command": event.command}
    return {"event_type": event.event_type.value, "file_path": event.file_path, "diff": event.diff}
