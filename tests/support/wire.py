"""Raw sockets for byte-exact tests: a scripted upstream, a raw client, and a relay between them in one event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import uvloop

from ocproxy import config
from ocproxy.exchange import Ended, Kind, Opened, Record
from ocproxy.relay.client import accept
from ocproxy.relay.server import drain, listen
from ocproxy.relay.settings import WorkerSettings
from ocproxy.relay.station import Station
from ocproxy.relay.tee import Payload


class MemoryJournal:
    """A journal with the writer's contract, in a list. `broken` fails commits; `hold_syncs` keeps syncs waiting."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.full = False
        self.broken = False
        self.hold_syncs = False
        self.commits = 0
        self._pending: list[Record] = []
        self._lost: dict[int, int] = {}
        self._syncs: list[asyncio.Future[None]] = []
        self._counter = 1 << 32

    def next_exchange(self) -> int:
        self._counter += 1
        return self._counter

    def append(self, kind: Kind, exchange: int, payload: Payload) -> None:
        self._pending.append(Record(kind, exchange, 0, 0, bytes(payload)))

    def commit(self) -> bool:
        self.commits += 1
        pending, self._pending = self._pending, []
        self.full = self.broken
        if self.broken:
            for record in pending:
                self._lost[record.exchange] = self._lost.get(record.exchange, 0) + len(record.payload)
        else:
            self.records += pending
        return not self.broken

    def lost_bytes(self, exchange: int) -> int:
        return self._lost.get(exchange, 0)

    def sync(self) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        if self.hold_syncs:
            self._syncs.append(done)
        else:
            done.set_result(None)
        return done

    def release(self) -> None:
        """Let the waiting syncs succeed."""
        syncs, self._syncs = self._syncs, []
        for done in syncs:
            done.set_result(None)

    def close(self) -> None:
        pass

    # --- for asserting ---

    def exchanges(self) -> list[int]:
        return list(dict.fromkeys(r.exchange for r in self.records if r.kind == Kind.OPENED))

    def bytes_of(self, kind: Kind, exchange: int | None = None) -> bytes:
        wanted = self.exchanges()[0] if exchange is None else exchange
        return b"".join(r.payload for r in self.records if r.kind == kind and r.exchange == wanted)

    def opened(self, at: int = 0) -> Opened:
        return msgspec.msgpack.decode([r.payload for r in self.records if r.kind == Kind.OPENED][at], type=Opened)

    def ended(self, at: int = 0) -> Ended:
        return msgspec.msgpack.decode([r.payload for r in self.records if r.kind == Kind.ENDED][at], type=Ended)


class Peer:
    """One raw connection. Keeps everything that it received in `received`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.received = bytearray()

    async def read(self, size: int) -> bytes:
        data = await self.reader.readexactly(size)
        self.received += data
        return data

    async def read_until(self, end: bytes = b"\r\n\r\n") -> bytes:
        data = await self.reader.readuntil(end)
        self.received += data
        return data

    async def read_all(self) -> bytes:
        """Everything until the end of the stream."""
        data = await self.reader.read()
        self.received += data
        return data

    async def send(self, *pieces: bytes) -> None:
        """Each piece on its own way: the loop turns between them."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def ask(self, request: bytes) -> bytes:
        """Send a request that makes the other side close, and return all that comes."""
        await self.send(request)
        return await self.read_all()

    def send_eof(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass  # the other side was first: closed is closed


Talk = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A scripted server. Each connection is handed to `talk`; what went wrong in there is raised at the end."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self.port = 0
        self.arrived = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self.arrived.set()
        try:
            await self.talk(peer)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.errors.append(error)
        finally:
            writer.close()


@asynccontextmanager
async def upstream(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    scripted = Upstream(talk)
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0, ssl=tls, limit=1 << 24)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
    if scripted.errors:
        raise scripted.errors[0]


def replies(*responses: bytes, seen: list[bytes] | None = None) -> Talk:
    """A script: for each response, read a head and its Content-Length body, then send the response."""

    async def talk(peer: Peer) -> None:
        for response in responses:
            try:
                request = await read_message(peer)
            except asyncio.IncompleteReadError:
                return
            if seen is not None:
                seen.append(request)
            await peer.send(response)

    return talk


async def read_message(peer: Peer) -> bytes:
    """A head with its body by Content-Length or a whole chunked body without trailers."""
    head = await peer.read_until()
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return head + await peer.read_until(b"0\r\n\r\n")
    if b"content-length:" not in lower:
        return head
    return head + await peer.read(int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0]))


class Relay:
    """A relay in this event loop."""

    def __init__(self, station: Station, journal: MemoryJournal, port: int) -> None:
        self.station, self.journal, self.port = station, journal, port
        self._peers: list[Peer] = []

    async def connect(self) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        self._peers.append(peer := Peer(reader, writer))
        return peer

    async def ended(self, count: int = 1) -> None:
        """Wait until `count` exchanges have ended."""
        while sum(r.kind == Kind.ENDED for r in self.journal.records) < count:
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        for peer in self._peers:
            peer.writer.close()
        hurry = asyncio.Event()
        hurry.set()
        await drain(self.station, hurry)


KEY = b"k" * 32
SCENARIO_SECONDS = 30.0


@asynccontextmanager
async def relay(
    *upstreams: int, journal: config.Journal | None = None, control: str = "", url: str = "", ca_file: str = ""
) -> AsyncIterator[Relay]:
    """A relay whose default upstream is `anthropic` on the first port; a second port is the upstream `openai`."""
    names = ["anthropic", "openai", "gemini"]
    settings = WorkerSettings(
        host="127.0.0.1",
        port=0,
        journal_folder="",
        redaction_key=KEY,
        upstreams={
            name: config.Upstream(url=url or f"http://127.0.0.1:{port}", ca_file=ca_file)
            for name, port in zip(names, upstreams, strict=False)
        },
        default_upstream="anthropic",
        control=control,
        journal=journal or config.Journal(),
    )
    recorded = MemoryJournal()
    loop = asyncio.get_running_loop()
    station = Station(settings, recorded, loop)
    listening = listen("127.0.0.1", 0)[0]
    port = listening.getsockname()[1]
    station.listen_on("127.0.0.1", port)
    server = await loop.create_server(lambda: accept(station), sock=listening)
    running = Relay(station, recorded, port)
    try:
        yield running
    finally:
        server.close()
        await running.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's scenario on the loop that workers use. A hanging one is ended here: in uvloop no alarm is heard."""

    async def bounded() -> None:
        async with asyncio.timeout(SCENARIO_SECONDS):
            await scenario

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())
