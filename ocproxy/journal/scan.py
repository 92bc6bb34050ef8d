"""Walk over the records of one segment, past whatever is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ocproxy.exchange import Record
from ocproxy.journal.records import HEADER_BYTES, Damaged, decode, find
from ocproxy.journal.tape import Tape


class Damage(NamedTuple):
    """Bytes of a segment that hold no valid record."""

    reason: str
    start: int
    bytes: int
    next: Record | None  # the valid record behind them; None: they reach to the end of the segment


def scan(tape: Tape, offset: int, seed: int, *, sealed: bool) -> Iterator[tuple[int, Record | Damage]]:
    """Records from `offset` on, each with the offset just behind it; damage is told with the offset where it ends.

    In a sealed segment all bytes are accounted for. In a live one the scan stops silently where valid records stop:
    what is behind may be half-written, and is told when a valid record follows it or the segment is sealed.
    """
    tape.seek(offset)
    reloaded = -1
    while True:
        try:
            record = decode(tape.window, offset - tape.base, seed)
        except Damaged as damage:
            # The writer may have cut a half-written record off and put another in its place between two of our reads.
            if offset != reloaded and tape.reload(offset):
                reloaded = offset
                continue
            reason = str(damage)
        else:
            if record is not None:
                offset += HEADER_BYTES + len(record.payload)
                yield offset, record
                continue
            if tape.more(offset):
                continue
            if not sealed or offset >= tape.end + tape.unreadable_bytes:
                tape.forget(offset)
                return
            reason = tape.fault or "the last record is cut off"
        damaged = _measure(tape, offset, seed, reason, sealed=sealed)
        if damaged is None:
            return
        offset += damaged.bytes
        yield offset, damaged


def _measure(tape: Tape, start: int, seed: int, reason: str, *, sealed: bool) -> Damage | None:
    """How far the damage at `start` reaches; None: in a live segment it cannot be said yet."""
    place = start + 1
    while True:
        index, found = find(tape.window, place - tape.base, seed)
        place = tape.base + index
        if found:
            return Damage(reason, start, place - start, decode(tape.window, index, seed))
        if tape.more(place):
            continue
        if not sealed:
            tape.seek(start)
            tape.forget(start)
            return None
        if place >= tape.end:
            end = tape.end + tape.unreadable_bytes
            return Damage(tape.fault or reason, start, end - start, None)
        place += 1  # whatever seems to begin here is cut off by the end of the segment
