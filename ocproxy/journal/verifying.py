"""Read a whole journal and say what is good and what is not; list what is there without reading it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ocproxy.errors import JournalError
from ocproxy.exchange import Kind, Record
from ocproxy.journal.folder import read_id
from ocproxy.journal.records import seed_of
from ocproxy.journal.scan import scan
from ocproxy.journal.segments import HEADER_BYTES, Segment, list_segments
from ocproxy.journal.tape import Tape, open_tape


class SegmentSummary(msgspec.Struct, frozen=True):
    """A segment as `summarize` sees it, without reading its records."""

    number: int
    path: Path
    live: bool
    compressed: bool
    plain_bytes: int  # 0: a damaged compressed segment does not tell
    stored_bytes: int
    made_ns: int  # Unix time


class JournalSummary(msgspec.Struct, frozen=True):
    """What one journal folder holds."""

    id: str
    folder: Path
    segments: list[SegmentSummary]


class SegmentReport(msgspec.Struct, frozen=True):
    """What reading one segment found."""

    number: int
    path: Path
    live: bool
    compressed: bool
    stored_bytes: int
    plain_bytes: int
    records: int
    payload_bytes: int
    gaps: int  # GAP records: what the writer could not record, told by itself
    damaged: int  # places that hold no valid record
    damaged_bytes: int
    torn_bytes: int  # of these, at the very end; in the live segment the writer may just be writing them
    first_ns: int | None  # Unix time of the first and last record
    last_ns: int | None
    problems: list[str]  # sentences; empty: the segment is good

    @property
    def good(self) -> bool:
        return not self.problems


class JournalReport(msgspec.Struct, frozen=True):
    """What reading one journal found."""

    id: str
    folder: Path
    segments: list[SegmentReport]
    missing: list[tuple[int, int]]  # first and last number of each hole between the segments that are there

    @property
    def good(self) -> bool:
        return not self.missing and all(segment.good for segment in self.segments)


def summarize(folder: Path) -> JournalSummary:
    """The segments of the journal in `folder`, oldest first. Reads headers only. Raises JournalError."""
    listing = list_segments(folder)
    found = []
    for segment in listing:
        tape = open_tape(folder, segment.number)
        if tape is None:
            continue  # removed since it was listed
        with tape:
            found.append(
                SegmentSummary(
                    segment.number, tape.segment.path, live=segment.number == listing[-1].number,
                    compressed=tape.segment.compressed, plain_bytes=tape.measure(),
                    stored_bytes=tape.stored_bytes(), made_ns=tape.made()[0],
                )
            )  # fmt: skip
    return JournalSummary(read_id(folder), folder, found)


def verify(folder: Path) -> JournalReport:
    """Read every byte of the journal in `folder` and check it. What is bad is in the report, nothing is changed.

    Also of a journal that is being written to: an incomplete end of the live segment is no problem here, but counted in
    its `torn_bytes`. Only who looks at the writer's lock knows whether a living writer explains it. Raises JournalError
    when the folder holds no journal or cannot be read.
    """
    journal = read_id(folder)
    listing = list_segments(folder)
    found = []
    for segment in listing:
        live = segment.number == listing[-1].number
        try:
            tape = open_tape(folder, segment.number, journal)
            if tape is not None:  # else removed since it was listed
                with tape:
                    found.append(_read(tape, journal, live=live))
        except JournalError as error:
            found.append(_unreadable(segment, live, str(error)))
    numbers = [segment.number for segment in listing]
    missing = [(low + 1, high - 1) for low, high in zip(numbers, numbers[1:], strict=False) if high > low + 1]
    return JournalReport(journal, folder, found, missing)


def _read(tape: Tape, journal: str, *, live: bool) -> SegmentReport:
    records = payload_bytes = gaps = damaged = damaged_bytes = torn = 0
    times: list[int] = []
    problems = [] if tape.header else ["its header is damaged"]
    whole = HEADER_BYTES  # bytes that are accounted for
    for place, item in scan(tape, HEADER_BYTES, seed_of(journal), sealed=not live):
        whole = place
        if isinstance(item, Record):
            records += 1
            payload_bytes += len(item.payload)
            gaps += item.kind == Kind.GAP
            times = [times[0] if times else item.wall_ns, item.wall_ns]
        else:
            damaged += 1
            damaged_bytes += item.bytes
            torn = item.bytes if item.next is None else 0
            problems.append(f"{item.reason}: {item.bytes} bytes at {item.start}")
    if tape.fault:
        problems.append(tape.fault)
    plain_bytes = tape.measure() or whole
    if live:
        torn = max(0, plain_bytes - whole)
    return SegmentReport(
        tape.segment.number, tape.segment.path, live=live, compressed=tape.segment.compressed,
        stored_bytes=tape.stored_bytes(), plain_bytes=plain_bytes, records=records, payload_bytes=payload_bytes,
        gaps=gaps, damaged=damaged, damaged_bytes=damaged_bytes, torn_bytes=torn,
        first_ns=times[0] if times else None, last_ns=times[1] if times else None, problems=problems,
    )  # fmt: skip


def _unreadable(segment: Segment, live: bool, problem: str) -> SegmentReport:
    stored = segment.path.stat().st_size if segment.path.exists() else 0
    return SegmentReport(
        segment.number, segment.path, live=live, compressed=segment.compressed, stored_bytes=stored, plain_bytes=0,
        records=0, payload_bytes=0, gaps=0, damaged=0, damaged_bytes=0, torn_bytes=0, first_ns=None, last_ns=None,
        problems=[problem],
    )  # fmt: skip
