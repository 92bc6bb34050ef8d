"""The MCP filesystem server's tools, as agents name them: `mcp__SERVER__TOOL`, `SERVER_TOOL`, or plain.

Names and fields: README of `@modelcontextprotocol/server-filesystem`. Results as recorded through Claude Code 2.1.329,
which shows their structured form, `{"content":"…"}`. Older servers give plain text; so do other servers' tools of the
same names, with anything around it: it is not taken for the file's content.
"""

from __future__ import annotations

import msgspec

from ocproxy.agents.base import Action, Answer, Replacement
from ocproxy.agents.fields import DESTINATION, SOURCE, number_of, path_of, paths_of, replacements_of, text_of
from ocproxy.agents.shapes import action_of, degraded
from ocproxy.model import EventType, Status, ToolUse

_MISSING = "ENOENT: no such file or directory, open "
_READS_TEXT = {"read_file", "read_text_file"}
_READS = {"read_file", "read_text_file", "read_media_file"}
_SEARCHES = {"search_files", "list_directory", "list_directory_with_sizes", "directory_tree", "get_file_info"}
_CHANGES = {"write_file": EventType.WRITE, "edit_file": EventType.EDIT}
_NOTHING = {"create_directory", "list_allowed_directories"}


def tool_of(name: str) -> str:
    """The tool's own name: what is behind `mcp__SERVER__`."""
    return name.split("__", 2)[2] if name.startswith("mcp__") and name.count("__") >= 2 else name


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What a use of this server's tools asks for; None when it is none of them, () when it touches no file."""
    found = _actions(use)
    # The server's folder is the one that the session began in, wherever the shell goes.
    return found and tuple(msgspec.structs.replace(action, follows_shell=False) for action in found)


def _actions(use: ToolUse) -> tuple[Action, ...] | None:
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
        return _otherwise(name, EventType.MOVE, use) if text_of(given, (*SOURCE, *DESTINATION)) else ()
    path = path_of(given)
    if path is None:
        return () if name in _READS | _SEARCHES else None
    found = _on_one_path(name, path, use)
    return _otherwise(name, _CHANGES[name], use) if found is None and name in _CHANGES else found


def _otherwise(name: str, kind: EventType, use: ToolUse) -> tuple[Action, ...] | None:
    """None where names that are common knowledge make it: it is another server's tool, or a newer one's."""
    if action_of(kind, use.input, "exact") is not None:
        return None
    return degraded(use, kind, f"the input of the tool {name} has a form that is not known")


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
        edits = tuple(msgspec.structs.replace(edit, first=True) for edit in replacements_of(given))
        if given.get("dryRun") is True:
            return ()
        return (Action(EventType.EDIT, path=path, replacements=edits),) if edits else None
    return None


def answer(use: ToolUse, text: str, status: Status, note: str | None) -> Answer:
    """What the result of a tool of any MCP server says, and what a file holds when it is this server's read."""
    if status is not Status.APPLIED:
        return Answer(status, note=note, missing=text.startswith(_MISSING))
    name, content = tool_of(use.name), _content(text)
    whole = Answer(status, output_bytes=_size(text))
    if content is None:
        return whole
    if name == "read_multiple_files":
        return msgspec.structs.replace(whole, each=_each(content, paths_of(use.input)))
    if name not in _READS_TEXT or use.input.get("tail") is not None:
        return whole
    if use.input.get("head") is not None:  # the last line's newline is cut off, and what follows is not said
        return Answer(status, output_bytes=_size(content), lines=tuple(enumerate(content.split("\n"), 1)))
    return _read(content)


def _read(content: str) -> Answer:
    lines = tuple(enumerate(content.split("\n"), 1))
    is_ended = lines[-1][1] == ""
    lines = lines[:-1] if is_ended else lines
    ends = is_ended and bool(lines)
    return Answer(Status.APPLIED, output_bytes=_size(content), lines=lines, whole=True, final_newline=ends)


def _each(content: str, paths: tuple[str, ...]) -> tuple[Answer, ...]:
    """The files of `read_multiple_files`: `PATH:\\nCONTENT\\n` or `PATH: Error - REASON`, with lines of --- between.

    None where it is not sure which text is which file's: a content may hold anything.
    """
    found: list[Answer] = []
    rest = content
    for at, path in enumerate(paths):
        text = rest
        if at + 1 < len(paths):
            text, separator, rest = rest.partition(f"\n---\n{paths[at + 1]}:")
            if not separator or separator in rest:
                return ()
            rest = f"{paths[at + 1]}:{rest}"
        if text.startswith(reason := f"{path}: Error - "):
            note = text.removeprefix(reason).strip()
            found.append(Answer(Status.FAILED, note=note[:300], missing=note.startswith(_MISSING)))
        elif text.startswith(f"{path}:\n") and text.endswith("\n"):
            found.append(_read(text[len(path) + 2 : -1]))
        else:
            return ()
    return tuple(found)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _content(text: str) -> str | None:
    """The content of a structured result; None for any other text."""
    if not text.startswith('{"content":"'):
        return None
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    content = said.get("content") if len(said) == 1 else None
    return content if isinstance(content, str) else None


def replace(text: str, edit: Replacement) -> str | None:
    """`text` after one edit of `edit_file`: \\r\\n becomes \\n everywhere, the first place that fits counts. Where the
    old text is not there as it stands, the server goes by lines and ignores indentation: that is not followed (None).
    """
    body, old = text.replace("\r\n", "\n"), edit.old.replace("\r\n", "\n")
    return body.replace(old, edit.new.replace("\r\n", "\n"), 1) if old and old in body else None
