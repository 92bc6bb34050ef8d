"""Names under which agents and tools carry the same thing, and reading them out of a tool's input."""

from __future__ import annotations

from collections.abc import Iterator

from ocproxy.agents.base import Replacement
from ocproxy.model import Json

Input = dict[str, Json]

PATH = (
    "file_path", "filePath", "path", "filepath", "absolute_path", "notebook_path", "relative_path", "target_file",
    "file", "filename", "fileName",
)  # fmt: skip
CONTENT = ("content", "contents", "file_text", "fileText", "file_content", "text", "new_text", "newText", "code_edit")
OLD = ("old_string", "oldString", "old_str", "oldStr", "old_text", "oldText", "search")
NEW = ("new_string", "newString", "new_str", "newStr", "new_text", "newText", "replace", "replacement")
EVERYWHERE = ("replace_all", "replaceAll", "everywhere")
EDITS = ("edits", "replacements", "changes")
COMMAND = ("command", "cmd", "script", "commands")
PATTERN = ("pattern", "query", "regex", "glob", "queries")
SOURCE = ("source", "source_path", "old_path", "from", "src", *PATH)
DESTINATION = ("destination", "destination_path", "new_path", "target", "to", "dst", "dest")


def text_of(given: Input, names: tuple[str, ...]) -> str | None:
    """The first of the fields that is a text."""
    return next((value for name in names if isinstance(value := given.get(name), str)), None)


def path_of(given: Input) -> str | None:
    """The path that the input names; an empty one is none."""
    return next((value for name in PATH if isinstance(value := given.get(name), str) and value), None)


def paths_of(given: Input) -> tuple[str, ...]:
    """All paths of a tool that takes several (`paths`, `files`: texts or objects with a path), else the one."""
    for name in ("paths", "files", "file_paths"):
        value = given.get(name)
        if isinstance(value, list):
            found = [
                item if isinstance(item, str) else path_of(item) if isinstance(item, dict) else None for item in value
            ]
            return tuple(path for path in found if path)
    one = path_of(given)
    return (one,) if one else ()


def number_of(given: Input, *names: str) -> int | None:
    """The first of the fields that is a whole number, or a text that holds one."""
    for name in names:
        value = given.get(name)
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            return value
        if isinstance(value, str) and value.isdecimal() and len(value) <= 9:
            return int(value)
    return None


def command_of(given: Input) -> str | None:
    """The command line; a list of words is joined with spaces, a list of commands (`commands`) with newlines."""
    for name in COMMAND:
        value = given.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return ("\n" if name == "commands" else " ").join(value)
    return None


def replacements_of(given: Input) -> tuple[Replacement, ...]:
    """The edits that the input asks for, in order: a list of them, or the one that its own fields make. None at all
    where one of a list is not understood: the others would tell another change."""
    return tuple(_replacements(given))


def _replacements(given: Input) -> Iterator[Replacement]:
    for name in EDITS:
        listed = given.get(name)
        if isinstance(listed, list):
            found = [list(_replacements(edit)) if isinstance(edit, dict) else [] for edit in listed]
            if all(found):
                yield from (edit for one in found for edit in one)
            return
    old, new = text_of(given, OLD), text_of(given, NEW)
    if old is not None and new is not None:
        yield Replacement(old, new, any(given.get(name) in (True, "true") for name in EVERYWHERE))
