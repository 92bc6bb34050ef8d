"""What a writer that died left behind: a torn tail of the last segment."""

from __future__ import annotations

import os

from ocproxy.exchange import Gap, Position, Record
from ocproxy.journal.records import seed_of
from ocproxy.journal.scan import Damage, scan
from ocproxy.journal.segments import HEADER_BYTES, Segment
from ocproxy.journal.tape import Tape


def cut_torn_tail(segment: Segment, journal: str) -> Gap | None:
    """Cut off what follows the last valid record of `segment`; returns what was cut, to be told in the next segment.

    Damage in the middle is left as it is: readers tell it. Raises OSError, JournalError.
    """
    if segment.compressed:
        return None
    torn: Damage | None = None
    with Tape(segment, journal) as tape:
        last_ns, _ = tape.made()
        for _, item in scan(tape, HEADER_BYTES, seed_of(journal), sealed=True):
            if isinstance(item, Record):
                last_ns = item.wall_ns
            elif item.next is None:
                torn = item
    if torn is None:
        return None
    descriptor = os.open(segment.path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, torn.start)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    place = Position(segment.number, torn.start)
    return Gap(f"the writer died while writing: a torn record was cut off at {place}", 1, torn.bytes, last_ns)
