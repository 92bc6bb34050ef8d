"""The request's way to its upstream: recorded, given a connection, kept for a second try as long as one is safe."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import msgspec

from ocproxy.exchange import Ended, Opened, Outcome
from ocproxy.relay import replies
from ocproxy.relay.framing import NO_BODY, Body
from ocproxy.relay.head import BadHead, RequestHead
from ocproxy.relay.routes import Route
from ocproxy.relay.station import Station
from ocproxy.relay.tee import ENDED, OPENED, RESPONSE_BYTES, RESPONSE_HEAD, report_fault
from ocproxy.relay.upstream import Taker

if TYPE_CHECKING:
    from ocproxy.relay.client import ClientConnection
    from ocproxy.relay.upstream import UpstreamConnection

# Request bytes kept for a second try on a fresh connection: one resent history of an agent (0.1-0.8 MB) fits.
KEPT_LIMIT: Final = 1 << 20
# Request bytes waiting for a connection or for a sync before reading from the client pauses.
WAITING_LIMIT: Final = 1 << 18
_encode: Final = msgspec.msgpack.Encoder().encode
COMPLETE: Final = Outcome.COMPLETE
_COMPLETE_ENDED: Final = _encode(Ended(outcome=COMPLETE))


class Delivery(Taker):
    """The half of an exchange that faces the journal and the upstream. `number` is the exchange's number in the
    journal; 0: not journalled (control's own pages)."""

    __slots__ = (
        "client", "connecting", "connection", "ended", "head", "kept", "kept_bytes", "number", "pool", "request_body",
        "queued", "retried", "reused", "route", "station", "taken_at", "tee",
    )  # fmt: skip

    def __init__(self, station: Station, client: ClientConnection, head: RequestHead, route: Route) -> None:
        self.station = station
        self.tee = station.tee
        self.client = client
        self.head = head
        self.route = route
        self.pool = station.pools.get(route.upstream)
        self.request_body: Body = NO_BODY
        self.number = 0
        self.connection: UpstreamConnection | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.kept: list[bytes] | None = []  # what was sent, as long as it may have to be sent (again)
        self.kept_bytes = 0
        self.queued = 0  # bytes for the upstream that wait for the journal
        self.reused = False
        self.retried = False
        self.taken_at = 0.0  # when an idle connection was taken
        self.ended = False

    def open(self, target: bytes) -> None:
        """Append OPENED."""
        head, route, station = self.head, self.route, self.station
        redactor = station.redactor
        self.number = station.journal.next_exchange()
        opened = Opened(
            head=head.redacted(redactor),
            target=redactor.target_text(target),
            upstream=route.upstream,
            upstream_url=self.pool.url if self.pool else "",
            client=self.client.name,
            run=route.run,
            tags=head.tags,
        )
        self.tee.append(OPENED, self.number, _encode(opened))

    def deliver(self, data: bytes) -> None:
        """Send `data`, which was appended, to the upstream once it is written (in strict mode: synced)."""
        self.queued += len(data)
        self.tee.forward_synced(self, self.to_upstream, data)
        if self.queued > WAITING_LIMIT:
            self.client.hold(self.client.WAITING, True)

    def to_upstream(self, data: bytes) -> None:
        """Send what is in the journal by now."""
        if self.ended:
            return
        self.queued -= len(data)
        if self.kept is not None:
            self.kept.append(data)
            self.kept_bytes += len(data)
        connection = self.connection
        if connection is None:
            if self.connecting is None:
                self.find_connection()
            elif self.kept_bytes > WAITING_LIMIT:
                self.client.hold(self.client.WAITING, True)
            return
        if self.client.held and self.queued <= WAITING_LIMIT:
            self.client.hold(self.client.WAITING, False)
        if self.kept_bytes > KEPT_LIMIT:
            self.kept = None
        if connection.transport is not None:
            connection.transport.write(data)

    def find_connection(self) -> None:
        assert self.pool is not None
        connection = None if self.retried else self.pool.take()
        if connection is None:
            self.connecting = self.station.loop.create_task(self._connect())
        else:
            self.reused = True
            self.taken_at = self.station.loop.time()
            self._use(connection)

    async def _connect(self) -> None:
        assert self.pool is not None
        try:
            connection = await self.pool.connect()
        except (OSError, TimeoutError, ssl.SSLError, UnicodeError) as error:
            self.connecting = None
            if not self.ended:
                self.unreachable(error)
                self.tee.wake()
            return
        except Exception:
            self.connecting = None
            report_fault("connecting")
            self.fail()
            return
        self.connecting = None
        if self.ended:
            self.pool.give(connection)
        else:
            self.reused = False
            self._use(connection)

    def _use(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        connection.taker = self
        if self.client.write_paused:
            connection.read(False)
        kept = self.kept or []
        if connection.transport is not None:
            connection.transport.writelines(kept) if len(kept) > 1 else connection.transport.write(kept[0])
        if self.client.held and self.queued <= WAITING_LIMIT:
            self.client.hold(self.client.WAITING, False)
        if not self.reused or self.kept_bytes > KEPT_LIMIT:
            self.kept = None

    def unreachable(self, error: Exception) -> None:
        """No connection could be made."""
        raise NotImplementedError

    def _end(self, outcome: Outcome, detail: str = "") -> None:
        self.ended = True
        self.kept = None
        if not self.number:
            return
        if self.retried and not detail:
            detail = "sent a second time: the idle connection that it was sent on first had been closed"
        done = self.request_body.done
        lost = self.tee.journal.lost_bytes(self.number)
        if done and not lost and not detail and outcome is COMPLETE:
            payload = _COMPLETE_ENDED
        else:
            payload = _encode(Ended(outcome=outcome, detail=detail, request_complete=done, lost_bytes=lost))
        self.tee.append(ENDED, self.number, payload)

    def let_go(self) -> None:
        """Cancel the upstream at once."""
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.drop()


def refused(station: Station, client: ClientConnection, raw: bytes, error: BadHead) -> bytes:
    """Record a request that was not understood, and return the whole response to it."""
    number = station.journal.next_exchange()
    tee = station.tee
    opened = Opened(head=station.redactor.refused(raw), target="", upstream="", upstream_url="", client=client.name)
    body = replies.error_body(client.dialect, error.status, str(error))
    head = replies.error_head(error.status, len(body), close=True)
    tee.append(OPENED, number, _encode(opened))
    tee.append(RESPONSE_HEAD, number, head)
    tee.append(RESPONSE_BYTES, number, body)
    tee.append(ENDED, number, _encode(Ended(outcome=Outcome.REFUSED, detail=str(error), request_complete=False)))
    return head + body
