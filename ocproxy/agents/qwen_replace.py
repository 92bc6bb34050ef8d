"""How Qwen Code's `edit` finds its place. Worked out from the program (0.24.4), tried on real runs.

The text is looked for exactly, then with typographic dashes, quotes and spaces taken for plain ones, then line by line:
without the space at the ends of lines, at last without its empty last line. What was found so is what is replaced, and
everywhere when asked for. Deleting a text takes the newline behind it along. Line ends are compared as newlines and
written as the file has them.
"""

from __future__ import annotations

import re
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


def replace(text: str, replacement: Replacement) -> str | None:
    """`text` after the edit, or None when it does not apply."""
    before = text.replace("\r\n", "\n")
    if not replacement.old:
        return None
    old, new = _found(before, replacement.old, replacement.new)
    if not new and not old.endswith("\n") and f"{old}\n" in before:
        old += "\n"
    count = before.count(old) if old else 0
    if not count or old == new or (count > 1 and not replacement.everywhere):
        return None
    after = before.replace(old, new)
    if after == before:
        return None
    return re.sub(r"\r?\n", "\r\n", after) if "\r\n" in text else after


def _found(text: str, old: str, new: str) -> tuple[str, str]:
    """What stands in the text for `old`, and what is to be put there; both as they are when nothing does."""
    if old in text:
        return old, new
    at = text.translate(_PLAIN).find(old.translate(_PLAIN))
    if at >= 0:
        return text[at : at + len(old)], new
    lines, wanted = text.split("\n"), old.split("\n")
    if (start := _line(lines, wanted)) is not None:
        return _slice(lines, start, len(wanted), old.endswith("\n")), new
    if wanted[-1] == "" and len(wanted) > 1 and (start := _line(lines, wanted[:-1])) is not None:
        return _slice(lines, start, len(wanted) - 1, False), re.sub(r"(?:\r\n|\n|\r)\Z", "", new)
    return old, new


def _line(lines: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Where the wanted lines begin: as they are, without space at their ends, or with plain signs."""
    ways: tuple[Callable[[str], str], ...] = (str, str.rstrip, lambda line: line.translate(_PLAIN).rstrip())
    for way in ways:
        sought, there = [way(line) for line in wanted], [way(line) for line in lines]
        for at in range(len(lines) - len(wanted) + 1):
            if there[at : at + len(sought)] == sought:
                return at
    return None


def _slice(lines: Sequence[str], start: int, count: int, with_newline: bool) -> str:
    found = "\n".join(lines[start : start + count])
    return found + "\n" if with_newline and start + count < len(lines) else found
