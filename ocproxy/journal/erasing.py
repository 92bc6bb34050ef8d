"""Take exchanges out of a journal for good: their records become zeros, all places stay what they are.

Segments hold the exchanges of many sessions, and positions in databases hang on the offsets of what stays. So nothing
moves: see "Erasing" in `ocproxy.journal`. A segment that then holds nothing at all goes, from the oldest on.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import zstandard

from ocproxy.errors import JournalError
from ocproxy.exchange import Kind, Position, Record
from ocproxy.journal.folder import FILE_MODE, read_id
from ocproxy.journal.keeper import Keeper
from ocproxy.journal.keeping import LEVEL, WINDOW_LOG
from ocproxy.journal.overwriting import Patch, overwrite
from ocproxy.journal.records import HEADER_BYTES as RECORD_HEADER_BYTES
from ocproxy.journal.records import seed_of
from ocproxy.journal.scan import scan
from ocproxy.journal.segments import COMPRESSED, HEADER_BYTES, PLAIN, UNFINISHED, list_segments, path_of, sync_folder
from ocproxy.journal.tape import BLOCK_BYTES, Tape, open_tape

# GAPs tell what is missing and hold nothing of the wire; BEGANs end what a former life left open.
_KEPT: Final = frozenset({Kind.GAP, Kind.BEGAN, Kind.ERASED})
# Kinds that say nothing to anybody where they stand alone.
_EMPTY: Final = frozenset({Kind.BEGAN, Kind.ERASED})

Exchanges = Mapping[int, Position | None]
"""By number: the place behind the last record; None where that is not known (connections that are several calls)."""


class Found(NamedTuple):
    """What one segment holds of the exchanges that were looked for."""

    number: int
    patches: list[Patch]
    is_bare: bool  # nothing else is in it that says anything
    damaged_bytes: int  # which may be of anybody


class Erasure(msgspec.Struct):
    """What `erase` did."""

    records: int = 0
    payload_bytes: int = 0
    segments: int = 0  # in which something was erased
    removed: int = 0  # segments that went whole
    damaged_bytes: int = 0  # in the segments that were read: they are no records, so nobody knows whose they are
    left: list[int] = []  # exchanges that go on, or for which there was no time: erase them later


def find(folder: Path, exchanges: Exchanges) -> Iterator[Found]:
    """Where the records of these exchanges are, from the newest segment on. Raises JournalError."""
    seed, unseen = seed_of(read_id(folder)), set(exchanges)
    for number, live in _segments_of(folder, exchanges):
        if not unseen:
            return
        found = _look(folder, number, exchanges, seed, live=live, unseen=unseen)
        if found is not None:
            yield found


def find_open(folder: Path, exchanges: Exchanges) -> set[int]:
    """Those of the exchanges that go on, as far as the journal tells: connections of whose end it says nothing.

    Raises JournalError.
    """
    waiting = {number for number, end in exchanges.items() if end is None}
    seed = seed_of(read_id(folder))
    for number, live in _segments_of(folder, dict.fromkeys(waiting)) if waiting else ():
        tape = open_tape(folder, number)
        if tape is None:
            continue
        with tape:
            for _, record in scan(tape, HEADER_BYTES, seed, sealed=not live):
                if not isinstance(record, Record):
                    continue
                if record.kind in (Kind.ENDED, Kind.ERASED):
                    waiting.discard(record.exchange)
                elif record.kind == Kind.BEGAN:
                    waiting -= {one for one in waiting if one >> 32 < record.exchange >> 32}
        if not waiting:
            break
    return waiting


def erase(
    folder: Path,
    exchanges: Exchanges,
    *,
    ingested_up_to: Position = Position(0, 0),  # noqa: B008  # immutable
    stop: Callable[[], bool] = lambda: False,
) -> Erasure:
    """Erase every record of these exchanges, whatever form its segment has, and remove the oldest segments that hold
    nothing any more and lie wholly before `ingested_up_to` (as `remove_old` takes it).

    The exchanges must be over and in the database: an ingest that meets the rest of one would tell a gap. Those that go
    on are left. `stop` is asked before each segment. Done twice is done once. At whatever instant this process dies,
    the next holder of the keeper's lock or the next `erase` finishes. A segment of 64 MB costs a second: call it in a
    thread. Raises JournalError (a segment cannot be read to its end: then nothing of it is erased), JournalLocked.
    """
    done = Erasure()
    with Keeper(folder):
        _drop_copies(folder)
        done.left = sorted(find_open(folder, exchanges))
        wanted = {number: end for number, end in exchanges.items() if number not in set(done.left)}
        bare: set[int] = set()
        later: list[int] = []
        for found in find(folder, wanted):
            if stop():
                done.left = sorted(exchanges)
                return done
            done.damaged_bytes += found.damaged_bytes
            if found.is_bare and found.number < ingested_up_to.segment:
                bare.add(found.number)
                later += [found.number] if found.patches else []
            elif found.patches:
                _apply(folder, found, done)
        gone = _remove_bare(folder, bare, ingested_up_to)
        done.removed = len(gone)
        for number in later:
            if number not in gone:
                again = _look(folder, number, wanted, seed_of(read_id(folder)), live=False)
                if again is not None:
                    _apply(folder, again, done)
    return done


def _segments_of(folder: Path, exchanges: Exchanges) -> Iterator[tuple[int, bool]]:
    """(number, live) of the segments in which records of the exchanges can be, newest first."""
    listing = list_segments(folder)
    if not exchanges or not listing:
        return
    ends = [end for end in exchanges.values() if end is not None]
    last = listing[-1].number if len(ends) < len(exchanges) else max(end.segment for end in ends)
    first = min(exchanges) >> 32  # the life of a writer begins with that segment
    for segment in reversed(listing):
        if first <= segment.number <= last:
            yield segment.number, segment is listing[-1]


def _look(
    folder: Path, number: int, exchanges: Exchanges, seed: int, *, live: bool, unseen: set[int] | None = None
) -> Found | None:
    """None: the segment is gone. `unseen` loses the exchanges whose opening was found."""
    tape = open_tape(folder, number)
    if tape is None:
        return None
    patches, is_bare, damaged = [], not live, 0
    with tape:
        for end, record in scan(tape, HEADER_BYTES, seed, sealed=not live):
            if not isinstance(record, Record):
                damaged += record.bytes
            elif record.exchange in exchanges and record.kind not in _KEPT:
                start = end - RECORD_HEADER_BYTES - len(record.payload)
                patches.append(Patch(start, len(record.payload), record.exchange, record.wall_ns, record.mono_ns))
                if unseen is not None and record.kind == Kind.OPENED:
                    unseen.discard(record.exchange)
            elif record.kind not in _EMPTY:
                is_bare = False
        _require_whole(tape)
    return Found(number, patches, is_bare, damaged)


def _is_bare(folder: Path, number: int, seed: int) -> bool:
    """Whether a sealed segment says nothing at all. Reads no further than to the first record that does."""
    tape = open_tape(folder, number)
    if tape is None:
        return True
    with tape:
        records = scan(tape, HEADER_BYTES, seed, sealed=True)
        return all(record.kind in _EMPTY for _, record in records if isinstance(record, Record)) and not tape.fault


def _require_whole(tape: Tape) -> None:
    if tape.fault:
        raise JournalError(
            f"the journal segment {tape.segment.path} is damaged, so nothing can be taken out of it: {tape.fault}",
            hint="remove that file if what it holds must go; everything that is recorded only there goes with it",
        )


def _drop_copies(folder: Path) -> None:
    """Remove compressed forms beside which the plain one, which counts, is still there."""
    for segment in list_segments(folder):
        if not segment.compressed:
            path_of(folder, segment.number, COMPRESSED).unlink(missing_ok=True)


def _remove_bare(folder: Path, bare: Collection[int], ingested_up_to: Position) -> set[int]:
    """Remove the oldest segments while they hold nothing; those in `bare` are known to."""
    gone: set[int] = set()
    seed = seed_of(read_id(folder))
    for segment in list_segments(folder)[:-1]:
        if segment.number >= ingested_up_to.segment:
            break
        if segment.number not in bare and not _is_bare(folder, segment.number, seed):
            break
        for suffix in (PLAIN, COMPRESSED):
            path_of(folder, segment.number, suffix).unlink(missing_ok=True)
        gone.add(segment.number)
    if gone:
        sync_folder(folder)
    return gone


def _apply(folder: Path, found: Found, done: Erasure) -> None:
    if not found.patches:
        return
    seed = seed_of(read_id(folder))
    if path_of(folder, found.number).exists():
        overwrite(folder, found.number, found.patches, seed)
    else:
        _repack(path_of(folder, found.number, COMPRESSED), found.patches, seed)
    done.segments += 1
    done.records += len(found.patches)
    done.payload_bytes += sum(patch.length for patch in found.patches)


def _repack(packed: Path, patches: Sequence[Patch], seed: int) -> None:
    """Make the compressed segment anew with the patches in it: beside the old one, and then in its place."""
    unfinished = packed.with_name(packed.name + UNFINISHED)
    try:
        with open(packed, "rb") as old:
            status = os.fstat(old.fileno())
            size = zstandard.frame_content_size(old.read(18))
            old.seek(0)
            parameters = zstandard.ZstdCompressionParameters.from_level(
                LEVEL, source_size=size, window_log=WINDOW_LOG, write_checksum=True, write_content_size=True
            )
            packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=size)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            with open(descriptor, "wb") as new:
                unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
                with unpacker.stream_reader(old, closefd=False) as stream:
                    for block in _patched(stream, patches, seed):
                        new.write(packer.compress(block))
                new.write(packer.flush())
                new.flush()
                os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(descriptor)
        unfinished.rename(packed)
    except zstandard.ZstdError as error:
        raise JournalError(
            f"the journal segment {packed} could not be made anew: {error}", hint="run `ocproxy journal verify`"
        ) from None
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()
    sync_folder(packed.parent)


def _patched(stream: zstandard.ZstdDecompressionReader, patches: Sequence[Patch], seed: int) -> Iterator[bytes]:
    """The plain bytes in blocks, with the patches in them."""
    starts, base = [patch.offset for patch in patches], 0
    while read := stream.read(BLOCK_BYTES):
        block = bytearray(read)
        place = max(bisect_right(starts, base) - 1, 0)
        while place < len(patches) and patches[place].offset < base + len(block):
            patch, place = patches[place], place + 1
            low, high = max(patch.offset, base), min(patch.end, base + len(block))
            if low < high:
                block[low - base : high - base] = patch.encode(seed)[low - patch.offset : high - patch.offset]
        base += len(block)
        yield bytes(block)
