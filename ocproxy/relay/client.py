"""The connection of one client: requests one after the other, each served before the next is looked at."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, ClassVar, cast

from ocproxy.relay import peer, replies, routes
from ocproxy.relay.delivery import refused
from ocproxy.relay.framing import HEAD_END, HEAD_LIMIT, NO_BODY, FramingError, Judge
from ocproxy.relay.head import BadHead, read_request
from ocproxy.relay.station import Station
from ocproxy.relay.tee import report_fault
from ocproxy.relay.transfer import Transfer

# Bytes that the kernel did not take at once: with any, reading from the upstream pauses. The kernel's own buffer is
# large enough to keep a client busy, and only with this uvloop writes at once. Else it writes when all sockets that
# are ready were read (measured at 500 streams: 0.04 ms later, and 2 us more of CPU for an event).
WRITE_BUFFER = 0
PIPELINE_LIMIT = 65536  # bytes of requests to come, before reading pauses: pipelining clients send small requests
# After an answer that does not wait for the rest of a request the rest is read and dropped for so long: closing at once
# would reset the connection under the answer (RFC 9112 section 9.6).
LINGER_SECONDS = 2.0
# How soon, and then how often, a half-closed client is looked at again. The kernel sends the FIN of a closing socket an
# instant before it takes its inode away.
LOOK_FIRST, LOOK_AGAIN = 0.05, 1.0


class ClientConnection:
    """Reads requests, hands them to a Transfer, and keeps their order. Has the methods of asyncio.Protocol."""

    __slots__ = (
        "_buffer", "_eof", "_judge", "_linger", "dialect", "held", "name", "station", "transfer", "transport",
        "write_paused", "wrote",
    )  # fmt: skip

    # Reasons to pause reading.
    UPSTREAM_FULL: ClassVar[int] = 1
    WAITING: ClassVar[int] = 2
    PIPELINED: ClassVar[int] = 4
    number: ClassVar[int] = -1  # for the tee: a refusal of our own is an exchange that is recorded

    def __init__(self, station: Station) -> None:
        self.station = station
        self.transport: asyncio.Transport | None = None
        self.transfer: Transfer | None = None
        self.name = ""
        self.dialect = "openai"  # of the last request: what an unreadable one is answered in
        self.held = 0
        self.write_paused = False
        self.wrote = False  # a byte of the response to the current request was sent
        self._judge = Judge()
        self._buffer = bytearray()
        self._eof = False
        self._linger: asyncio.TimerHandle | None = None

    # --- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(WRITE_BUFFER)
        address = transport.get_extra_info("peername")
        self.name = f"{address[0]}:{address[1]}" if address else "?"
        self.station.clients.add(self)
        if self.station.draining:
            transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            while data:
                transfer = self.transfer
                if transfer is None:
                    data = self._read_head(data)
                elif transfer.tunnel or not transfer.request_body.done:
                    taken = transfer.request_data(data)
                    data = data[taken:] if taken < len(data) else b""
                else:
                    self._keep(data)
                    return
        except Exception:
            self._failed("reading a request")

    def eof_received(self) -> bool:
        self._eof = True
        transfer = self.transfer
        if transfer is None or self._linger is not None:
            return False
        if transfer.tunnel and transfer.client_eof():
            return True
        if not transfer.tunnel and transfer.request_body.done and self._still_waits():
            self.station.loop.call_later(LOOK_FIRST, self._look, transfer)
            return True
        transfer.client_gone()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.station.clients.discard(self)
        if self._linger is not None:
            self._linger.cancel()
        transfer, self.transfer = self.transfer, None
        if transfer is not None:
            transfer.client_gone()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.transfer is not None and self.transfer.connection is not None:
            self.transfer.connection.read(False)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.transfer is not None and self.transfer.connection is not None:
            self.transfer.connection.read(True)

    # --- requests ---------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> bytes:
        """Begin the request whose head ends in `data`. Returns what is not used yet; b"" when no head ends here."""
        if self._linger is not None:
            return b""
        buffer = self._buffer
        if buffer or data[0] in b"\r\n":
            start = max(0, len(buffer) - 3)
            buffer += data
            while buffer.startswith(b"\r\n"):  # RFC 9112 section 2.2: empty lines before a request are ignored
                del buffer[:2]
                start = 0
            end = buffer.find(HEAD_END, start)
            data = bytes(buffer)
            if end >= 0:
                buffer.clear()
        else:
            end = data.find(HEAD_END)
            if end < 0:
                buffer += data
        try:
            if end > HEAD_LIMIT or (end < 0 and len(data) > HEAD_LIMIT):
                raise BadHead(431, f"the request's head is larger than {HEAD_LIMIT} bytes")
            if end >= 0:
                return self._serve(data, end + 4)
            if data:
                _expect_request(data)
        except BadHead as error:
            self.transfer = None
            self._refuse(data if end < 0 else data[: end + 4], error)
        return b""

    def _serve(self, data: bytes, end: int) -> bytes:
        """Begin what the head `data[:end]` asks for. Returns what of the data behind it is not used yet."""
        station = self.station
        judge = self._judge
        head, body = read_request(data, end, judge)
        target = routes.origin_form(head.target, station.own)
        if target is None and head.target == b"*":
            raise BadHead(400, "the target * names no path, so no upstream can be chosen for it")
        if target is None:
            raise BadHead(400, "the target names another server; upstreams come from ocproxy's configuration only")
        if judge.upgrade:
            self._judge = Judge()  # llhttp stops at an upgrade
        self.wrote = False
        if target == b"/healthz" and body is NO_BODY and head.method in (b"GET", b"HEAD"):
            self._say_healthy(head.method == b"GET", head.close)
            return data[end:]
        route = routes.choose(target, head.hints, station.names, station.default_upstream)
        self.dialect = route.dialect
        self.transfer = transfer = Transfer(station, self, head, route)
        early = data[end:]
        taken = transfer.start(body, early)
        return early[taken:] if taken < len(early) else b""

    def _say_healthy(self, body: bool, close: bool) -> None:
        self.send(replies.HEALTHY + (replies.HEALTHY_BODY if body else b""))
        if close and self.transport is not None:
            self.transport.close()

    def _refuse(self, raw: bytes, error: BadHead) -> None:
        station = self.station
        self._buffer.clear()
        self._start_linger()
        station.tee.forward(self, self._send_last, refused(station, self, raw, error))

    def _send_last(self, data: bytes) -> None:
        self.send(data)
        self.send_eof(None)

    def _keep(self, data: bytes) -> None:
        """Bytes of a later request."""
        if self._linger is not None:
            return
        self._buffer += data
        if len(self._buffer) > PIPELINE_LIMIT:
            self.hold(self.PIPELINED, True)

    def begin_tunnel(self) -> None:
        """From now on all bytes belong to the current exchange; those that came early too."""
        early = bytes(self._buffer)
        self._buffer.clear()
        self.hold(self.PIPELINED, False)
        if early and self.transfer is not None:
            self.transfer.request_data(early)

    def finish(self, transfer: Transfer, *, close: bool) -> None:
        """The exchange is over and its last byte was handed to the kernel."""
        if self.transfer is not transfer:
            return
        self.transfer = None
        if self.transport is None or self.transport.is_closing():
            return
        if not transfer.request_body.done:
            self._start_linger()
            self.send_eof(None)
            self.hold(self.UPSTREAM_FULL | self.WAITING | self.PIPELINED, False)
        elif close or (self.station.draining and not self._buffer) or (self._eof and not self._buffer):
            self.transport.close()
        else:
            if self.held:
                self.hold(self.UPSTREAM_FULL | self.WAITING | self.PIPELINED, False)
            if self._buffer:
                data = bytes(self._buffer)
                self._buffer.clear()
                self.data_received(data)
                if self._eof:
                    self._close_unless_serving()

    # --- responses --------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bytes for the client, in the journal already."""
        self.wrote = True
        transport = self.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def send_eof(self, _: None) -> None:
        """No more bytes will come; what the client sends is still read."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def break_off(self, reset: bool) -> None:
        """Close the connection in mid-response; `reset` where only that shows that the end is missing."""
        self.transfer = None
        if self.transport is None:
            return
        if reset:
            connected = self.transport.get_extra_info("socket")
            if connected is not None:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.close()

    def hold(self, reason: int, wanted: bool) -> None:
        """Pause reading for `reason`, or no longer for it."""
        before = self.held
        self.held = before | reason if wanted else before & ~reason
        if bool(before) == bool(self.held) or self.transport is None or self.transport.is_closing():
            return
        if self.held:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    # --- ends -------------------------------------------------------------------------------------

    def close_if_idle(self) -> None:
        """For draining: end a connection that serves nothing."""
        if self.transfer is None and not self._buffer and self.transport is not None:
            self.transport.close()

    def _close_unless_serving(self) -> None:
        """The client sends no more: what is left of a request will never be whole."""
        if self.transfer is None and self.transport is not None:
            self.transport.close()

    def _start_linger(self) -> None:
        if self._linger is None:
            self._linger = self.station.loop.call_later(LINGER_SECONDS, self._abort)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _still_waits(self) -> bool:
        transport = self.transport
        if transport is None:
            return False
        return peer.still_waits(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))

    def _look(self, transfer: Transfer) -> None:
        if self.transfer is not transfer:
            return
        if self._still_waits():
            self.station.loop.call_later(LOOK_AGAIN, self._look, transfer)
        else:
            transfer.client_gone()
            self._abort()

    def _failed(self, doing: str) -> None:
        report_fault(doing)
        if self.transfer is not None:
            self.transfer.fail()
        else:
            self.break_off(True)

    def refuse_unrecorded(self) -> None:
        """A refusal that could not be recorded: nothing was forwarded, so just end."""
        self.break_off(True)

    def fail(self) -> None:
        """A fault of our own while answering."""
        self.break_off(True)


def accept(station: Station) -> asyncio.Protocol:
    """What serves a new connection. It is no subclass: the base class would keep mypyc from compiling it well."""
    return cast(asyncio.Protocol, ClientConnection(station))


def _expect_request(data: bytes) -> None:
    """Raise BadHead when `data`, the beginning of a head, can never become one: nobody waits for its end then."""
    try:
        Judge().feed_part(data)
    except FramingError as error:
        raise BadHead(400, f"this is not a valid HTTP/1.1 request: {error}") from None
