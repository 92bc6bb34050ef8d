"""Keep sealed segments: compress them, remove old ones. For one process at a time, which need not be the writer's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from ocproxy.errors import JournalError
from ocproxy.exchange import Position
from ocproxy.journal.folder import FILE_MODE
from ocproxy.journal.keeper import Keeper
from ocproxy.journal.segments import COMPRESSED, PLAIN, UNFINISHED, Segment, list_segments, path_of, sync_folder
from ocproxy.journal.tape import BLOCK_BYTES, open_tape

# Measured on 60 MB of agents that resend their history (1, 4 and 16 at once): 83, 63 and 39 times smaller at 1,200 MB/s
# and more, with 34 MB of memory. A window of 128 MB gains nothing there, long-distance matching a twentieth at half the
# speed, level 9 a tenth at a third of it; zstd's own window for level 3 (2 MB) gives 61, 21 and 14 times only.
LEVEL: Final = 3
WINDOW_LOG: Final = 25
DAY_NS: Final = 86_400 * 1_000_000_000


class Compressed(msgspec.Struct, frozen=True):
    """A segment that was compressed."""

    number: int
    plain_bytes: int
    stored_bytes: int


class Removed(msgspec.Struct, frozen=True):
    """A segment that was removed."""

    number: int
    stored_bytes: int
    reason: str  # "older than 30 days", "over 5.0 GB"


def compress_sealed(folder: Path, *, stop: Callable[[], bool] = lambda: False) -> list[Compressed]:
    """Compress every sealed segment that is not yet; never the live one (the one with the highest number).

    The compressed file is written under another name, synced, read back and compared with the plain one, renamed, and
    its name synced; only then the plain one goes. At whatever instant this process dies, a whole form is there, and
    the next call finishes the work. `stop` is asked before each segment. Memory: about 70 MB (one window each for
    writing and comparing), whatever the segment's size. Takes a second for a segment of 64 MB: call it in a thread.

    Raises JournalError (no space, no permission, or the copy was not equal: then the plain one stays), JournalLocked
    when another process is at work in the folder.
    """
    done = []
    with Keeper(folder):
        for segment in list_segments(folder)[:-1]:
            if stop():
                break
            if not segment.compressed:
                done.append(_compress(folder, segment))
    return done


def remove_old(
    folder: Path, *, keep_days: float, keep_bytes: int, ingested_up_to: Position, now_ns: int | None = None
) -> list[Removed]:
    """Remove the oldest segments as long as they are older than `keep_days` or the folder holds more than `keep_bytes`
    (as stored, the live segment included); 0 is no limit. A segment is as old as its last record can be.

    Never removed: the live segment, and any that does not lie wholly before `ingested_up_to`. Give the place where the
    ingest would resume after a restart (the oldest exchange that has not ended), not how far it has read.
    Raises JournalError, JournalLocked.
    """
    now = time.time_ns() if now_ns is None else now_ns
    removed = []
    with Keeper(folder):
        segments = list_segments(folder)
        total = sum(_stored(folder, segment.number) for segment in segments)
        for segment, following in zip(segments, segments[1:], strict=False):
            if segment.number >= ingested_up_to.segment:
                break
            size = _stored(folder, segment.number)
            if keep_days and _made_ns(folder, following.number) < now - keep_days * DAY_NS:
                reason = f"older than {keep_days:g} days"
            elif keep_bytes and total > keep_bytes:
                reason = f"over {keep_bytes / 1e9:.1f} GB"
            else:
                break
            for suffix in (PLAIN, COMPRESSED):
                path_of(folder, segment.number, suffix).unlink(missing_ok=True)
            total -= size
            removed.append(Removed(segment.number, size, reason))
        if removed:
            sync_folder(folder)
    return removed


def _compress(folder: Path, segment: Segment) -> Compressed:
    final = path_of(folder, segment.number, COMPRESSED)
    if not final.exists() or not _equal(segment.path, final):
        unfinished = final.with_name(final.name + UNFINISHED)
        try:
            _write_compressed(segment.path, unfinished)
            if not _equal(segment.path, unfinished):
                raise JournalError(
                    f"{segment.path} was compressed to something else than it holds; it stays as it is",
                    hint="memory or disk may be failing",
                )
            unfinished.rename(final)
        except BaseException:
            with suppress(FileNotFoundError):
                unfinished.unlink()
            raise
    sync_folder(folder)
    result = Compressed(segment.number, segment.path.stat().st_size, final.stat().st_size)
    segment.path.unlink()
    return result


def _write_compressed(source: Path, target: Path) -> None:
    """One zstd frame with content size and checksum; the times of the file are kept."""
    with open(source, "rb", buffering=0) as plain:
        status = os.fstat(plain.fileno())
        parameters = zstandard.ZstdCompressionParameters.from_level(
            LEVEL, source_size=status.st_size, window_log=WINDOW_LOG, write_checksum=True, write_content_size=True
        )
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with open(descriptor, "wb", buffering=0) as packed:
            packer = zstandard.ZstdCompressor(compression_params=parameters)
            packer.copy_stream(plain, packed, size=status.st_size, read_size=BLOCK_BYTES, write_size=BLOCK_BYTES)
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(descriptor)


def _equal(plain: Path, packed: Path) -> bool:
    """Whether `packed` is a whole compressed form of `plain`."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG)
    try:
        with open(plain, "rb") as original, open(packed, "rb") as file, unpacker.stream_reader(file) as stream:
            while block := stream.read(BLOCK_BYTES):
                if original.read(len(block)) != block:
                    return False
            return not original.read(1)
    except zstandard.ZstdError:
        return False


def _stored(folder: Path, number: int) -> int:
    paths = (path_of(folder, number, suffix) for suffix in (PLAIN, COMPRESSED))
    return sum(path.stat().st_size for path in paths if path.exists())


def _made_ns(folder: Path, number: int) -> int:
    tape = open_tape(folder, number)
    if tape is None:
        raise FileNotFoundError(f"segment {number} is gone")
    with tape:
        return tape.made()[0]
