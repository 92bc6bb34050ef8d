"""What could not be recorded, until it is told in the journal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from ocproxy.exchange import Ended, Gap, Kind, Record
from ocproxy.journal.live import walk
from ocproxy.journal.records import HEADER_BYTES, Buffer, encode, gap_record

# ENDED records wait in memory for the disk: about 100 bytes each, so a megabyte. A day of an agent has some thousands.
MOST_KEPT: Final = 10_000


class Losses:
    """Counts dropped records, and keeps ENDED records: without them a reader would wait for the exchange for ever."""

    def __init__(self) -> None:
        self.records = 0  # in the life of this writer
        self.bytes = 0
        self._exchanges: dict[int, int] = {}  # payload bytes lost, of exchanges that have not ended
        self._gap: Gap | None = None  # not yet told
        self._kept: list[Record] = []

    def of(self, exchange: int) -> int:
        return self._exchanges.get(exchange, 0)

    def end(self, exchange: int) -> None:
        """The exchange's ENDED record was made, with what `of` said."""
        if self._exchanges:
            self._exchanges.pop(exchange, None)

    def note(self, reason: str) -> None:
        """Something went wrong that may or may not have cost records."""
        if self._gap is None:
            self._gap = Gap(reason, 0, 0, time.time_ns())

    def tell(self, gap: Gap) -> None:
        """Something that the writer before lost: to be written, not to be counted."""
        self._gap = gap

    def drop(self, buffers: Sequence[Buffer], reason: str) -> None:
        """These records are not in the file and never will be, but for ENDED ones."""
        self.note(reason)
        index = records = size = 0
        for record in walk(buffers):
            if record.kind == Kind.ENDED and len(self._kept) < MOST_KEPT:
                payload = b"".join(buffers[index : record.behind])[HEADER_BYTES:]
                lost = self._exchanges.pop(record.exchange, 0)
                self._kept.append(Record(record.kind, record.exchange, *record.times, _with_losses(payload, lost)))
            else:
                records += 1
                size += record.payload_bytes
                if record.kind != Kind.ENDED:
                    self._exchanges[record.exchange] = self.of(record.exchange) + record.payload_bytes
            index = record.behind
        self.records += records
        self.bytes += size
        if self._gap is not None:
            told = self._gap
            self._gap = msgspec.structs.replace(told, records=told.records + records, bytes=told.bytes + size)

    def encode(self, seed: int) -> list[Buffer]:
        """What is to be written as soon as writing works: one buffer for each record, the GAP first."""
        if self._gap is None:
            return []
        gap = gap_record(self._gap, (time.time_ns(), time.monotonic_ns()))
        return [encode(record, seed) for record in (gap, *self._kept)]

    def told(self, standing: int) -> None:
        """The first `standing` records that `encode` made are in the file."""
        if standing:
            self._gap = None
            del self._kept[: standing - 1]
        if self._kept:
            self.note("the end of an exchange could not be written in time")


def _with_losses(payload: bytes, lost_bytes: int) -> bytes:
    """An Ended payload with what was lost since the relay made it."""
    if not lost_bytes:
        return payload
    ended = msgspec.msgpack.decode(payload, type=Ended)
    return msgspec.msgpack.encode(msgspec.structs.replace(ended, lost_bytes=ended.lost_bytes + lost_bytes))
