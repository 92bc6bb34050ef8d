"""What all connections of one worker share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ocproxy import config
from ocproxy.relay.redaction import Redactor
from ocproxy.relay.routes import CONTROL
from ocproxy.relay.settings import WorkerSettings
from ocproxy.relay.tee import Journal, Tee
from ocproxy.relay.upstream import Pool

if TYPE_CHECKING:
    from ocproxy.relay.client import ClientConnection

CONTROL_CONNECT_SECONDS = 2.0  # it is on this host: it answers at once or it is away


class Station:
    """The tee, the pools and the clients of one worker."""

    def __init__(self, settings: WorkerSettings, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.settings = settings
        self.journal = journal
        self.tee = Tee(journal, settings.journal, loop)
        self.redactor = Redactor(settings.redaction_key)
        self.default_upstream = settings.default_upstream
        self.pools = {name: Pool(upstream.url, upstream, loop) for name, upstream in settings.upstreams.items()}
        if settings.control:
            url = settings.control if settings.control.startswith("/") else f"http://{settings.control}"
            self.pools[CONTROL] = Pool(url, config.Upstream(url=url, connect_seconds=CONTROL_CONNECT_SECONDS), loop)
        self.names = frozenset(settings.upstreams)
        self.own: set[bytes] = set()  # authorities under which clients reach us, lower case
        self.clients: set[ClientConnection] = set()
        self.draining = False

    def listen_on(self, host: str, port: int) -> None:
        """Remember an address that we answer under."""
        names = {host, "localhost", "127.0.0.1", "::1"}
        for name in names:
            bracketed = f"[{name}]" if ":" in name else name
            self.own.add(f"{bracketed}:{port}".lower().encode("latin-1"))

    def sweep(self) -> None:
        """Close connections that have been idle for too long."""
        now = self.loop.time()
        for pool in self.pools.values():
            pool.sweep(now)
