"""One record as bytes and back. Pure. The layout is specified in `ocproxy.journal`: change it there first."""

from __future__ import annotations

from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

from ocproxy.exchange import Gap, Kind, Record

Buffer = bytes | bytearray | memoryview  # memoryviews of single bytes

# 0xF5 never occurs in UTF-8, so a search for the next record does not stop inside plain text.
MAGIC: Final = b"\xf5\x0c"
VERSION: Final = 1
# Bounds what one bad record can cost, what a reader must hold in memory, and how long a wrong length can hide the
# records behind it at a live end. The relay reads at most 256 KiB at once, so cutting is rare.
MAX_PAYLOAD: Final = 1 << 20

_HEADER = Struct("<2sIBBIQQQ")  # magic, crc, kind, version, length, exchange, wall_ns, mono_ns
_FRONT = Struct("<2sI")
_REST = Struct("<BBIQ16s")
_TIMES = Struct("<QQ")
HEADER_BYTES: Final = _HEADER.size
_FRONT_BYTES: Final = _FRONT.size
assert HEADER_BYTES == 36

# Payloads of these kinds are a stream: two records mean the same as one with both payloads.
STREAMED: Final = frozenset({Kind.REQUEST_BYTES, Kind.RESPONSE_BYTES, Kind.CLIENT_BYTES, Kind.SERVER_BYTES})

# Final: mypyc then keeps them out of the module's dict, where every look costs as much as packing a number.
_pack_front: Final = _FRONT.pack
_pack_rest: Final = _REST.pack
_unpack: Final = _HEADER.unpack_from
_checksum: Final = crc32


class Damaged(Exception):
    """The bytes are no record. `str()` says why."""


def seed_of(journal: str) -> int:
    """Start value of every CRC of the journal with this id: records of another journal are never taken for ours."""
    return crc32(bytes.fromhex(journal))


def encode_times(wall_ns: int, mono_ns: int) -> bytes:
    """What the encoders below take as `times`: all records of one commit have the same."""
    return _TIMES.pack(wall_ns, mono_ns)


def encode_header(kind: int, exchange: int, times: bytes, payload: Buffer, seed: int) -> bytes:
    """The HEADER_BYTES bytes that stand in front of `payload`."""
    rest = _pack_rest(kind, VERSION, len(payload), exchange, times)
    return _pack_front(MAGIC, _checksum(payload, _checksum(rest, seed))) + rest


def encode_small(kind: int, exchange: int, times: bytes, payload: Buffer, seed: int) -> bytes:
    """A whole record in one piece, with one checksum over all of it: for payloads that are cheaper copied."""
    rest = _pack_rest(kind, VERSION, len(payload), exchange, times) + payload
    return _pack_front(MAGIC, _checksum(rest, seed)) + rest


def encode(record: Record, seed: int) -> bytes:
    """A whole record as it stands in the file."""
    times = encode_times(record.wall_ns, record.mono_ns)
    return encode_header(record.kind, record.exchange, times, record.payload, seed) + record.payload


def gap_record(gap: Gap, times: tuple[int, int]) -> Record:
    """The GAP record of the whole journal that tells `gap`."""
    return Record(Kind.GAP, 0, times[0], times[1], msgspec.msgpack.encode(gap))


def decode(data: bytes, offset: int, seed: int) -> Record | None:
    """The record that begins at `offset`; None when `data` ends before it does.

    Raises Damaged when no valid record begins there. Kind and version may be unknown: the payload is as it was written.
    """
    start = offset + HEADER_BYTES
    if len(data) < start:
        return None
    magic, crc, kind, _, length, exchange, wall_ns, mono_ns = _unpack(data, offset)
    if magic != MAGIC:
        raise Damaged("no record begins where one should")
    if length > MAX_PAYLOAD:
        raise Damaged(f"a record claims {length} bytes, more than any may have")
    end = start + length
    if len(data) < end:
        return None
    if crc32(memoryview(data)[offset + _FRONT_BYTES : end], seed) != crc:
        raise Damaged("the checksum of a record is wrong")
    return Record(kind, exchange, wall_ns, mono_ns, data[start:end])


def read_head(header: Buffer) -> tuple[int, int, int, tuple[int, int]]:
    """(kind, exchange, payload length, (wall_ns, mono_ns)) of an encoded record, unchecked."""
    _, _, kind, _, length, exchange, wall_ns, mono_ns = _unpack(header, 0)
    return kind, exchange, length, (wall_ns, mono_ns)


def find(data: bytes, offset: int, seed: int) -> tuple[int, bool]:
    """Look for the next valid record at or behind `offset`.

    (place, True): one begins there. (place, False): none begins before `place`, and whether one begins at `place`
    or behind it can only be said with more bytes behind `data`.
    """
    while (place := data.find(MAGIC, offset)) >= 0:
        try:
            return place, decode(data, place, seed) is not None
        except Damaged:
            offset = place + 1
    if offset < len(data) and data.endswith(MAGIC[:1]):
        return len(data) - 1, False
    return len(data), False
