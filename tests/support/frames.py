"""Writes WebSocket frames (RFC 6455 section 5.2), compressed ones too (RFC 7692): what a client or a server sends."""

from __future__ import annotations

import zlib

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_TAIL = b"\x00\x00\xff\xff"


def frame(data: bytes, opcode: int = TEXT, *, mask: bytes = b"", fin: bool = True, packed: bool = False) -> bytes:
    """One frame; `mask` is its key, as a client must have one."""
    first = (0x80 if fin else 0) | (0x40 if packed else 0) | opcode
    size = len(data)
    marked = 0x80 if mask else 0
    if size < 126:
        head = bytes([first, marked | size])
    elif size < 1 << 16:
        head = bytes([first, marked | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, marked | 127]) + size.to_bytes(8, "big")
    if mask:
        data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
    return head + mask + data


class Sender:
    """One end of a connection. `deflate`: None for no compression, else whether it keeps its context."""

    def __init__(self, *, deflate: bool | None = None, mask: bytes = b"", pieces: int = 1) -> None:
        self._deflate = deflate
        self._mask = mask
        self._pieces = pieces
        self._packer = zlib.compressobj(wbits=-15)

    def message(self, data: bytes, opcode: int = TEXT) -> bytes:
        """The frames of one message, in so many pieces."""
        packed = self._deflate is not None
        if packed:
            if not self._deflate:
                self._packer = zlib.compressobj(wbits=-15)
            data = (self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
        step = max(1, -(-len(data) // self._pieces))
        parts = [data[at : at + step] for at in range(0, len(data), step)] or [b""]
        return b"".join(
            frame(part, opcode if not n else 0, mask=self._mask, fin=n == len(parts) - 1, packed=packed and not n)
            for n, part in enumerate(parts)
        )

    def close(self, code: int = 1000, reason: str = "") -> bytes:
        return frame(code.to_bytes(2, "big") + reason.encode(), CLOSE, mask=self._mask)
