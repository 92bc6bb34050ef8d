"""The server's side of a WebSocket (RFC 6455), with permessage-deflate (RFC 7692) where it is offered and wanted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import zlib
from collections.abc import AsyncIterator

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_FLUSHED = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.1


class Socket:
    """One open connection. `received` and `sent` are all bytes behind the heads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deflate: bool) -> None:
        self.received = b""
        self.sent = b""
        self._reader, self._writer = reader, writer
        self._packer = zlib.compressobj(wbits=-15) if deflate else None
        self._unpacker = zlib.decompressobj(wbits=-15)

    async def messages(self) -> AsyncIterator[bytes]:
        """The client's messages until it closes; pings are answered. Raises IncompleteReadError when it hangs up."""
        parts, packed = b"", False
        while True:
            first, data = await self._frame()
            kind = first & 0x0F
            if kind == _CLOSE:
                await self._put(_CLOSE, data[:2])
                return
            if kind == _PING:
                await self._put(_PONG, data)
            if kind >= _CLOSE:
                continue
            parts, packed = parts + data, packed or bool(first & 0x40)
            if first & 0x80:
                yield self._unpacker.decompress(parts + _FLUSHED) if packed else parts
                parts, packed = b"", False

    async def send(self, text: str) -> None:
        data = text.encode()
        if self._packer is None:
            return await self._put(_TEXT, data)
        packed = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        await self._put(_TEXT | 0x40, packed.removesuffix(_FLUSHED))

    async def _frame(self) -> tuple[int, bytes]:
        first, second = await self._read(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self._read(2 if size == 126 else 8), "big")
        mask = await self._read(4)  # a client always masks: RFC 6455 section 5.1
        data = await self._read(size)
        long_mask = (mask * (size // 4 + 1))[:size]
        return first, (int.from_bytes(data, "big") ^ int.from_bytes(long_mask, "big")).to_bytes(size, "big")

    async def _read(self, size: int) -> bytes:
        data = await self._reader.readexactly(size)
        self.received += data
        return data

    async def _put(self, first: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = bytes([0x80 | first, size])
        elif size < 1 << 16:
            head = bytes([0x80 | first, 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | first, 127]) + size.to_bytes(8, "big")
        self.sent += head + data
        self._writer.write(head + data)
        await self._writer.drain()


def accepts(headers: dict[str, str], deflate: bool) -> bytes:
    """The head of the answer to an upgrade with these headers (lower-case names)."""
    key = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + _GUID).digest()).decode()
    extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {key}\r\n{extension}\r\n"
    ).encode()
