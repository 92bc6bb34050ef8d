"""Many streams at once: an upstream that talks slowly, and raw clients that keep every byte they get."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from ocproxy.demo.script import text_of

# Deltas of a stream vary in size so that records, chunks and reads never line up.
_SIZES = (1, 7, 40, 300, 2500)


@dataclass
class Received:
    """What one client got. `whole` is true when the stream ended by its own framing."""

    name: str
    head: bytes = b""
    body: bytes = b""  # with its chunk framing, as it crossed the wire
    whole: bool = False
    error: str = ""

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1]) if self.head else 0


@dataclass
class Talk:
    """How the upstream talks: `deltas` events to every request, `pause` seconds apart on average."""

    deltas: int
    pause: float
    seed: int = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Listens while the block runs; yields its URL."""
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._converse(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                request = json.loads(await reader.readexactly(int(length.partition(b":")[2])))
                await self._talk(text_of(request["messages"][0]), writer)

    async def _talk(self, name: str, writer: asyncio.StreamWriter) -> None:
        chance = random.Random(f"{self.seed}:{name}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in self._events(name, chance):
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
            await asyncio.sleep(chance.uniform(0, 2 * self.pause))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _events(self, name: str, chance: random.Random) -> Iterable[dict[str, object]]:
        usage = {"input_tokens": 3, "output_tokens": 1}
        message = {
            "id": f"msg_{name}",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "usage": usage,
        }
        yield {"type": "message_start", "message": message}
        yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        for number in range(self.deltas):
            text = f"{name}:{number} " + "x" * chance.choice(_SIZES)
            yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        yield {"type": "content_block_stop", "index": 0}
        yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": self.deltas}}
        yield {"type": "message_stop"}


async def fetch(url: str, name: str) -> Received:
    """Asks for one stream under the run `name` and reads it to its end, whatever end it is."""
    received = Received(name)
    parts = urlsplit(url)
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": name}]}).encode()
    head = f"POST /run/{name}/v1/messages HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            received.head = await reader.readuntil(b"\r\n\r\n")
            length = _content_length(received.head)
            while data := await reader.read(65536):
                received.body += data
                received.whole = (
                    len(received.body) == length if length >= 0 else received.body.endswith(b"\r\n0\r\n\r\n")
                )
                if received.whole:
                    break
        finally:
            writer.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        received.error = repr(error)
    return received


async def fetch_all(url: str, names: Iterable[str]) -> list[Received]:
    """All streams at once; returns when each has ended."""
    return list(await asyncio.gather(*(fetch(url, name) for name in names)))


def _content_length(head: bytes) -> int:
    """Of one of ocproxy's own answers; -1 for a chunked body."""
    lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lines[0].partition(b":")[2]) if lines else -1
