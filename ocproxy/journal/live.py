"""The live segment: the one file that is appended to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ocproxy.journal.records import HEADER_BYTES as RECORD_HEADER_BYTES
from ocproxy.journal.records import Buffer, read_head
from ocproxy.journal.segments import HEADER_BYTES, create, path_of

# How many buffers one writev takes: a limit of the kernel, 1024 on Linux and macOS.
IOV_MAX: Final = os.sysconf("SC_IOV_MAX")
# After these the file is as good as before, only the space is missing.
NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Encoded(NamedTuple):
    """One record in a list of buffers: it is one buffer, or its header followed by its payload."""

    behind: int  # index of the first buffer that is not its own
    bytes: int
    kind: int
    exchange: int
    times: tuple[int, int]
    payload_bytes: int


def walk(buffers: Sequence[Buffer]) -> Iterator[Encoded]:
    """The records that `buffers` hold one after the other."""
    index = 0
    while index < len(buffers):
        kind, exchange, length, times = read_head(buffers[index])
        size = RECORD_HEADER_BYTES + length
        index += 1 if len(buffers[index]) == size else 2
        yield Encoded(index, size, kind, exchange, times, length)


class WriteFailed(OSError):
    """Not everything could be written. The file ends at a record boundary, unless `usable` is False.

    `standing` buffers are in the file. `usable`: the segment may be written to again, once there is space.
    """

    def __init__(self, error: OSError, standing: int, usable: bool) -> None:
        super().__init__(error.errno, error.strerror)
        self.standing = standing
        self.usable = usable


class LiveSegment:
    """Makes the segment `number` and appends to it. Raises OSError when it cannot be made."""

    def __init__(self, folder: Path, number: int, journal: str) -> None:
        self.number = number
        self.path = path_of(folder, number)
        self.descriptor = create(folder, number, journal)
        self.size = HEADER_BYTES

    def write(self, buffers: list[Buffer], total: int) -> None:
        """Append whole records, of `total` bytes: one writev, or as many as IOV_MAX and partial writes ask for.

        Raises WriteFailed.
        """
        written = 0
        try:
            if len(buffers) <= IOV_MAX:
                written = os.writev(self.descriptor, buffers)
            while written < total:
                count = os.writev(self.descriptor, _behind(buffers, written)[:IOV_MAX])
                if count == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                written += count
        except OSError as error:
            raise self._fall_back(buffers, written, error) from error
        self.size += total

    def _fall_back(self, buffers: list[Buffer], written: int, error: OSError) -> WriteFailed:
        """Cut a half-written record off, so that the file ends with a whole one."""
        standing = whole = 0
        for record in walk(buffers):
            if whole + record.bytes > written:
                break
            whole += record.bytes
            standing = record.behind
        self.size += whole
        usable = error.errno in NO_SPACE
        if whole < written:
            try:
                os.ftruncate(self.descriptor, self.size)
            except OSError:
                usable = False  # the half record stays, at the end of a sealed segment, where readers tell it
        return WriteFailed(error, standing, usable)


def _behind(buffers: list[Buffer], count: int) -> list[Buffer]:
    """What is left of `buffers` when their first `count` bytes are taken away."""
    for index, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[index + 1 :]]
        count -= len(buffer)
    return []
