"""The bytes of one segment, plain or compressed, seen through a window that moves forward.

Offsets are those of the plain segment in both cases. A plain file is read by place, so it may grow, shrink at its end,
be compressed or be removed meanwhile: an open tape goes on. A compressed one is decompressed as a stream, so going back
behind the window costs decompressing it again from its beginning.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Final

import zstandard

from ocproxy.errors import JournalError
from ocproxy.journal.segments import COMPRESSED, HEADER_BYTES, PLAIN, Segment, SegmentHeader, decode_header, path_of

BLOCK_BYTES: Final = 1 << 20  # large enough that system calls do not count, small enough for a cheap idle reader
# zstd's own default limit; `keeping` never writes a longer window. A decoder may hold this much memory.
MAX_WINDOW_BYTES: Final = 1 << 27


class Tape:
    """Reads `segment`.

    Raises FileNotFoundError when it is gone; JournalError when it cannot be opened, is of a version not known here, or
    belongs to another journal than `journal`.
    """

    def __init__(self, segment: Segment, journal: str | None = None) -> None:
        self.segment = segment
        self.window = b""
        self.base = 0  # offset of the first byte of the window
        self.fault: str | None = None  # why a compressed segment cannot be read further
        self._file = _open(segment.path)
        self._stream: zstandard.ZstdDecompressionReader | None = None
        self._unpacked = 0  # how far the stream was read
        self.content_bytes = _content_bytes(self._file) if segment.compressed else -1
        try:
            self.header = self._read_header(journal)
        except BaseException:
            self.close()
            raise

    @property
    def end(self) -> int:
        """Offset just behind the window."""
        return self.base + len(self.window)

    @property
    def unreadable_bytes(self) -> int:
        """What is known to be missing behind the end of a faulty compressed segment."""
        return max(0, self.content_bytes - self.end) if self.fault else 0

    def stored_bytes(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def measure(self) -> int:
        """Length of the plain segment; 0 when a damaged compressed one does not tell."""
        if self.segment.compressed:
            return max(0, self.content_bytes)
        return self.stored_bytes()

    def made(self) -> tuple[int, int]:
        """(wall_ns, mono_ns) of when the segment was made; the file's own time and 0 when its header is damaged."""
        if self.header is not None:
            return self.header.wall_ns, self.header.mono_ns
        return os.fstat(self._file.fileno()).st_mtime_ns, 0

    def seek(self, offset: int) -> None:
        """Let the window begin at or before `offset`; it may be empty and holds no more than was there already."""
        if not self.base <= offset <= self.end:
            self.base, self.window = offset, b""

    def more(self, keep: int) -> bool:
        """Drop what is before `keep` and add a block. False: nothing more is there now."""
        self.window = self.window[keep - self.base :]
        self.base = keep
        block = self._read(self.end)
        self.window += block
        return bool(block)

    def forget(self, offset: int) -> None:
        """Drop what is at and behind `offset`: at a live end it may yet change."""
        self.window = self.window[: max(0, offset - self.base)]

    def reload(self, offset: int) -> bool:
        """Read the file again from `offset`. False: not needed, a compressed segment does not change."""
        if self.segment.compressed:
            return False
        self.base, self.window = offset, b""
        return self.more(offset)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Tape:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read_header(self, journal: str | None) -> SegmentHeader | None:
        """None: damaged. The number must fit the name, and the journal the folder, or the files were mixed up."""
        if self.segment.compressed:
            self.more(0)
            start = self.window[:HEADER_BYTES]
        else:
            start = os.pread(self._file.fileno(), HEADER_BYTES, 0)
        header = decode_header(start, self.segment.path)
        if header is None or (header.number == self.segment.number and journal in (None, header.journal)):
            return header
        raise JournalError(
            f"the journal segment {self.segment.path} is segment {header.number} of the journal {header.journal}",
            hint="files of two journals were mixed: put each journal back into a folder of its own",
        )

    def _read(self, offset: int) -> bytes:
        if self.segment.compressed:
            return self._unpack(offset)
        try:
            return os.pread(self._file.fileno(), BLOCK_BYTES, offset)
        except OSError as error:
            raise JournalError(
                f"the journal segment {self.segment.path} cannot be read at {offset}: {error}",
                hint="the disk may be failing: copy the journal folder to another one and run `ocproxy journal verify`",
            ) from error

    def _unpack(self, offset: int) -> bytes:
        try:
            if self._stream is None or offset < self._unpacked:
                self._file.seek(0)
                unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
                self._stream, self._unpacked = unpacker.stream_reader(self._file, closefd=False), 0
            while True:
                skipped = self._unpacked
                block = self._stream.read(BLOCK_BYTES)
                self._unpacked += len(block)
                if not block or self._unpacked > offset:
                    break
        except zstandard.ZstdError as error:
            self.fault = f"it cannot be decompressed behind {self._unpacked}: {error}"
            return b""
        if not block and self._unpacked < self.content_bytes:
            self.fault = f"it ends after {self._unpacked} of {self.content_bytes} bytes"
        return block[max(0, offset - skipped) :]


def open_tape(folder: Path, number: int, journal: str | None = None) -> Tape | None:
    """The segment `number` in whichever form it is there now; None when it was removed. Raises JournalError as Tape.

    The compressed form appears before the plain one goes, so looking for the plain one first finds one of them.
    """
    for suffix in (PLAIN, COMPRESSED):
        try:
            return Tape(Segment(number, path_of(folder, number, suffix), suffix == COMPRESSED), journal)
        except FileNotFoundError:
            continue
    return None


def _open(path: Path) -> io.FileIO:
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JournalError(
            f"the journal segment {path} cannot be opened: {error.strerror}",
            hint="check that it belongs to the user who runs ocproxy",
        ) from error


def _content_bytes(file: io.FileIO) -> int:
    """Length of the plain segment as the frame header tells it; -1 when it does not."""
    try:
        return zstandard.frame_content_size(file.read(18))
    except zstandard.ZstdError:
        return -1
