"""How Gemini CLI's `replace` finds its place. Worked out from the program (0.61.0), tried on real runs.

Four ways, the first that finds something counts: exactly; line by line without the space around each line; as words
and signs with any space between them; and nearly, by edit distance. Where more than one place is found, only
`allow_multiple` goes on. Only what was found exactly keeps the new text as it is: the other ways give it the
indentation of the place. Line ends are compared as newlines and written as the file has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ocproxy.agents.base import Replacement

_SIGNS = "():[]{}><="
_INDENT = re.compile(r"[ \t]*")
_SHORTEST_FUZZY = 10
_MOST_FUZZY_WORK = 4e8
# Distance counts a change of space as a tenth; it may be a tenth of the length of what is searched.
_NEAR, _SPACE = 0.1, 0.1


def replace(text: str, replacement: Replacement) -> str | None:
    """`text` after the edit, or None when it does not apply."""
    is_crlf = "\r\n" in text
    before = text.replace("\r\n", "\n")
    old, new = replacement.old.replace("\r\n", "\n"), replacement.new.replace("\r\n", "\n")
    if not old or old == new:
        return None
    for way in (_exact, _by_lines, _by_words, _nearly):
        after, count = way(before, old, new, replacement.everywhere)
        if count:
            if count > 1 and not replacement.everywhere:
                return None
            after = _as_ended(before, after)
            return re.sub(r"\r?\n", "\r\n", after) if is_crlf else after
    return None


def _exact(text: str, old: str, new: str, everywhere: bool) -> tuple[str, int]:
    return text.replace(old, new), text.count(old)


def _by_lines(text: str, old: str, new: str, everywhere: bool) -> tuple[str, int]:
    lines, wanted = _lines(text), [line.strip() for line in old.split("\n")]
    count = at = 0
    while at <= len(lines) - len(wanted):
        window = lines[at : at + len(wanted)]
        if [line.strip() for line in window] == wanted:
            count += 1
            put = "\n".join(_indented(new.split("\n"), _indent(window[0])))
            if new and window[-1].endswith("\n") and not put.endswith("\n"):
                put += "\n"
            lines[at : at + len(wanted)] = [put]
        at += 1
    return "".join(lines), count


def _by_words(text: str, old: str, new: str, everywhere: bool) -> tuple[str, int]:
    spread = "".join(f" {char} " if char in _SIGNS else char for char in old)
    words = spread.split()
    if not words:
        return text, 0
    pattern = re.compile(r"^([ \t]*)" + r"\s*".join(map(re.escape, words)), re.M)
    put = new.split("\n")
    after = pattern.sub(lambda found: "\n".join(_indented(put, found[1])), text, count=0 if everywhere else 1)
    return after, len(pattern.findall(text))


def _nearly(text: str, old: str, new: str, everywhere: bool) -> tuple[str, int]:
    lines, wanted = _lines(text), [line.rstrip() for line in _lines(old)]
    if len(old) < _SHORTEST_FUZZY or len(lines) * len(old) ** 2 > _MOST_FUZZY_WORK:
        return text, 0
    block = "\n".join(wanted)
    found = sorted(
        (score, at)
        for at in range(len(lines) - len(wanted) + 1)
        if (score := _score("\n".join(line.rstrip() for line in lines[at : at + len(wanted)]), block)) is not None
    )
    chosen: list[int] = []
    for _, at in found:
        if all(abs(at - other) >= len(wanted) for other in chosen):
            chosen.append(at)
    for at in sorted(chosen, reverse=True):
        last = lines[at + len(wanted) - 1]
        put = "\n".join(_indented(new.split("\n"), _indent(lines[at])))
        lines[at : at + len(wanted)] = [put + ("\n" if last.endswith("\n") else "")]
    return "".join(lines), len(chosen)


def _score(window: str, block: str) -> float | None:
    """How far they are apart for their length; None for too far."""
    if not block or abs(len(window) - len(block)) / len(block) > _NEAR / _SPACE:
        return None
    most = int(_NEAR * len(block))
    bare = _distance("".join(window.split()), "".join(block.split()), most)
    if bare is None:
        return None
    whole = _distance(window, block, len(window) + len(block))
    assert whole is not None  # no distance is more than both lengths
    score = (bare + (whole - bare) * _SPACE) / len(block)
    return score if score <= _NEAR else None


def _distance(a: str, b: str, most: int) -> int | None:
    """Levenshtein's, or None when it is more than `most`: nothing farther from the diagonal is looked at."""
    if abs(len(a) - len(b)) > most:
        return None
    row = list(range(len(b) + 1))
    for at, char in enumerate(a, 1):
        low, high = max(1, at - most), min(len(b), at + most)
        fresh = [most + 1] * (len(b) + 1)
        fresh[0] = at
        for place in range(low, high + 1):
            step = row[place - 1] + (b[place - 1] != char)
            fresh[place] = min(step, row[place] + 1, fresh[place - 1] + 1)
        row = fresh
        if min(row[low - 1 : high + 1]) > most:
            return None
    return row[len(b)] if row[len(b)] <= most else None


def _lines(text: str) -> list[str]:
    """With their newlines."""
    return re.findall(r"[^\n]*\n|[^\n]+\Z", text)


def _indent(line: str) -> str:
    found = _INDENT.match(line)
    return found[0] if found else ""


def _indented(lines: Sequence[str], indent: str) -> list[str]:
    """The lines moved from the first one's indentation to `indent`; a line of space becomes empty."""
    own = _indent(lines[0])
    put: list[str] = []
    for line in lines:
        if not line.strip():
            put.append("")
        else:
            put.append(indent + (line[len(own) :] if line.startswith(own) else line.lstrip()))
    return put


def _as_ended(before: str, after: str) -> str:
    """The file keeps or lacks its last newline, as it was."""
    if before.endswith("\n"):
        return after if after.endswith("\n") else after + "\n"
    return after.removesuffix("\n")
