"""The MCP filesystem server's tools, as agents name them: `mcp__SERVER__TOOL`, `SERVER_TOOL`, or plain.

Names and fields: README of `@modelcontextprotocol/server-filesystem`.
"""

from __future__ import annotations

from ocproxy.agents.base import Action
from ocproxy.agents.fields import number_of, path_of, paths_of, replacements_of
from ocproxy.model import EventType, ToolUse

_READS = {"read_file", "read_text_file", "read_media_file"}
_SEARCHES = {"search_files", "list_directory", "list_directory_with_sizes", "directory_tree", "get_file_info"}
_NOTHING = {"create_directory", "list_allowed_directories"}


def tool_of(name: str) -> str:
    """The tool's own name: what is behind `mcp__SERVER__`."""
    return name.split("__", 2)[2] if name.startswith("mcp__") and name.count("__") >= 2 else name


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What a use of this server's tools asks for; None when it is none of them, () when it touches no file."""
    if not use.name.startswith("mcp__"):
        return None
    name, given = tool_of(use.name), use.input
    if name in _NOTHING:
        return ()
    if name == "read_multiple_files":
        return tuple(Action(EventType.READ, path=path) for path in paths_of(given))
    if name == "move_file":
        source, destination = given.get("source"), given.get("destination")
        if isinstance(source, str) and isinstance(destination, str):
            return (Action(EventType.MOVE, path=source, destination=destination),)
        return ()
    path = path_of(given)
    if path is None:
        return () if name in _READS | _SEARCHES else None
    return _on_one_path(name, path, use)


def _on_one_path(name: str, path: str, use: ToolUse) -> tuple[Action, ...] | None:
    given = use.input
    if name in _READS:
        return (Action(EventType.READ, path=path, first_line=None, line_count=number_of(given, "head")),)
    if name in _SEARCHES:
        pattern = given.get("pattern")
        return (Action(EventType.SEARCH, path=path, command=pattern if isinstance(pattern, str) else None),)
    if name == "write_file" and isinstance(content := given.get("content"), str):
        return (Action(EventType.WRITE, path=path, content=content),)
    if name == "edit_file":
        edits = replacements_of(given)
        is_dry = given.get("dryRun") is True
        return () if is_dry else (Action(EventType.EDIT, path=path, replacements=edits),)
    return None
