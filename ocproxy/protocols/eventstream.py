"""The binary framing `application/vnd.amazon.eventstream`, decoded incrementally.

A message is, all integers big-endian (https://smithy.io/2.0/aws/amazon-eventstream.html):

    4  length of the whole message
    4  length of its headers
    4  CRC32 of these 8 bytes
    …  headers: 1 length of the name, the name, 1 type of the value, the value
    …  payload
    4  CRC32 of everything before

Any cutting of the bytes gives the same messages.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from ocproxy.model import Problem
from ocproxy.protocols.problems import note

_PRELUDE = 12
_AROUND = 16  # prelude and the last CRC
# The specification allows 16 MiB of payload and 128 KiB of headers: what says more is no message.
_MAX_MESSAGE = (16 << 20) + (128 << 10) + _AROUND
_TRUE, _FALSE, _BYTES, _STRING = 0, 1, 6, 7
# Length of the values that have one length: byte, short, integer, long, timestamp, uuid.
_FIXED = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class Frame(NamedTuple):
    """One message. `headers` are those whose value is text: nothing here needs the others."""

    headers: dict[str, str]
    payload: bytes


class FrameStream:
    """Decodes one stream of messages. What is damaged becomes a Problem; a message with a wrong CRC is passed over, and
    where the prelude itself is wrong nothing behind it can be found any more."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._buffer = bytearray()
        self._lost = False

    @property
    def unfinished(self) -> bool:
        """Whether the stream stands inside a message."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; returns the messages that they end."""
        if self._lost:
            return []
        self._buffer += data
        found: list[Frame] = []
        at = 0
        while len(self._buffer) - at >= _PRELUDE:
            prelude = bytes(self._buffer[at : at + _PRELUDE])
            size, headers = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
            if zlib.crc32(prelude[:8]) != int.from_bytes(prelude[8:]) or not _AROUND + headers <= size <= _MAX_MESSAGE:
                note(self._problems, "bad_frame", "the event stream has a broken prelude; the rest of it is not read")
                self._lost, at = True, len(self._buffer)
                break
            if len(self._buffer) - at < size:
                break
            frame = self._read(bytes(self._buffer[at : at + size]), headers)
            found += [frame] if frame else []
            at += size
        del self._buffer[:at]
        return found

    def _read(self, message: bytes, headers: int) -> Frame | None:
        if zlib.crc32(message[:-4]) != int.from_bytes(message[-4:]):
            note(self._problems, "bad_frame", "a message of the event stream has a wrong checksum; passed over")
            return None
        end = _PRELUDE + headers
        return Frame(self._read_headers(message[_PRELUDE:end]), message[end:-4])

    def _read_headers(self, data: bytes) -> dict[str, str]:
        found: dict[str, str] = {}
        at = 0
        while at < len(data):
            start = at + 1 + data[at]
            name = data[at + 1 : start].decode("utf-8", "replace")
            kind = data[start] if start < len(data) else -1
            start += 1
            if kind in (_BYTES, _STRING):
                size = int.from_bytes(data[start : start + 2])
                start += 2
            else:
                size = 0 if kind in (_TRUE, _FALSE) else _FIXED.get(kind, -1)
            if size < 0 or start + size > len(data):
                note(self._problems, "bad_frame", "a message of the event stream has headers that cannot be read")
                break
            if kind == _STRING:
                found[name] = data[start : start + size].decode("utf-8", "replace")
            at = start + size
        return found
