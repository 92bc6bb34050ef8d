"""What is known of one file's content: a sheet of lines, some of them unknown, between where it began and where it is.

Lines are split at \\n alone and keep it: form feeds, carriage returns and Unicode separators are content. Only the last
line of a file may lack it. Line numbers begin at 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec


def split_lines(text: str) -> list[str]:
    """The lines of a text, each with its newline; the last may have none. Joined, they are the text."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


class Kept(NamedTuple):
    """Lines `first` to `last` of the base, unchanged; `last` None: to the end of the file, wherever that is."""

    first: int
    last: int | None


class Own(NamedTuple):
    """Lines that were written since the base."""

    lines: tuple[str, ...]


class Change(NamedTuple):
    """Base lines from `at` on, `old`, became `new`, which begins at line `new_at`."""

    at: int
    old: list[str]
    new_at: int
    new: list[str]


class Sheet(msgspec.Struct):
    """One file, from its content at some time (the base) to its content now."""

    base: dict[int, str] = {}  # known lines of the base
    base_count: int | None = None  # how many lines the base has, where known
    existed: bool | None = None  # whether there was a file in the beginning
    exists: bool | None = None  # whether there is one now
    pieces: list[Kept | Own] = []
    blind: bool = False  # unseen lines of the base were replaced: no diff can be made

    @classmethod
    def unknown(cls) -> Sheet:
        """A file of which nothing is known, not even whether it exists."""
        return cls(pieces=[Kept(1, None)])

    @classmethod
    def absent(cls) -> Sheet:
        """No file."""
        return cls(base_count=0, existed=False, exists=False)

    @classmethod
    def seen(cls, lines: Sequence[tuple[int, str]], count: int | None) -> Sheet:
        """A file of which these lines (each with its newline) and perhaps their number are known."""
        sheet = cls(base=dict(lines), base_count=count, existed=True, exists=True, pieces=[Kept(1, None)])
        sheet._close()
        return sheet

    def snapshot(self) -> Sheet:
        """The same content as a sheet that begins now."""
        if self.exists is False:
            return Sheet.absent()
        sheet = Sheet.seen(list(self.known()), self.count)
        sheet.existed = sheet.exists = self.exists
        return sheet

    def copy(self) -> Sheet:
        return msgspec.structs.replace(self, base=dict(self.base), pieces=list(self.pieces))

    # --- the content now

    @property
    def count(self) -> int | None:
        """How many lines there are now, where known."""
        end = self._spans()[-1][1] if self.pieces else 0
        return end

    @property
    def is_whole(self) -> bool:
        """Whether the whole content is known."""
        count = self.count
        if self.exists is not True or count is None:
            return False
        return len(self.base) == self.base_count or sum(1 for _ in self.known()) == count

    def known(self) -> Iterator[tuple[int, str]]:
        """The known lines of the content as it is now, in order."""
        numbers: list[int] | None = None
        for start, _, piece in self._spans():
            if isinstance(piece, Own):
                yield from enumerate(piece.lines, start)
                continue
            if piece.last is not None and len(self.base) == self.base_count:
                kept = range(piece.first, piece.last + 1)
                yield from zip(range(start, start + len(kept)), map(self.base.__getitem__, kept), strict=True)
                continue
            if numbers is None:
                numbers = sorted(self.base)
            for number in numbers[bisect_right(numbers, piece.first - 1) :]:
                if piece.last is not None and number > piece.last:
                    break
                yield number - piece.first + start, self.base[number]

    def text(self) -> str | None:
        """The whole content, where it is known."""
        return "".join(line for _, line in self.known()) if self.is_whole else None

    def runs(self) -> list[tuple[int, list[str]]]:
        """The known lines in stretches without a gap: (number of the first, lines)."""
        found: list[tuple[int, list[str]]] = []
        for number, line in self.known():
            if found and found[-1][0] + len(found[-1][1]) == number:
                found[-1][1].append(line)
            else:
                found.append((number, [line]))
        return found

    # --- learning

    def learn(self, lines: Sequence[tuple[int, str]], count: int | None) -> bool:
        """Take lines that were read from the file as it is now. False, and nothing is taken, where they contradict what
        is known. Who reads may leave out what does not show: \\r before \\n, and a byte-order mark.
        """
        if self.exists is False or (count is not None and self.count is not None and count != self.count):
            return False
        found: dict[int, str] = {}
        for number, line in lines:
            place = self._base_line(number)
            if place is None:
                return False
            known = place if isinstance(place, str) else self.base.get(place)
            if known is None:
                found[int(place)] = line
            elif known != line and _as_read(number, known) != line:
                return False
        if count is not None and self.count is None:
            last = self.pieces[-1]
            start = self._spans()[-1][0]
            assert isinstance(last, Kept)
            ends = count - start + last.first
            if ends < last.first - 1 or any(number > ends for number in self.base if number >= last.first):
                return False
            self.base_count = ends
        self.base |= found
        self.exists = True
        self.existed = True if self.existed is None else self.existed
        self._close()
        return True

    def may_hold(self, number: int, text: str) -> bool:
        """Whether line `number` may read `text`, with or without a newline behind it. An empty line behind the last
        may be no line but the final newline.
        """
        if self.exists is not False and self.count is not None and number == self.count + 1 > 1:
            return not text
        place = self._base_line(number) if self.exists is not False else None
        known = self.base.get(place) if isinstance(place, int) else place
        return place is not None and (known is None or _as_read(number, known).removesuffix("\n") == text)

    def _base_line(self, number: int) -> int | str | None:
        """Where line `number` comes from: the number of a base line, or an own line's text; None: behind the end."""
        spans = self._spans()
        at = bisect_right([start for start, _, _ in spans], number) - 1
        if at < 0:
            return None
        start, end, piece = spans[at]
        if end is not None and number > end:
            return None
        return piece.lines[number - start] if isinstance(piece, Own) else piece.first + number - start

    def _spans(self) -> list[tuple[int, int | None, Kept | Own]]:
        """(first line, last line or None, piece) for every piece that has lines."""
        spans: list[tuple[int, int | None, Kept | Own]] = []
        start = 1
        for piece in self.pieces:
            if isinstance(piece, Kept) and piece.last is None:
                spans.append((start, None, piece))
                break
            size = len(piece.lines) if isinstance(piece, Own) else (piece.last or 0) - piece.first + 1
            spans.append((start, start + size - 1, piece))
            start += size
        return spans

    def _close(self) -> None:
        """Give the open end its number once the base's is known."""
        if self.base_count is not None and self.pieces:
            last = self.pieces[-1]
            if isinstance(last, Kept) and last.last is None:
                self.pieces[-1:] = [Kept(last.first, self.base_count)] if self.base_count >= last.first else []

    # --- changing

    def splice(self, first: int, last: int, new: Sequence[str]) -> None:
        """Replace the known lines `first` to `last` by `new`; `last` = `first` - 1 inserts before `first`."""
        before, rest = self._cut(self.pieces, first)
        _, after = self._cut(rest, last - first + 2)
        own = [Own(tuple(new))] if new else []
        self.pieces = before + own + after
        self.exists = True

    def _cut(self, pieces: list[Kept | Own], number: int) -> tuple[list[Kept | Own], list[Kept | Own]]:
        """The pieces before line `number` of these pieces, and those from it on."""
        left = number - 1
        for index, piece in enumerate(pieces):
            size = len(piece.lines) if isinstance(piece, Own) else None
            if isinstance(piece, Kept) and piece.last is not None:
                size = piece.last - piece.first + 1
            if size is not None and left >= size:
                left -= size
                continue
            if not left:
                return pieces[:index], pieces[index:]
            first, second = _halves(piece, left)
            return [*pieces[:index], first], [second, *pieces[index + 1 :]]
        return pieces, []

    def overwrite(self, content: str) -> None:
        """The whole content is now `content`. Where the old one was not known whole, no diff can be made any more."""
        new = split_lines(content)
        if self.exists is False:
            self.pieces = [Own(tuple(new))] if new else []
        elif not self.is_whole:
            self.blind = True
            self.pieces = [Own(tuple(new))] if new else []
        else:
            old = [line for _, line in self.known()]
            head, tail = common_ends(old, new)
            self.splice(head + 1, len(old) - tail, new[head : len(new) - tail])
        self.exists = True

    def remove(self) -> None:
        """The file is gone."""
        self.blind = self.blind or (self.existed is not False and self.base_count is None)
        self.blind = self.blind or (self.existed is not False and len(self.base) != self.base_count)
        self.pieces = []
        self.exists = False

    # --- what changed

    def changes(self) -> list[Change]:
        """What became of the base, in order. Empty where nothing changed; meaningless on a blind sheet."""
        found: list[Change] = []
        at = new_at = 1
        own: list[str] = []
        end = (self.base_count if self.base_count is not None else 0) + 1
        for piece in [*self.pieces, Kept(end, end - 1)]:
            if isinstance(piece, Own):
                own += piece.lines
                continue
            if piece.last is not None and piece.last < piece.first and self._is_open():
                break
            old = [self.base[number] for number in range(at, piece.first)]
            if old or own:
                found.append(Change(at, old, new_at, own))
            new_at += len(own)
            own = []
            at = (piece.last if piece.last is not None else piece.first) + 1
            new_at += at - piece.first
        return found

    def _is_open(self) -> bool:
        last = self.pieces[-1] if self.pieces else None
        return isinstance(last, Kept) and last.last is None


def _as_read(number: int, line: str) -> str:
    shown = line.removeprefix("\ufeff") if number == 1 else line
    return shown.replace("\r\n", "\n")


def _halves(piece: Kept | Own, size: int) -> tuple[Kept | Own, Kept | Own]:
    """The first `size` lines of the piece, and the others."""
    if isinstance(piece, Own):
        return Own(piece.lines[:size]), Own(piece.lines[size:])
    return Kept(piece.first, piece.first + size - 1), Kept(piece.first + size, piece.last)


def common_ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many lines are equal at the beginning, and how many of the others at the end."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    most -= head
    tail = next((at for at in range(most) if old[-1 - at] != new[-1 - at]), most)
    return head, tail
