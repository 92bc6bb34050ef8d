"""Anthropic's own text-editor and bash tool types, which any agent may offer.

Text editor (API documentation, "Text editor tool"): name `str_replace_based_edit_tool` or `str_replace_editor`; input
`command` view | create | str_replace | insert | undo_edit, `path`, `file_text`, `old_str`, `new_str`, `insert_line`,
`insert_text`, `view_range`. Bash tool: name `bash`; input `command`, or `restart: true`.
"""

from __future__ import annotations

import re

from ocproxy.agents.base import Action, Replacement
from ocproxy.agents.fields import number_of, text_of
from ocproxy.agents.shapes import Shape, degraded, fitted
from ocproxy.model import EventType, ToolUse

# How the documentation's examples show a file; others have a tab, as in `cat -n`.
NUMBERED = re.compile(r"\A *(\d{1,9})(?:: ?|\t|→)(.*)\Z", re.S)
_EDITORS = {"str_replace_based_edit_tool", "str_replace_editor", "str_replace_tool", "text_editor"}


def is_editor(use: ToolUse) -> bool:
    return use.name in _EDITORS


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What a use of these tools asks for; None when it is none of them, () when it touches no file."""
    given = use.input
    if use.name == "bash" and given.get("restart") is True:
        return ()
    if not is_editor(use):
        return None
    command = given.get("command")
    if not isinstance(command, str) or command not in _SHAPES:
        return degraded(use, EventType.EDIT, f"the tool {use.name} has no field command that is known")
    return fitted(use, {use.name: _SHAPES[command]}, _of_command)


_SHAPES = {
    "view": Shape(EventType.READ, {"path": "path"}, {"view_range": "list"}),
    "create": Shape(EventType.WRITE, {"path": "path", "file_text": "text"}),
    "str_replace": Shape(EventType.EDIT, {"path": "path", "old_str": "text"}, {"new_str": "text"}),
    "insert": Shape(EventType.EDIT, {"path": "path", "insert_line": "number", "insert_text|new_str": "text"}),
    "undo_edit": Shape(EventType.EDIT, {"path": "path"}),
}


def _of_command(use: ToolUse) -> tuple[Action, ...]:
    given, path, command = use.input, use.input["path"], use.input["command"]
    if command == "view":
        return (_view(path, given.get("view_range")),)
    if command == "create":
        return (Action(EventType.WRITE, path=path, content=given["file_text"]),)
    if command == "str_replace":
        edit = Replacement(given["old_str"], text_of(given, ("new_str",)) or "")
        return (Action(EventType.EDIT, path=path, replacements=(edit,)),)
    line, text = number_of(given, "insert_line"), text_of(given, ("insert_text", "new_str"))
    if command == "insert" and line is not None and text is not None:
        return (Action(EventType.EDIT, path=path, insert_after=(line, text)),)
    # undo_edit: the content before the last edit, which the use does not say
    return (Action(EventType.EDIT, path=path, certainty="inferred"),)


def _view(path: str, span: object) -> Action:
    if isinstance(span, list) and len(span) == 2 and all(isinstance(end, int) for end in span):
        first, last = span
        return Action(
            EventType.READ, path=path, first_line=first, line_count=last - first + 1 if last >= first else None
        )
    return Action(EventType.READ, path=path)
