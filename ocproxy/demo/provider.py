"""A provider that plays scripts: the Anthropic Messages API over HTTP/1.1 on a free port of the loopback interface.

It answers `POST …/messages` (JSON or event stream), `…/messages/count_tokens`, `GET …/models` and `HEAD` probes, under
any path prefix, and keeps in `log` what it received and sent, byte for byte.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import msgspec

from ocproxy.demo.reply import compose, error, events
from ocproxy.demo.script import END, Script, Step, choose

Json = dict[str, Any]

_HEAD_LIMIT = 64 * 1024  # bytes of a request head; real agents send about 2 KB
_TITLE = "A scripted session"


class Served(msgspec.Struct):
    """One request and what became of it. `complete` turns true when the last byte of the answer was written."""

    method: str
    target: str
    head: bytes
    headers: dict[str, str]  # lower-case names
    body: bytes  # without chunk framing
    status: int = 0
    sent: bytes = b""  # everything written, head and framing included
    reply: Json | None = None  # the JSON body that was sent, or that the event stream spelled out
    complete: bool = False

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def request(self) -> Json:
        """The request body as JSON. Raises ValueError when it is none."""
        parsed: Json = json.loads(self.body)
        return parsed


class Provider:
    """Plays `scripts`; which one and which step is found from the request alone (see `script`).

    `pace` is the time in seconds between two pieces of a stream. A provider with other manners overrides `reply_to`
    or `cut`; `more_headers` are lines of a stream's head.
    """

    more_headers = ""

    def __init__(self, scripts: Iterable[Script], *, pace: float = 0.0) -> None:
        self.scripts = {script.name: script for script in scripts}
        self.pace = pace
        self.log: list[Served] = []
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Provider]:
        """Listens while the block runs; `url` is set inside it. All connections are closed at its end."""
        open_: set[asyncio.Task[None]] = set()

        # Not a coroutine function: asyncio would log the cancellation of tasks that it started itself.
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._converse(reader, writer))
            open_.add(task)
            task.add_done_callback(open_.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=_HEAD_LIMIT)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(open_):
                task.cancel()
            await asyncio.gather(*open_, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client may go away at any byte: that ends the conversation, and `complete` stays false.
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                served = await _receive(reader, writer)
                self.log.append(served)
                await self._answer(served, writer)
                served.complete = True
                if served.headers.get("connection", "").lower() == "close":
                    return

    async def _answer(self, served: Served, writer: asyncio.StreamWriter) -> None:
        if served.method == "HEAD":
            return await self._send(served, writer, 200, None)
        if served.path.endswith("/messages/count_tokens"):
            return await self._send(served, writer, 200, {"input_tokens": len(served.body) // 4})
        if served.path.endswith("/models") and served.method == "GET":
            models = [
                {"type": "model", "id": "scripted", "display_name": "Scripted", "created_at": "2026-01-01T00:00:00Z"}
            ]
            return await self._send(served, writer, 200, {"data": models, "has_more": False})
        if not (served.path.endswith("/messages") and served.method == "POST"):
            return await self._send(served, writer, 404, error("not_found_error", f"no such path: {served.path}"))
        request = served.request
        reply = self.reply_to(request)
        if reply is None:
            message = "the prompt names no script that this provider has"
            return await self._send(served, writer, 400, error("invalid_request_error", message))
        if request.get("stream"):
            return await self._stream(served, writer, reply)
        return await self._send(served, writer, 200, reply)

    def reply_to(self, request: Json) -> Json | None:
        """The whole reply to a request, or None when it belongs to no script."""
        schema = ((request.get("output_config") or {}).get("format") or {}).get("schema") or {}
        script = choose(self.scripts, request.get("messages") or [])
        if "title" in (schema.get("properties") or {}):
            side = Script("side", (Step(text=json.dumps({"title": _TITLE})),))
            return compose(request, side, 0, side.steps[0])
        if script is None:
            return None
        number = script.next_step(request["messages"])
        return compose(request, script, number, script.steps[number] if number < len(script.steps) else END)

    def cut(self, stream: Iterable[bytes]) -> Iterable[bytes]:
        """The body of an event stream in the pieces that go out as one chunk each: here an event each."""
        return stream

    async def _send(self, served: Served, writer: asyncio.StreamWriter, status: int, data: Json | None) -> None:
        body = b"" if data is None else json.dumps(data, ensure_ascii=False).encode()
        served.status, served.reply = status, data
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\nContent-Type: application/json\r\n"
        await _write(served, writer, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def _stream(self, served: Served, writer: asyncio.StreamWriter, reply: Json) -> None:
        served.status, served.reply = 200, reply
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
            f"{self.more_headers}request-id: req_{len(self.log)}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await _write(served, writer, head.encode())
        for piece in self.cut(events(reply)):
            await _write(served, writer, b"%x\r\n%b\r\n" % (len(piece), piece))
            if self.pace:
                await asyncio.sleep(self.pace)
        await _write(served, writer, b"0\r\n\r\n")


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Served:
    """Reads one request. Raises IncompleteReadError when the client hangs up before its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, target, _ = first.split(" ", 2)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _receive_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Served(method, target, head, headers, body)


async def _receive_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return body


async def _write(served: Served, writer: asyncio.StreamWriter, data: bytes) -> None:
    served.sent += data
    writer.write(data)
    await writer.drain()
