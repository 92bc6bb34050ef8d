"""Segment files: their names, their header, which are there, making a new one. Layout: see `ocproxy.journal`."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from ocproxy.errors import JournalError

MAGIC: Final = b"\x89OCPJ\r\n\x1a"  # like PNG's: shows damage by text-mode copies at once
VERSION: Final = 1
_HEADER = Struct("<8sHHQ16sQQ8s")  # magic, version, header bytes, number, journal id, wall_ns, mono_ns, reserved
_START = Struct("<8sHH")
_CRC = Struct("<I")
HEADER_BYTES: Final = _HEADER.size + _CRC.size
assert HEADER_BYTES == 64

PLAIN, COMPRESSED, UNFINISHED = ".seg", ".seg.zst", ".new"
_NAME = re.compile(r"([0-9]{10})(\.seg|\.seg\.zst)")
_LARGEST = (1 << 32) - 1  # the number is the upper half of an exchange number


class SegmentHeader(NamedTuple):
    """What stands at the beginning of every segment."""

    number: int
    journal: str  # 32 hex digits
    wall_ns: int  # when the segment was made
    mono_ns: int


class Segment(msgspec.Struct, frozen=True):
    """One segment as it lies in the folder. With both forms present this is the plain one (see `ocproxy.journal`)."""

    number: int
    path: Path
    compressed: bool


def path_of(folder: Path, number: int, suffix: str = PLAIN) -> Path:
    return folder / f"{number:010d}{suffix}"


def list_segments(folder: Path) -> list[Segment]:
    """All segments, oldest first. Raises JournalError when the folder cannot be read."""
    found: dict[int, Segment] = {}
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise JournalError(
            f"the journal folder {folder} cannot be read: {error.strerror}",
            hint="check that the folder exists and belongs to the user who runs ocproxy",
        ) from error
    for name in names:
        if match := _NAME.fullmatch(name):
            number, compressed = int(match[1]), match[2] == COMPRESSED
            if not compressed or number not in found:
                found[number] = Segment(number, folder / name, compressed)
    return [found[number] for number in sorted(found)]


def encode_header(header: SegmentHeader) -> bytes:
    journal = bytes.fromhex(header.journal)
    times = (header.wall_ns, header.mono_ns)
    data = _HEADER.pack(MAGIC, VERSION, HEADER_BYTES, header.number, journal, *times, bytes(8))
    return data + _CRC.pack(crc32(data))


def decode_header(data: bytes, path: Path) -> SegmentHeader | None:
    """The header at the beginning of `data`; None when it is damaged or cut off.

    Raises JournalError when it is whole and of a version that this program does not know.
    """
    if len(data) < _START.size:
        return None
    magic, version, size = _START.unpack_from(data)
    if magic != MAGIC or not _START.size + _CRC.size <= size <= len(data):
        return None
    if _CRC.unpack_from(data, size - _CRC.size)[0] != crc32(data[: size - _CRC.size]):
        return None
    if version != VERSION or size != HEADER_BYTES:
        raise JournalError(
            f"the journal segment {path} has format version {version}; this ocproxy reads version {VERSION}",
            hint="it was written by a newer ocproxy: install that version or a later one",
        )
    _, _, _, number, journal, wall_ns, mono_ns, _ = _HEADER.unpack_from(data)
    return SegmentHeader(number, journal.hex(), wall_ns, mono_ns)


def create(folder: Path, number: int, journal: str) -> int:
    """Make segment `number` and return its descriptor, open for appending (mode 0600). Raises OSError.

    It appears under its name with its header or not at all: a reader takes the appearance of a segment as the word
    that nothing more is written to the one before. Its directory entry is not yet synced.
    """
    if number > _LARGEST:
        raise OSError(f"segment number {number} is too large")
    final, unfinished = path_of(folder, number), path_of(folder, number, PLAIN + UNFINISHED)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    descriptor = os.open(unfinished, flags, 0o600)
    try:
        header = encode_header(SegmentHeader(number, journal, time.time_ns(), time.monotonic_ns()))
        if os.write(descriptor, header) != len(header):
            raise OSError(28, "No space left on device")
        os.rename(unfinished, final)
    except OSError:
        os.close(descriptor)
        unfinished.unlink(missing_ok=True)
        raise
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
