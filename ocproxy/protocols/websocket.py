"""Reads the messages of one direction of a WebSocket back from its record (RFC 6455, permessage-deflate of RFC 7692).

Any cutting of the bytes gives the same messages. Nothing here raises: what cannot be read is left out, with a Problem.
The two ends have agreed on their extensions in the heads of the handshake; only permessage-deflate is known.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import msgspec

from ocproxy.model import Problem
from ocproxy.protocols.problems import note

# Bytes of one message that are held, compressed or not: what the journal's reader holds of one direction of a call.
MOST_BYTES = 64 * 1024 * 1024

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
# What a sender leaves off the end of each compressed message (RFC 7692 section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"
_WINDOW = 32 * 1024


class SocketMessage(NamedTuple):
    """One message, decompressed, of one frame or several."""

    data: bytes
    is_text: bool


class Deflate(msgspec.Struct, frozen=True):
    """What was agreed on permessage-deflate. `keeps_…`: that end's messages refer to those before them."""

    keeps_client: bool = True
    keeps_server: bool = True


def agreed_deflate(extensions: str) -> Deflate | None:
    """What the header Sec-WebSocket-Extensions of the response says (RFC 7692 section 7.1); None: no compression."""
    for offer in extensions.split(","):
        name, *words = [word.strip().lower() for word in offer.split(";")]
        if name == "permessage-deflate":
            params = {word.partition("=")[0].strip() for word in words}
            return Deflate("client_no_context_takeover" not in params, "server_no_context_takeover" not in params)
    return None


class _Inflater:
    """Decompresses the messages of one direction, one after the other."""

    def __init__(self, keeps: bool) -> None:
        self._keeps = keeps
        self._object = zlib.decompressobj(-zlib.MAX_WBITS)
        self._window = b""
        self._is_lost = False

    def inflate(self, data: bytes) -> bytes | None:
        """The message; None where it cannot be decompressed, nor any that refers to it."""
        if not self._keeps:
            self._object, self._window, self._is_lost = zlib.decompressobj(-zlib.MAX_WBITS), b"", False
        if self._is_lost:
            return None
        data += _TAIL
        pieces: list[bytes] = []
        room = MOST_BYTES
        try:
            while data and room > 0:
                piece = self._object.decompress(data, room)
                pieces.append(piece)
                room -= len(piece)
                self._window = (self._window + piece)[-_WINDOW:]
                data = self._object.unconsumed_tail
                if self._object.eof:  # a final block may end a message too (section 7.2.3.4); the window goes on
                    data = self._object.unused_data
                    self._object = zlib.decompressobj(-zlib.MAX_WBITS, zdict=self._window)
                    if data == _TAIL:
                        break
        except zlib.error:
            self._is_lost = True
            return None
        if data and room <= 0:
            self._is_lost = True
            return None
        return b"".join(pieces)


class SocketStream:
    """Decodes one direction. `deflate` is whether its messages may be compressed, and if so whether they refer to those
    before them; None where no compression was agreed.

    `is_closed` once this end said that it closes, `close_code` and `close_reason` are what it said.
    """

    def __init__(self, deflate: bool | None) -> None:
        self.problems: list[Problem] = []
        self.is_closed = False
        self.close_code: int | None = None
        self.close_reason = ""
        self._inflater = None if deflate is None else _Inflater(deflate)
        self._buffer = bytearray()
        self._skip = 0  # bytes of a frame too large to be held that are still to come
        self._is_broken = False
        self._opcode: int | None = None  # of the message under way
        self._is_compressed = False
        self._is_dropped = False  # a part of the message under way is missing
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return len(self._buffer) + self._size

    def feed(self, data: bytes) -> list[SocketMessage]:
        """Take bytes; returns the messages that they end."""
        found: list[SocketMessage] = []
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if not self._is_broken:
            self._buffer += data
            while not self._is_broken and self._take_frame(found):
                pass
        return found

    def lose(self) -> None:
        """Bytes are missing from the record here: no frame behind them can be found."""
        self._break("bytes of the WebSocket are missing from the record; what came behind them cannot be read")

    def _break(self, message: str) -> None:
        if not self._is_broken:
            note(self.problems, "bad_frame", message)
        self._is_broken = True
        self._buffer.clear()

    def _take_frame(self, found: list[SocketMessage]) -> bool:
        """Take the frame at the start of the buffer (RFC 6455 section 5.2). False: it has not come yet."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        first, second = buffer[0], buffer[1]
        length, at = second & 0x7F, 2
        if length >= 126:
            at = 4 if length == 126 else 10
            if len(buffer) < at:
                return False
            length = int.from_bytes(buffer[2:at], "big")
        mask_at = at
        at += 4 if second & 0x80 else 0
        opcode = first & 0x0F
        if opcode not in (_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG) or first & 0x30 or length >> 63:
            self._break(f"not a WebSocket frame: {bytes(buffer[:2])!r}; the rest of this direction cannot be read")
            return False
        if opcode >= _CLOSE and (length > 125 or not first & 0x80):
            self._break("a control frame is too long or in pieces; the rest of this direction cannot be read")
            return False
        if length > MOST_BYTES and opcode < _CLOSE:
            if len(buffer) < at:
                return False
            self._skip = max(0, at + length - len(buffer))
            del buffer[: at + length]
            self._is_dropped = True
            self._take_data(first, b"", found)
            return not self._skip
        if len(buffer) < at + length:
            return False
        payload = bytes(buffer[at : at + length])
        if second & 0x80:
            payload = _unmask(payload, bytes(buffer[mask_at:at]))
        del buffer[: at + length]
        if opcode >= _CLOSE:
            self._take_control(opcode, payload)
        else:
            self._take_data(first, payload, found)
        return True

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE and not self.is_closed:
            self.is_closed = True
            if len(payload) >= 2:
                self.close_code = int.from_bytes(payload[:2], "big")
                self.close_reason = payload[2:].decode("utf-8", "replace")

    def _take_data(self, first: int, payload: bytes, found: list[SocketMessage]) -> None:
        opcode = first & 0x0F
        if opcode != _CONTINUATION:
            if self._opcode is not None:
                note(self.problems, "bad_frame", "a message began inside another one; the unfinished one is left out")
                self._pieces, self._size = [], 0
            self._opcode, self._is_compressed = opcode, bool(first & 0x40)
        elif self._opcode is None:
            note(self.problems, "bad_frame", "a message goes on that never began; it is left out")
            self._is_dropped = False
            return
        self._size += len(payload)
        if self._size > MOST_BYTES:
            self._is_dropped, self._pieces = True, []
        else:
            self._pieces.append(payload)
        if first & 0x80:
            self._end_message(found)

    def _end_message(self, found: list[SocketMessage]) -> None:
        data: bytes | None = b"".join(self._pieces)
        is_text, is_dropped = self._opcode == _TEXT, self._is_dropped
        self._opcode, self._is_dropped, self._pieces, self._size = None, False, [], 0
        if is_dropped:
            note(self.problems, "too_large", f"a message of more than {MOST_BYTES} bytes is in the journal only")
            data = None
        if self._is_compressed and data is not None:
            if self._inflater is None:
                note(self.problems, "bad_frame", "a message is compressed, which was not agreed on; it is left out")
                return
            data = self._inflater.inflate(data)
            if data is None:
                note(self.problems, "bad_compression", "a message cannot be decompressed; it is left out")
        if data is not None:
            found.append(SocketMessage(data, is_text))


def _unmask(payload: bytes, key: bytes) -> bytes:
    """RFC 6455 section 5.3."""
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
