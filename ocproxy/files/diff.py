"""Unified diffs as `git apply` takes them: true line numbers, quoted names, missing newlines at ends of files said."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from ocproxy.files.worktree import Change, Sheet, split_lines

CONTEXT = 3  # lines around a change, as git has it
_MOST_COMPARED = 25_000_000  # old lines × new lines of one change; more is shown as all old, all new
_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Hunks(NamedTuple):
    """The hunks of one file. `is_loose`: one ends where the next line is not known, so that `git apply` would take its
    end for the end of the file and needs --unidiff-zero.
    """

    text: str
    is_loose: bool


def is_absolute(path: str) -> bool:
    """Whether the path says all of itself."""
    return path.startswith("/") or _DRIVE.match(path) is not None


def resolve(path: str, workdir: str) -> str:
    """The path as one name: absolute where the working directory is known, without `.` and `..`, with slashes."""
    if _DRIVE.match(path):
        return path.replace("\\", "/")
    return posixpath.normpath(posixpath.join(workdir, path) if workdir else path)


def label(path: str, workdir: str) -> str:
    """The name of a resolved path in a diff: relative to the working directory, or absolute without its first slash."""
    root = resolve(workdir, "") if workdir else ""
    if root and path.startswith(root.rstrip("/") + "/"):
        return path[len(root.rstrip("/")) + 1 :]
    return path.lstrip("/")


def is_inside(path: str, workdir: str) -> bool:
    """Whether a resolved path lies in the working directory; an unknown working directory holds everything."""
    return not workdir or label(path, workdir) != path.lstrip("/") or not path.startswith("/")


def quote(name: str) -> str:
    """A file name as git writes it in a diff: C-style in double quotes where it has odd characters (core.quotePath)."""
    data = name.encode("utf-8", "surrogatepass")
    if all(32 <= byte < 127 and byte not in (34, 92) for byte in data):
        return name
    quoted = "".join(_ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in data)
    return f'"{quoted}"'


def file_diff(old: str | None, new: str | None, hunks: str) -> str:
    """One file's diff. `old` and `new` are its names, None where there is no file; different names are a move."""
    before, after = old or new or "", new or old or ""
    lines = [f"diff --git {quote('a/' + before)} {quote('b/' + after)}\n"]
    if old is None:
        lines.append("new file mode 100644\n")
    elif new is None:
        lines.append("deleted file mode 100644\n")
    elif old != new:
        lines.append(f"rename from {quote(old)}\nrename to {quote(new)}\n")
    if hunks:
        lines.append(f"--- {_named('a/', old)}\n+++ {_named('b/', new)}\n")
    return "".join(lines) + hunks


def _named(side: str, name: str | None) -> str:
    if name is None:
        return "/dev/null"
    quoted = quote(side + name)
    return quoted + "\t" if " " in name and not quoted.startswith('"') else quoted


def hunks_of(sheet: Sheet) -> Hunks:
    """What became of the sheet's base. The sheet must not be blind."""
    changes = [fine for change in sheet.changes() for fine in _refine(change)]
    groups: list[list[Change]] = []
    for change in changes:
        if groups and _is_near(groups[-1][-1], change, sheet):
            groups[-1].append(change)
        else:
            groups.append([change])
    texts: list[str] = []
    is_loose = False
    for index, group in enumerate(groups):
        floor = _end(groups[index - 1][-1]) if index else 0
        ceiling = groups[index + 1][0].at if index + 1 < len(groups) else None
        text, is_open = _hunk(group, sheet, floor, ceiling)
        texts.append(text)
        is_loose = is_loose or is_open
    return Hunks("".join(texts), is_loose)


def guessed_hunks(pairs: Iterable[tuple[str, str]]) -> str:
    """Old and new texts whose places are not known, as hunks that begin at line 1."""
    texts: list[str] = []
    at = new_at = 1
    for old, new in pairs:
        before, after = split_lines(old), split_lines(new)
        if not before and not after:  # an empty hunk is a corrupt patch
            continue
        texts.append(_header(at, len(before), new_at, len(after)) + _lines("-", before) + _lines("+", after))
        at, new_at = at + len(before), new_at + len(after)
    return "".join(texts)


def _end(change: Change) -> int:
    """The last base line that the change covers; of an insertion the line before it."""
    return change.at + len(change.old) - 1


def _refine(change: Change) -> Iterator[Change]:
    """The same change in as few lines as possible."""
    old, new = change.old, change.new
    if not old or not new or len(old) * len(new) > _MOST_COMPARED:
        yield change
        return
    for tag, a, b, c, d in SequenceMatcher(None, old, new).get_opcodes():
        if tag != "equal":
            yield Change(change.at + a, old[a:b], change.new_at + c, new[c:d])


def _is_near(first: Change, second: Change, sheet: Sheet) -> bool:
    between = range(_end(first) + 1, second.at)
    return len(between) <= 2 * CONTEXT and all(number in sheet.base for number in between)


def _hunk(group: Sequence[Change], sheet: Sheet, floor: int, ceiling: int | None) -> tuple[str, bool]:
    """The text of one hunk and whether it ends at an unknown line. Context lies between the base lines given."""
    first, last = group[0], group[-1]
    start = first.at
    while start - 1 > floor and first.at - start < CONTEXT and start - 1 in sheet.base:
        start -= 1
    stop = _end(last)
    while stop - _end(last) < CONTEXT and stop + 1 in sheet.base and (ceiling is None or stop + 1 < ceiling):
        stop += 1
    body: list[str] = []
    at = start
    for change in group:
        body += _context(sheet, at, change.at)
        body.append(_lines("-", change.old) + _lines("+", change.new))
        at = _end(change) + 1
    body += _context(sheet, at, stop + 1)
    grown = sum(len(change.new) - len(change.old) for change in group)
    size = stop - start + 1
    header = _header(start, size, first.new_at - (first.at - start), size + grown)
    return header + "".join(body), stop == _end(last) and sheet.base_count != stop


def _context(sheet: Sheet, start: int, stop: int) -> list[str]:
    return [_lines(" ", [sheet.base[number]]) for number in range(start, stop)]


def _header(at: int, count: int, new_at: int, new_count: int) -> str:
    return f"@@ -{_span(at, count)} +{_span(new_at, new_count)} @@\n"


def _span(at: int, count: int) -> str:
    """A range as unified diffs have it: one line without its count, no lines by the line before."""
    if count == 1:
        return str(at)
    return f"{at},{count}" if count else f"{at - 1},0"


def _lines(sign: str, lines: Iterable[str]) -> str:
    return "".join(
        sign + (line if line.endswith("\n") else line + "\n\\ No newline at end of file\n") for line in lines
    )
