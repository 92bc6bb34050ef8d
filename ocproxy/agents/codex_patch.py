"""How Codex finds the place of a hunk (codex-rs/apply-patch, crate of the same name; seen with 0.169.0).

Lines are compared as they are, then without white space at their ends, then without any around them, then with
typographic dashes, quotes and spaces taken for plain ones. A hunk without old lines goes to the end of the file; one
that names the end of the file must fit its last lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    return apply_hunks(text, (hunk,))


def apply_hunks(text: str, hunks: Sequence[Replacement]) -> str | None:
    """`text` after all hunks of one file; None when one has no place. Each is looked for behind the one before it."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    start = 0
    found: list[tuple[int, int, list[str]]] = []
    for hunk in hunks:
        if hunk.anchor is not None:
            place = _seek(lines, [hunk.anchor], start)
            if place is None:
                return None
            start = place + 1
        old, new = hunk.old.split("\n")[:-1], hunk.new.split("\n")[:-1]
        if not old:
            found.append((len(lines), 0, new))
            continue
        place = _seek(lines, old, start, hunk.at_end)
        if place is None and old[-1] == "":  # the empty line behind the last one, which is none
            old, new = old[:-1], new[:-1] if new and new[-1] == "" else new
            place = _seek(lines, old, start, hunk.at_end)
        if place is None:
            return None
        found.append((place, len(old), new))
        start = place + len(old)
    for place, count, new in sorted(found, key=lambda one: one[0])[::-1]:  # of equal places the later first
        lines[place : place + count] = new
    return _joined(lines)


def _seek(lines: list[str], pattern: list[str], start: int, at_end: bool = False) -> int | None:
    """The first place from `start` on, or the last one that there is room for."""
    last = len(lines) - len(pattern)
    for way in _WAYS:
        wanted = [way(line) for line in pattern]
        found = [way(line) for line in lines]
        for place in range(max(last, 0) if at_end else start, last + 1):
            if found[place : place + len(pattern)] == wanted:
                return place
    return None


def _joined(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
