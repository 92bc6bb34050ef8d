"""Upgraded connections of a protocol that is known: the calls in them, each told when it ends."""

from __future__ import annotations

import traceback

from ocproxy.exchange import Ended, Kind, Opened, Outcome, Record
from ocproxy.ingest.interpret import protocols
from ocproxy.model import Problem
from ocproxy.protocols import http1
from ocproxy.protocols.base import SocketCall, SocketProtocol
from ocproxy.protocols.websocket import SocketStream, agreed_deflate


def connection_of(opened: Opened, head: bytes) -> Connection | None:
    """The connection that this exchange became with this response head; None when it did not, or its protocol is not
    known."""
    response = http1.parse_response_head(head)
    if response.status != 101 or response.fields.get("upgrade", "").lower() != "websocket":
        return None
    request = http1.parse_request_head(opened.head)
    path = opened.target.partition("?")[0]
    for protocol in protocols():
        if isinstance(protocol, SocketProtocol) and protocol.matches(request.method, path, request.fields):
            return Connection(protocol, head, response.fields.get("sec-websocket-extensions", ""))
    return None


class Connection:
    """One connection. `head` is the response that opened it, `told` how many calls it has given."""

    def __init__(self, protocol: SocketProtocol, head: bytes, extensions: str) -> None:
        self.head = head
        self.told = 0
        deflate = agreed_deflate(extensions)
        self._client = SocketStream(deflate.keeps_client if deflate else None)
        self._server = SocketStream(deflate.keeps_server if deflate else None)
        self._calls = protocol.socket_calls()
        self._last: list[SocketCall] | None = None
        self._failure: list[Problem] = []

    @property
    def size(self) -> int:
        """Bytes that are held, approximately."""
        return self._client.size + self._server.size + self._calls.size

    @property
    def problems(self) -> list[Problem]:
        """What no call has told."""
        return [*self._client.problems, *self._server.problems, *self._calls.problems, *self._failure]

    def feed(self, record: Record) -> list[SocketCall]:
        """Take bytes of one direction. Returns the calls that they end. A mistake of ours costs what follows in this
        connection, and is told as a problem of it."""
        if self._failure:
            return []
        try:
            found = self._feed(record)
        except Exception as error:  # one bad message must not hold up the journal, whatever was not foreseen
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename.rpartition('ocproxy/')[2]}:{place.lineno}"
            self._failure.append(Problem("internal_error", f"{type(error).__name__}: {error} ({where})"))
            return []
        self.told += len(found)
        return found

    def _feed(self, record: Record) -> list[SocketCall]:
        if record.kind == Kind.CLIENT_BYTES:
            messages = self._client.feed(record.payload)
            return [call for m in messages for call in self._calls.client(m.data, record.wall_ns)]
        messages = self._server.feed(record.payload)
        return [call for m in messages for call in self._calls.server(m.data, record.wall_ns)]

    def lose(self) -> None:
        """Bytes of it are missing from the record here."""
        self._client.lose()
        self._server.lose()

    def end(self, at: int) -> list[SocketCall]:
        """It is over. Returns the calls that were under way; the same ones when asked again."""
        if self._last is None:
            self._last = self._calls.close(at)
            self.told += len(self._last)
        return self._last

    def end_of(self, call: SocketCall, ended: Ended) -> Ended:
        """How a call ended, in a connection that ended so: the relay cannot know that something was missing."""
        if call.is_ended:
            return Ended(Outcome.COMPLETE)
        if ended.outcome is not Outcome.COMPLETE:
            return ended
        if self._client.is_closed:
            return Ended(Outcome.CLIENT_DISCONNECTED, "the client closed the WebSocket before the end of the response")
        return Ended(Outcome.UPSTREAM_DISCONNECTED, "the WebSocket ended before the response did")
