"""What an agent's own tools take, and what is told of a use that has another shape.

A newer version of an agent may rename a field of a tool, drop it, or give it another type. Such a use still did
something: it is told as what the tool is for, `inferred`, with what fields of common names say, and with the reason.
Nothing is read into it that no field says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from ocproxy.agents.base import Action, Replacement
from ocproxy.agents.fields import (
    CONTENT,
    DESTINATION,
    PATTERN,
    SOURCE,
    command_of,
    number_of,
    path_of,
    paths_of,
    replacements_of,
    text_of,
)
from ocproxy.model import Certainty, EventType, Json, ToolUse

Kind = Literal["path", "text", "number", "flag", "list", "words"]

_FITS: dict[Kind, Callable[[Json], bool]] = {
    "path": lambda value: isinstance(value, str) and value != "",
    "text": lambda value: isinstance(value, str),
    "number": lambda value: number_of({"n": value}, "n") is not None,
    "flag": lambda value: isinstance(value, bool) or value in ("true", "false"),
    "list": lambda value: isinstance(value, list),
    "words": lambda value: command_of({"command": value}) is not None,
}


class Shape(msgspec.Struct, frozen=True):
    """What a tool takes, as far as its events come from it. `a|b` are two names of one field."""

    event_type: EventType
    required: dict[str, Kind] = {}
    optional: dict[str, Kind] = {}


Reading = Callable[[ToolUse], tuple[Action, ...]]


def fitted(use: ToolUse, shapes: Mapping[str, Shape], read: Reading) -> tuple[Action, ...]:
    """What `read` says of a use that has the shape of its tool, and of a tool that has none in `shapes`; else what is
    left to say (`degraded`)."""
    shape = shapes.get(use.name)
    if shape is None:
        return read(use)
    if why := _missing(use, shape.required):
        return degraded(use, shape.event_type, why)
    found = read(use)
    if not found:
        return degraded(use, shape.event_type, f"the input of the tool {use.name} has a form that is not known")
    why = _wrong(use, shape.optional)
    return tuple(_doubted(action, why) for action in found) if why else found


def plain(use: ToolUse, shapes: Mapping[str, Shape], *, first_line: int = 1) -> tuple[Action, ...]:
    """What a use that has the shape of its tool asks for, where fields of common names say it all; () for other tools.

    `first_line` is what an `offset` of the tool calls the first line: 1, or 0.
    """
    shape = shapes.get(use.name)
    action = action_of(shape.event_type, use.input, "exact") if shape else None
    if action is not None and action.first_line is not None:
        action = msgspec.structs.replace(action, first_line=action.first_line + 1 - first_line)
    return (action,) if action is not None else ()


def edit_or_new(given: dict[str, Any], everywhere: bool) -> tuple[Action, ...]:
    """An edit by a program that makes a new file, and nothing but that, where the old text is empty: over an existing
    file it fails."""
    path, old, new = path_of(given), given["old_string"], given["new_string"]
    if not old:
        return (Action(EventType.WRITE, path=path, content=new, creates=True),)
    return (Action(EventType.EDIT, path=path, replacements=(Replacement(old, new, everywhere),)),)


def degraded(use: ToolUse, event_type: EventType, why: str) -> tuple[Action, ...]:
    """What fields of common names say of a use that is known to be of this type; at least that it was there."""
    given = use.input
    if event_type is EventType.READ and len(paths := paths_of(given)) > 1:
        found = tuple(Action(event_type, path=path) for path in paths)
    else:
        found = (action_of(event_type, given, "inferred") or _bare(event_type, given),)
    says = any(action.path or action.command or action.destination for action in found)
    how = "guessed by its other fields" if says else "what it was about is not known"
    return tuple(_doubted(action, f"{why}; {how}") for action in found)


def action_of(kind: EventType | None, given: dict[str, Any], certainty: Certainty) -> Action | None:
    """One action of that kind out of the input's fields; None where they do not make one."""
    path = path_of(given)
    if kind is EventType.BASH:
        command = command_of(given)
        return None if command is None else Action(kind, command=command, certainty=certainty)
    if kind is EventType.SEARCH:
        return Action(kind, path=path, command=text_of(given, PATTERN), certainty=certainty)
    if kind is EventType.MOVE:
        source, destination = text_of(given, SOURCE), text_of(given, DESTINATION)
        complete = source is not None and destination is not None
        return Action(kind, path=source, destination=destination, certainty=certainty) if complete else None
    if kind is EventType.READ and path is None and (paths := paths_of(given)):
        path = paths[0]
    if kind is None or path is None:
        return None
    if kind is EventType.WRITE:
        content = text_of(given, CONTENT)
        return None if content is None else Action(kind, path=path, content=content, certainty=certainty)
    if kind is EventType.EDIT:
        edits = replacements_of(given)
        return Action(kind, path=path, replacements=edits, certainty=certainty) if edits else None
    if kind is EventType.READ:
        first, count = number_of(given, "offset", "start_line", "line"), number_of(given, "limit", "line_count")
        return Action(kind, path=path, first_line=first, line_count=count, certainty=certainty)
    return Action(kind, path=path, certainty=certainty)


def _bare(kind: EventType, given: dict[str, Any]) -> Action:
    """What it was about, and not what it did there."""
    if kind is EventType.MOVE:
        return Action(kind, path=text_of(given, SOURCE) or None, destination=text_of(given, DESTINATION) or None)
    return Action(kind, path=None if kind is EventType.BASH else path_of(given))


def _doubted(action: Action, why: str) -> Action:
    return msgspec.structs.replace(action, certainty="inferred", doubt=action.doubt or why, unknown_shape=True)


def _missing(use: ToolUse, required: dict[str, Kind]) -> str | None:
    """Which required field is not there, or not of its type."""
    for names, kind in required.items():
        values = [value for name in names.split("|") if (value := use.input.get(name)) is not None]
        if not values:
            return f"the tool {use.name} has no field {names.replace('|', ' or ')}"
        if not any(_FITS[kind](value) for value in values):
            return f"the tool {use.name} has a field {names.replace('|', ' or ')} that is no {kind}"
    return None


def _wrong(use: ToolUse, optional: dict[str, Kind]) -> str | None:
    """Which optional field is there and not of its type."""
    for name, kind in optional.items():
        value = use.input.get(name)
        if value is not None and not _FITS[kind](value):
            return f"the tool {use.name} has a field {name} that is no {kind}; it is passed over"
    return None
