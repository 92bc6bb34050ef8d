"""One journal being read: what it told and the database does not have yet, and where to go on after a restart."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ocproxy.exchange import Exchange, Position, Record
from ocproxy.ingest.assemble import Assembler, Budget, FoundGap
from ocproxy.journal import JournalReader
from ocproxy.model import IngestPosition

_BEGINNING = Position(0, 0)


class Told(NamedTuple):
    """An exchange that is over, or a gap, when the journal told it, and the place behind it."""

    told_ns: int  # of the record that completed it; never goes back within a journal, whatever the clock does
    journal: str
    item: Exchange | FoundGap
    place: IngestPosition


class Follower:
    """Reads the journal of `reader` from where `stored` says. What is read waits here until it is taken.

    `read_ns` is how far in time it was read, and `is_at_end` whether there was more when it was read last. `position`
    is what may be stored with the rows of everything that was taken.
    """

    def __init__(self, reader: JournalReader, stored: IngestPosition | None, budget: Budget | None = None) -> None:
        self.reader = reader
        self.stored = stored
        self.position = stored or IngestPosition(reader.id, str(_BEGINNING), str(_BEGINNING))
        self.read_ns = 0
        self.is_at_end = True
        self._done = Position.parse(stored.position) if stored else None
        start = Position.parse(stored.resume) if stored else _BEGINNING
        self._assembler = Assembler(reader.id, start, self._reread, budget)
        self._waiting: deque[Told] = deque()
        self._waiting_bytes = 0

    def read(self, most_bytes: int, most_items: int) -> None:
        """Read on until about so much waits to be taken, or up to the live end. Raises JournalError and OSError; what
        was read before waits nevertheless."""
        if self._waiting and (self._waiting_bytes >= most_bytes or len(self._waiting) >= most_items):
            return  # the others are behind
        self.is_at_end = True
        start = self._assembler.position
        for position, record in self.reader.follow(start if start > _BEGINNING else None):
            self.read_ns = max(self.read_ns, record.wall_ns)
            done = self._assembler.feed(position, record)
            self._waiting_bytes += len(record.payload)
            # What ended at or before the stored position is in the database.
            if done and (self._done is None or position > self._done):
                place = self._place()
                self._waiting_bytes += sum(_size(item) for item in done)
                self._waiting += [Told(self.read_ns, self.reader.id, item, place) for item in done]
            if self._waiting_bytes >= most_bytes or len(self._waiting) >= most_items:
                self.is_at_end = False
                return
        if not self._waiting:
            self._rest()

    def take(self, until_ns: float) -> list[Told]:
        """What waits and was told up to this time, in its order."""
        taken: list[Told] = []
        while self._waiting and self._waiting[0].told_ns <= until_ns:
            taken.append(self._waiting.popleft())
        if taken:
            self.position = taken[-1].place
        if not self._waiting:
            self._rest()
        return taken

    @property
    def waiting_since(self) -> int | None:
        """When the first of what waits was told; None: nothing waits."""
        return self._waiting[0].told_ns if self._waiting else None

    @property
    def next_item(self) -> Exchange | FoundGap | None:
        """The first of what waits."""
        return self._waiting[0].item if self._waiting else None

    def stored_until(self, end_ns: int) -> int:
        """Up to which time all is stored when what was taken is. `end_ns` is what can be said of a journal that is
        read to its end."""
        if self._waiting:
            return self._waiting[0].told_ns - 1
        return max(self.read_ns - 1, end_ns) if self.is_at_end else self.read_ns - 1

    def close(self) -> None:
        self.reader.close()
        self._assembler.release()

    def _reread(self, position: Position) -> Iterator[tuple[Position, Record]]:
        """By a reader of its own: ours is in the middle of reading."""
        with JournalReader(self.reader.folder) as reader:
            yield from reader.follow(position if position > _BEGINNING else None)

    def _rest(self) -> None:
        """Nothing waits: all that was read counts as stored."""
        self._waiting_bytes = 0
        self.position = self._place()

    def _place(self) -> IngestPosition:
        return IngestPosition(self.reader.id, str(self._assembler.position), str(self._assembler.resume))


def _size(item: Exchange | FoundGap) -> int:
    """Its bytes: they may have been read long before, and wait now."""
    if isinstance(item, FoundGap):
        return 0
    return len(item.request) + len(item.response) + len(item.client_bytes) + len(item.server_bytes)
