"""Anthropic's own text-editor and bash tool types, which any agent may offer.

Text editor (API documentation, "Text editor tool"): name `str_replace_based_edit_tool` or `str_replace_editor`; input
`command` view | create | str_replace | insert | undo_edit, `path`, `file_text`, `old_str`, `new_str`, `insert_line`,
`insert_text`, `view_range`. Bash tool: name `bash`; input `command`, or `restart: true`.
"""

from __future__ import annotations

from ocproxy.agents.base import Action, Replacement
from ocproxy.agents.fields import path_of, text_of
from ocproxy.model import EventType, ToolUse

_EDITORS = {"str_replace_based_edit_tool", "str_replace_editor", "str_replace_tool", "text_editor"}


def is_editor(use: ToolUse) -> bool:
    return use.name in _EDITORS


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What a use of these tools asks for; None when it is none of them, () when it touches no file."""
    given = use.input
    if use.name == "bash" and given.get("restart") is True:
        return ()
    path = path_of(given)
    if not is_editor(use) or path is None:
        return None
    command = given.get("command")
    if command == "view":
        return (_view(path, given.get("view_range")),)
    if command == "create":
        return (Action(EventType.WRITE, path=path, content=text_of(given, ("file_text",)) or ""),)
    if command == "str_replace":
        edit = Replacement(text_of(given, ("old_str",)) or "", text_of(given, ("new_str",)) or "")
        return (Action(EventType.EDIT, path=path, replacements=(edit,)),)
    line, text = given.get("insert_line"), text_of(given, ("insert_text", "new_str"))
    if command == "insert" and isinstance(line, int) and text is not None:
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
