"""How Codex finds the place of a hunk (codex-rs/apply-patch, crate of the same name; seen with 0.169.0).

Lines are compared as they are, then without white space at their ends, then without any around them, then with
typographic dashes, quotes and spaces taken for plain ones. A hunk without old lines goes to the end of the file.
"""

from __future__ import annotations

from collections.abc import Callable

from ocproxy.agents.base import Replacement

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
    }
)
_WAYS: tuple[Callable[[str], str], ...] = (
    lambda line: line,
    str.rstrip,
    str.strip,
    lambda line: line.strip().translate(_PLAIN),
)


def apply_hunk(text: str, hunk: Replacement) -> str | None:
    """`text` after the hunk; None when it has no place. The last line gets its newline."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    start = 0
    if hunk.anchor is not None:
        place = _seek(lines, [hunk.anchor], 0)
        if place is None:
            return None
        start = place + 1
    old, new = hunk.old.split("\n")[:-1], hunk.new.split("\n")[:-1]
    if not old:
        return _joined(lines + new)
    place = _seek(lines, old, start)
    if place is None and old[-1] == "":  # the empty line behind the last one, which is none
        old, new = old[:-1], new[:-1] if new and new[-1] == "" else new
        place = _seek(lines, old, start)
    return None if place is None else _joined(lines[:place] + new + lines[place + len(old) :])


def _seek(lines: list[str], pattern: list[str], start: int) -> int | None:
    for way in _WAYS:
        wanted = [way(line) for line in pattern]
        found = [way(line) for line in lines]
        for place in range(start, len(lines) - len(pattern) + 1):
            if found[place : place + len(pattern)] == wanted:
                return place
    return None


def _joined(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
