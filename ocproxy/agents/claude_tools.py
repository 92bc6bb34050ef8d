"""The tool catalogue of Claude Code, present and past, by real tool names and fields (seen up to 2.1.329).

Tools that touch no file give nothing: Agent and Task (their subagent is a session of its own), WebFetch, WebSearch,
TodoWrite, Skill, ToolSearch, ExitPlanMode and the rest. MCP tools come as `mcp__SERVER__TOOL`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ocproxy.agents import shapes
from ocproxy.agents.base import Action, Cell, Replacement
from ocproxy.agents.fields import number_of
from ocproxy.agents.shapes import Shape
from ocproxy.model import EventType, ToolUse

Input = dict[str, Any]

_KEEPS_TRAILING_SPACE = (".md", ".mdx")  # two spaces at a line's end mean something in Markdown

_TOUCH_NOTHING = frozenset(
    """Agent AskUserQuestion BashOutput CronCreate CronDelete CronList EnterPlanMode EnterWorktree ExitPlanMode
    ExitWorktree KillBash KillShell ListMcpResourcesTool Monitor ReadMcpResourceTool SendMessage Skill SlashCommand Task
    TaskCreate TaskGet TaskList TaskOutput TaskStop TaskUpdate TodoRead TodoWrite ToolSearch WebFetch WebSearch
    Workflow""".split()
)


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What a use of one of Claude Code's own tools asks for; None when it is none of them.

    A use whose input has another shape is told as far as it can be: Claude Code refuses it (InputValidationError), or
    is of a version that knows it. Its result tells which.
    """
    if use.name in _TOUCH_NOTHING:
        return ()
    return shapes.fitted(use, _SHAPES, _of_use) if use.name in _TOOLS else None


def _of_use(use: ToolUse) -> tuple[Action, ...]:
    action = _TOOLS[use.name](use.input)
    return () if action is None else (action,)


def _text(given: Input, name: str) -> str | None:
    value = given.get(name)
    return value if isinstance(value, str) else None


def _read(given: Input) -> Action | None:
    path = _text(given, "file_path") or _text(given, "notebook_path")
    if not path:
        return None
    first, count = number_of(given, "offset"), number_of(given, "limit")
    return Action(EventType.READ, path=path, first_line=first, line_count=count)


def _write(given: Input) -> Action | None:
    path, content = _text(given, "file_path"), _text(given, "content")
    if path is None or content is None:
        return None
    return Action(EventType.WRITE, path=path, content=_as_applied(path, content))


def _edit(given: Input) -> Action | None:
    return _edits(given, [given])


def _multi_edit(given: Input) -> Action | None:
    edits = given.get("edits")
    return _edits(given, edits) if isinstance(edits, list) else None


def _edits(given: Input, edits: list[Any]) -> Action | None:
    """Old and new strings, as they are applied."""
    path = _text(given, "file_path")
    found: list[Replacement] = []
    for edit in edits:
        old, new = (_text(edit, "old_string"), _text(edit, "new_string")) if isinstance(edit, dict) else (None, None)
        if path is None or old is None or new is None:
            return None
        found.append(Replacement(old, _as_applied(path, new), edit.get("replace_all") in (True, "true")))
    return Action(EventType.EDIT, path=path, replacements=tuple(found)) if found else None


def _as_applied(path: str, text: str) -> str:
    """What Claude Code puts into the file: it cuts the white space at the ends of lines, of a Write as of an Edit, but
    not in Markdown. The history that it resends shows the cut form.
    """
    return text if path.lower().endswith(_KEEPS_TRAILING_SPACE) else _TRAILING.sub("", text)


# What \s means in a JavaScript regular expression (ECMA-262, WhiteSpace and LineTerminator), without CR and LF.
_JS_SPACE = "\t\v\f \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
# Looked for at the beginnings of runs alone: a long run in the middle of a line costs its length, not its square.
_TRAILING = re.compile(f"(?<![{_JS_SPACE}])[{_JS_SPACE}]++(?=\\r|\\n|\\Z)")


def _notebook_edit(given: Input) -> Action | None:
    """Where the cell lies in the notebook's JSON is known where that is. `cell_number` is an older version's field."""
    path, source = _text(given, "notebook_path"), _text(given, "new_source")
    if path is None or source is None:
        return None
    name, number = _text(given, "cell_id"), number_of(given, "cell_number")
    if not name and number is not None:
        name = f"cell-{number}"
    cell = Cell(name or None, _text(given, "edit_mode") or "replace", _text(given, "cell_type"))
    return Action(EventType.EDIT, path=path, replacements=(Replacement("", source, cell=cell),))


def _bash(given: Input) -> Action | None:
    command = _text(given, "command")
    return None if command is None else Action(EventType.BASH, command=command)


def _search(given: Input) -> Action | None:
    return Action(EventType.SEARCH, path=_text(given, "path"), command=_text(given, "pattern"))


def _list(given: Input) -> Action | None:
    return Action(EventType.SEARCH, path=_text(given, "path"))


_TOOLS: dict[str, Callable[[Input], Action | None]] = {
    "Read": _read,
    "NotebookRead": _read,
    "Write": _write,
    "Edit": _edit,
    "MultiEdit": _multi_edit,
    "NotebookEdit": _notebook_edit,
    "Bash": _bash,
    "PowerShell": _bash,
    "Glob": _search,
    "Grep": _search,
    "LS": _list,
}

_READ = Shape(EventType.READ, {"file_path|notebook_path": "path"}, {"offset": "number", "limit": "number"})
_COMMAND = Shape(EventType.BASH, {"command": "text"})
_PATTERN = Shape(EventType.SEARCH, {"pattern": "text"}, {"path": "text"})
_SHAPES = {
    "Read": _READ,
    "NotebookRead": _READ,
    "Write": Shape(EventType.WRITE, {"file_path": "path", "content": "text"}),
    "Edit": Shape(
        EventType.EDIT, {"file_path": "path", "old_string": "text", "new_string": "text"}, {"replace_all": "flag"}
    ),
    "MultiEdit": Shape(EventType.EDIT, {"file_path": "path", "edits": "list"}),
    "NotebookEdit": Shape(
        EventType.EDIT,
        {"notebook_path": "path", "new_source": "text"},
        {"cell_id": "text", "cell_number": "number", "edit_mode": "text", "cell_type": "text"},
    ),
    "Bash": _COMMAND,
    "PowerShell": _COMMAND,
    "Glob": _PATTERN,
    "Grep": _PATTERN,
    "LS": Shape(EventType.SEARCH, optional={"path": "text"}),
}
