"""Connections to one upstream: opened on demand, kept idle for the next request, TLS included."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from ocproxy import config
from ocproxy.errors import ConfigError
from ocproxy.relay.framing import Judge
from ocproxy.relay.tee import report_fault

# Providers and load balancers close idle connections after 60 s and more: ours go before, so that few are stale.
IDLE_SECONDS = 45.0
IDLE_LIMIT = 1024  # idle connections of one upstream: as many as the streams that one worker is built for
# Where writing to a slow upstream pauses reading from its client, and where it goes on.
WRITE_HIGH, WRITE_LOW = 256 * 1024, 64 * 1024


class Taker(Protocol):
    """Who uses a connection: one exchange at a time."""

    __slots__ = ()

    def response_data(self, data: bytes) -> None: ...

    def upstream_eof(self) -> bool: ...

    def upstream_gone(self, error: Exception | None) -> None: ...

    def upstream_full(self, full: bool) -> None: ...

    def refuse_unrecorded(self) -> None: ...

    def fail(self) -> None: ...


class UpstreamConnection:
    """One connection. While `taker` is None it is idle. Has the methods of asyncio.Protocol."""

    __slots__ = ("idle_since", "judge", "pool", "reading", "reusable", "taker", "transport")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self.taker: Taker | None = None
        self.judge = Judge(response=True)
        self.idle_since = 0.0
        self.reading = True
        self.reusable = True

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)

    def data_received(self, data: bytes) -> None:
        taker = self.taker
        if taker is None:
            self.drop()  # nobody asked: whatever this is, the connection is not usable
            return
        try:
            taker.response_data(data)
        except Exception:
            report_fault("reading a response")
            taker.fail()

    def eof_received(self) -> bool:
        return self.taker is not None and self.taker.upstream_eof()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        taker, self.taker = self.taker, None
        self.pool.forget(self)
        if taker is not None:
            taker.upstream_gone(error)

    def pause_writing(self) -> None:
        if self.taker is not None:
            self.taker.upstream_full(True)

    def resume_writing(self) -> None:
        if self.taker is not None:
            self.taker.upstream_full(False)

    def read(self, wanted: bool) -> None:
        """Go on or stop reading."""
        if wanted != self.reading and self.transport is not None and not self.transport.is_closing():
            self.reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def drop(self) -> None:
        """End the connection at once, without telling the taker."""
        self.taker = None
        if self.transport is not None:
            self.transport.abort()


class Pool:
    """The idle connections of one upstream, newest last, and how to open another."""

    def __init__(self, url: str, settings: config.Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: list[UpstreamConnection] = []
        self.settings = settings
        self.url = url
        self.unix_path = url if url.startswith("/") else None
        parts = urlsplit(url)
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = parts.netloc.encode("ascii")
        self.base = b"" if self.unix_path else parts.path.rstrip("/").encode("latin-1")
        self._context = _context(settings) if self.tls else None

    def take(self) -> UpstreamConnection | None:
        """An idle connection, the one used last: it is the least likely to be stale."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        return None

    def give(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose response has ended."""
        connection.taker = None
        transport = connection.transport
        if len(self._idle) >= IDLE_LIMIT or transport is None or transport.is_closing() or _unsent(transport):
            connection.drop()
            return
        if not connection.reading:
            connection.read(True)
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection is closed."""
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long."""
        old = [c for c in self._idle if now - c.idle_since > IDLE_SECONDS]
        self._idle = [c for c in self._idle if now - c.idle_since <= IDLE_SECONDS]
        for connection in old:
            connection.drop()

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises OSError (ssl.SSLError among them) or TimeoutError."""
        connection = UpstreamConnection(self)

        def make() -> asyncio.Protocol:
            return cast(asyncio.Protocol, connection)

        async with asyncio.timeout(self.settings.connect_seconds):
            if self.unix_path:
                await self._loop.create_unix_connection(make, self.unix_path)
            else:
                name = self.host if self.tls else None
                await self._loop.create_connection(make, self.host, self.port, ssl=self._context, server_hostname=name)
        return connection

    def close(self) -> None:
        """Close all idle connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.drop()


def _unsent(transport: asyncio.Transport) -> bool:
    """Whether bytes of the last request are still on their way: then the upstream answered without reading them."""
    return transport.get_write_buffer_size() > 0


def _context(settings: config.Upstream) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except OSError as error:
        raise ConfigError(
            f"the CA file {settings.ca_file} of the upstream {settings.url} cannot be used: {error}",
            hint="Set ca_file to a PEM bundle, or leave it empty for the system's CAs.",
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context
