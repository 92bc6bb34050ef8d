"""Who last wrote each line of a file, as far as what sessions saw and did tells.

A page is what is known of the file at a moment, each line with its origin. Reads fill it and contradict it, changes
move it on. A line that nothing recorded wrote was there before the record saw this part of the file, or came from
outside: a command, a person, another program. Where neither is certain, that is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

import msgspec

from ocproxy.files.witness import Sighting
from ocproxy.files.worktree import common_ends, split_lines
from ocproxy.model import EventType, FileEvent, Status

By = Literal["session", "before", "outside", "unknown"]
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_MOST_COMPARED = 25_000_000  # old lines × new lines; beyond that only lines that are rare count as the same
_STALE = "the file was changed later in a way that cannot be placed: lines may have moved, or be others by now"


class Origin(NamedTuple):
    """Where a line comes from.

    "session": the change `event` wrote it. "before": it was there when the record first saw this part of the file.
    "outside": nothing recorded wrote it, and it was not there when the whole file was last known. "unknown": the record
    cannot say which of these.
    """

    by: By
    event: FileEvent | None = None
    is_inferred: bool = False


class Line(NamedTuple):
    text: str  # with its newline
    origin: Origin


class Page(msgspec.Struct):
    """What is known of a file at a moment."""

    lines: dict[int, Line] = {}
    count: int | None = None
    exists: bool | None = None
    remover: FileEvent | None = None  # the change that deleted it
    is_stale: bool = False
    guesses: list[tuple[list[str], FileEvent]] = []  # what changes added at places that are not known

    @property
    def is_whole(self) -> bool:
        return self.exists is not False and self.count is not None and self.count == len(self.lines)

    @property
    def unseen(self) -> Origin:
        """That of a line which is seen for the first time. Where a change could not be placed, it may be of that."""
        return Origin("unknown" if self.guesses or self.is_stale else "before")

    def notes(self) -> list[str]:
        return [_STALE] if self.is_stale else []

    def in_order(self) -> list[Line | None]:
        """All lines up to the last one that is known; None for those that nobody saw."""
        last = max(self.count or 0, max(self.lines, default=0))
        return [self.lines.get(number) for number in range(1, last + 1)]


def pages(sightings: Iterable[Sighting]) -> dict[str, Page]:
    """The files by path, after all that was seen, which is given in the order of time."""
    found: dict[str, Page] = {}
    for one in sightings:
        page = found.setdefault(one.path, Page())
        if one.event is None:
            _see(page, one)
        elif one.destination is not None and one.event.status is Status.APPLIED:
            found[one.destination] = page
            found[one.path] = Page(count=0, exists=False, remover=one.event)
        else:
            _change(page, one, one.event)
    return found


def compare(page: Page, content: str) -> None:
    """Let the page be the file as it is now, whole."""
    _become(page, split_lines(content), None)


# --- reads


def _see(page: Page, seen: Sighting) -> None:
    if seen.exists is False:
        _vanish(page, None)
    elif seen.total is not None and len(seen.lines) == seen.total:
        _become(page, [seen.lines[number] for number in range(1, seen.total + 1)], None)
    elif page.exists is False or (page.lines and not _agree(page, seen)):
        page.is_stale = True  # of a few lines it is not told where the others went
    else:
        _fill(page, seen)


def _agree(page: Page, seen: Sighting) -> bool:
    if page.count is not None and any(number > page.count for number in seen.lines):
        return False
    return all(number not in page.lines or _same(page.lines[number].text, text) for number, text in seen.lines.items())


def _fill(page: Page, seen: Sighting) -> None:
    found = {number: text for number, text in seen.lines.items() if number not in page.lines}
    lines: list[Line | None] = [None] * len(found)
    _guess(lines, list(found.values()), page.guesses)
    for (number, text), line in zip(found.items(), lines, strict=True):
        page.lines[number] = line or Line(text, page.unseen)
    page.exists = True
    if page.count is None and seen.total is not None and seen.total >= max(page.lines, default=0):
        page.count = seen.total


# --- changes


def _change(page: Page, told: Sighting, event: FileEvent) -> None:
    is_sure = event.status is Status.APPLIED
    hunks = _hunks(event.diff or "")
    added = [text for hunk in hunks for sign, text in hunk.lines if sign == "+"]
    is_whole = told.total is not None and told.total == len(told.lines) and told.exists is True
    if event.event_type is EventType.DELETE:
        if is_sure:
            _vanish(page, event)
        else:
            page.is_stale = page.exists is True
    elif is_sure and event.event_type is EventType.WRITE and is_whole:
        _become(page, [told.lines[number] for number in sorted(told.lines)], event)
    elif is_sure and page.exists is not False and _apply(page, hunks, event, is_placed=_is_placed(hunks, told, event)):
        page.exists = True
        if _agree(page, told):
            _fill(page, told)
    else:
        # What programs store by hand may be the new text alone.
        page.guesses.append((added if hunks else split_lines(event.diff or ""), event))
        if is_sure and is_whole:
            _become(page, [told.lines[number] for number in sorted(told.lines)], None)
        elif page.lines:
            page.is_stale = True


def _vanish(page: Page, event: FileEvent | None) -> None:
    page.lines, page.count, page.exists, page.remover = {}, 0, False, event
    page.guesses, page.is_stale = [], False


class _Hunk(NamedTuple):
    at: int  # the first of its old lines
    new_at: int  # the first of its new ones
    lines: list[tuple[str, str]]  # ("+", "-" or " ", text)

    @property
    def old(self) -> list[str]:
        return [text for sign, text in self.lines if sign != "+"]


def _hunks(diff: str) -> list[_Hunk]:
    found: list[_Hunk] = []
    for line in split_lines(diff):
        if header := _HUNK.match(line):
            found.append(_Hunk(int(header[1]) + (header[2] == "0"), int(header[3]) + (header[4] == "0"), []))
        elif found and line[:1] in "+- ":
            found[-1].lines.append((line[0], line[1:]))
        elif found and line.startswith("\\"):
            sign, text = found[-1].lines.pop()
            found[-1].lines.append((sign, text.removesuffix("\n")))
    return found


def _is_placed(hunks: Sequence[_Hunk], told: Sighting, event: FileEvent) -> bool:
    """Whether the numbers in the diff are those of the lines: where they had to be guessed, what the session knew of
    the file afterwards does not have the new lines there."""
    if event.certainty == "exact":
        return True
    new = [
        (number, text)
        for hunk in hunks
        for number, text in enumerate((text for sign, text in hunk.lines if sign != "-"), hunk.new_at)
    ]
    return bool(new) and all(number in told.lines and _same(told.lines[number], text) for number, text in new)


def _apply(page: Page, hunks: Sequence[_Hunk], event: FileEvent, *, is_placed: bool) -> bool:
    """Carry the hunks out where they fit: at their numbers, if these are to be believed, else where their old lines
    are. False, and nothing is changed, where one fits nowhere or in several places.
    """
    moved: dict[int, Line] = {}
    origin = Origin("session", event, event.certainty != "exact")
    at = new_at = 1
    left = dict(page.lines)

    def keep(until: int) -> None:
        """Lines from `at` up to `until` stay."""
        nonlocal at, new_at
        for number in [number for number in left if number < until]:
            moved[number - at + new_at] = left.pop(number)
        at, new_at = until, new_at + until - at

    for hunk in hunks:
        place = hunk.at if is_placed and _fits(page, hunk.at, hunk.old) else _elsewhere(page, hunk.old)
        if place is None or place < at:
            return False
        keep(place)
        for sign, text in hunk.lines:
            if sign == "+":
                moved[new_at] = Line(text, origin)
                new_at += 1
                continue
            line = left.pop(at, None) or Line(text, page.unseen)
            at += 1
            if sign == " ":
                moved[new_at] = line
                new_at += 1
    for number, line in left.items():
        moved[number - at + new_at] = line
    if page.count is not None:
        page.count += new_at - at
    page.lines = dict(sorted(moved.items()))
    return bool(hunks)


def _fits(page: Page, at: int, old: Sequence[str]) -> bool:
    if page.count is not None and at + len(old) - 1 > page.count:
        return False
    return all(n not in page.lines or _same(page.lines[n].text, text) for n, text in enumerate(old, at))


def _elsewhere(page: Page, old: Sequence[str]) -> int | None:
    """Where all these lines are, when that is one place only."""
    if not old:
        return None
    firsts = [n for n, line in page.lines.items() if _same(line.text, old[0])]
    known = page.lines
    fitting = [at for at in firsts if all(n in known and _same(known[n].text, t) for n, t in enumerate(old, at))]
    return fitting[0] if len(fitting) == 1 else None


# --- whole contents


def _become(page: Page, texts: Sequence[str], event: FileEvent | None) -> None:
    """The whole file is `texts` now: written so by `event`, or found so. Lines that were there keep their origin."""
    old = [page.lines[number] for number in sorted(page.lines)]
    was_known = (page.is_whole or page.exists is False) and not page.guesses
    is_first = page.exists is None and not old and not page.guesses
    found: list[Line | None] = [None] * len(texts)
    for start, new_start, size in _equal([line.text for line in old], texts):
        for step in range(size):
            found[new_start + step] = Line(texts[new_start + step], old[start + step].origin)
    if event is not None:
        origin = Origin("session", event, event.certainty != "exact")
    else:
        _guess(found, texts, page.guesses)
        by_number = not is_first and not was_known and _is_beside(page, texts)
        origin = Origin("before" if is_first or by_number else "outside" if was_known else "unknown")
    page.lines = {n: line or Line(texts[n - 1], origin) for n, line in enumerate(found, 1)}
    page.count, page.exists, page.remover = len(texts), True, None
    page.guesses, page.is_stale = [], False


def _is_beside(page: Page, texts: Sequence[str]) -> bool:
    """Whether all that was known of the file stands where it stood: then the rest was only never seen."""
    if page.guesses or page.is_stale or (page.count is not None and page.count != len(texts)):
        return False
    return all(n <= len(texts) and _same(texts[n - 1], line.text) for n, line in page.lines.items())


def _guess(found: list[Line | None], texts: Sequence[str], guesses: Sequence[tuple[list[str], FileEvent]]) -> None:
    """Lines without an origin that a change added somewhere are taken for its own, where they stand together."""
    for added, event in reversed(guesses):
        size = len(added) if any(map(str.isalnum, "".join(added))) else 0  # brackets and blanks are anybody's
        for at in range(len(texts) - size + 1) if size else ():
            if all(found[at + n] is None and _same(texts[at + n], added[n]) for n in range(size)):
                found[at : at + size] = [Line(text, Origin("session", event, True)) for text in texts[at : at + size]]
                break


def _equal(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int]]:
    """Stretches of equal lines: (first of the old, first of the new, how many), from 0."""
    first, second = [_bare(text) for text in old], [_bare(text) for text in new]
    head, tail = common_ends(first, second)
    inner, other = first[head : len(first) - tail], second[head : len(second) - tail]
    is_long = len(inner) * len(other) > _MOST_COMPARED
    blocks = SequenceMatcher(None, inner, other, autojunk=is_long).get_matching_blocks()
    return [
        (0, 0, head),
        *[(a + head, b + head, size) for a, b, size in blocks],
        (len(first) - tail, len(second) - tail, tail),
    ]


def _same(one: str, other: str) -> bool:
    return _bare(one) == _bare(other)


def _bare(text: str) -> str:
    """Reads do not show how a line ends."""
    return text.rstrip("\r\n")
