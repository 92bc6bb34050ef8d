"""One exchange between a client and an upstream: forwards, records, ends in exactly one outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ocproxy.exchange import Outcome
from ocproxy.relay import replies
from ocproxy.relay.delivery import COMPLETE, Delivery
from ocproxy.relay.descriptors import shortage
from ocproxy.relay.framing import HEAD_END, HEAD_LIMIT, NO_BODY, Body, FramingError, Judge, NoBody
from ocproxy.relay.head import RequestHead, ResponseHead, read_response
from ocproxy.relay.routes import CONTROL, Route
from ocproxy.relay.station import Station
from ocproxy.relay.tee import CLIENT_BYTES, REQUEST_BYTES, RESPONSE_BYTES, RESPONSE_HEAD, SERVER_BYTES

if TYPE_CHECKING:
    from ocproxy.relay.client import ClientConnection

# Up to this many bytes are joined to the head in front of them: one system call instead of two is worth the copy.
JOIN_LIMIT: Final = 16384
WHOLE: Final = NoBody()  # a response that came in one chunk, body and all
# The longest round trip to a provider that we reckon with, many times over.
STALE_SECONDS = 1.0


class Transfer(Delivery):
    """One exchange: its response, and its end."""

    __slots__ = ("body", "client_done", "partial", "responded", "response", "tunnel", "unchanged", "upstream_done")

    def __init__(self, station: Station, client: ClientConnection, head: RequestHead, route: Route) -> None:
        super().__init__(station, client, head, route)
        self.responded = False  # a byte of the response came
        self.partial = b""  # of a response head
        self.response: ResponseHead | None = None
        self.body: Body | None = None  # of the response
        self.tunnel = False
        self.unchanged = False  # the head of the response goes on as it came
        self.client_done = self.upstream_done = False  # said that no more will come through the tunnel

    # --- the request ------------------------------------------------------------------------------

    def start(self, body: Body | None, early: bytes) -> int:
        """Record the request head and send it on, with the body bytes that came in the same chunk (`early`); `body`
        None: these are the whole body. Returns how many of them belong to this exchange."""
        pool, head = self.pool, self.head
        control = self.route.upstream == CONTROL
        target = self.route.target if pool is None or not pool.base else pool.base + self.route.target
        self.request_body = NO_BODY if body is None else body
        if not control:
            self.open(target)
            if body is None:
                self.tee.append(REQUEST_BYTES, self.number, early)
        if pool is None:
            self.answer(503, "the control process is not configured", Outcome.UPSTREAM_UNREACHABLE)
            return len(early) if body is None else 0
        if self.tee.full and not control:
            self.answer(503, "the journal cannot be written and on_full is refuse", Outcome.REFUSED)
            return len(early) if body is None else 0
        forwarded = head.forwarded(target, None if control else pool.authority)
        head.release()
        if body is None and len(early) <= JOIN_LIMIT:
            self.deliver(forwarded + early)
            return len(early)
        self.deliver(forwarded)
        if body is None:
            self.deliver(early)
            return len(early)
        return self.request_data(early) if early and not body.done else 0

    def request_data(self, data: bytes) -> int:
        """Bytes from the client. Returns how many of them belong to this exchange; the rest is the next request's."""
        if self.tunnel:
            self.tee.append(CLIENT_BYTES, self.number, data)
            self.deliver(data)
            return len(data)
        try:
            taken = self.request_body.take(data)
        except FramingError as error:
            if self.number:
                self.tee.append(REQUEST_BYTES, self.number, data)
            self.break_off(400, f"the request's body is broken: {error}", Outcome.REFUSED)
            return len(data)
        if taken < len(data):
            data = data[:taken]
        if self.number:
            self.tee.append(REQUEST_BYTES, self.number, data)
        if not self.ended:
            self.deliver(data)
        return taken

    def unreachable(self, error: Exception) -> None:
        if self.route.upstream == CONTROL:
            self.answer(503, "the control process is away for the moment; try again soon", Outcome.UPSTREAM_UNREACHABLE)
            return
        said = shortage(error) or str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            said = "no connection in time"
        url = self.pool.url if self.pool else ""
        message = f"the upstream {self.route.upstream} ({url}) cannot be reached: {said}"
        self.answer(502, message, Outcome.UPSTREAM_UNREACHABLE)

    # --- the response -----------------------------------------------------------------------------

    def response_data(self, data: bytes, before: bytes = b"") -> None:
        """Bytes from the upstream. `before` is sent in front of them; it is recorded already."""
        try:
            body = self.body
            if body is None:
                if self.tunnel:
                    self._pass_through(data)
                else:
                    self._read_heads(data)
                return
            taken = body.take(data)
            if taken < len(data):
                data = data[:taken]
                if self.connection is not None:
                    self.connection.reusable = False  # bytes beyond the end: nothing more of it is believed
            if self.number:
                self.tee.append(RESPONSE_BYTES, self.number, data)
            if before:
                data = before + data
            if body.done:
                self._complete(data)
            else:
                self.tee.forward_soon(self, self.client.send, data)
        except FramingError as error:
            self.break_off(502, f"the upstream's response is broken: {error}", Outcome.UPSTREAM_DISCONNECTED)

    def _pass_through(self, data: bytes) -> None:
        self.tee.append(SERVER_BYTES, self.number, data)
        self.tee.forward_soon(self, self.client.send, data)

    def _read_heads(self, data: bytes) -> None:
        self.responded = True
        self.kept = None
        if self.partial:
            data = self.partial + data
            self.partial = b""
        while data and not self.ended:
            end = data.find(HEAD_END)
            if end > HEAD_LIMIT or (end < 0 and len(data) > HEAD_LIMIT):
                raise FramingError(f"its head is larger than {HEAD_LIMIT} bytes")
            if end < 0:
                Judge(response=True).feed_part(data)
                self.partial = data
                return
            out = self._take_head(data, end + 4)
            if self.body is WHOLE:
                self._take_whole(out, data, end + 4)
                return
            if self.body is not None:
                self._begin_body(out, data[end + 4 :])
                return
            data = data[end + 4 :]
            if out:
                self.tee.forward(self, self.client.send, out)
            if self.tunnel:
                self.client.begin_tunnel()
                if data:
                    self._pass_through(data)
                return

    def _take_head(self, data: bytes, end: int) -> bytes:
        """Record the response head `data[:end]`; returns what the client gets of it."""
        connection = self.connection
        assert connection is not None
        head, body = read_response(data, end, connection.judge, self.head.method)
        if self.number:
            self.tee.append(RESPONSE_HEAD, self.number, head.redacted(self.station.redactor))
        if head.status < 200:
            if head.tunnel:
                if not self.head.upgrade:
                    raise FramingError("it switches protocols without having been asked")
                self.tunnel = True
                self.response = head
            connection.judge = Judge(response=True)
            # HTTP/1.0 knows no interim responses, RFC 9110 section 15.2.
            return head.forwarded(close=False) if self.head.version else b""
        self.response = head
        kind = type(body)
        if kind is Body or body is NO_BODY:
            connection.judge = Judge(response=True)  # llhttp does not know of HEAD; these are too rare to care
        self.body = WHOLE if body is None else body
        close = self.head.close or self.station.draining or kind is Body or not self.request_body.done
        out = head.forwarded(close=close and head.version == 1)
        self.unchanged = out is head.raw
        head.release()
        return out

    def _take_whole(self, out: bytes, data: bytes, end: int) -> None:
        """The response came in one piece, `data`: its head ends at `end`, and the client gets `out` of that."""
        rest = data[end:]
        if self.number:
            self.tee.append(RESPONSE_BYTES, self.number, rest)
        self._complete(data if self.unchanged else out + rest)

    def _begin_body(self, out: bytes, data: bytes) -> None:
        body = self.body
        assert body is not None and self.connection is not None
        if body.done:
            self.connection.reusable = not data
            self._complete(out)
        elif data and len(data) <= JOIN_LIMIT:
            self.response_data(data, out)
        else:
            self.tee.forward(self, self.client.send, out)
            if data:
                self.response_data(data)

    def _complete(self, last: bytes) -> None:
        """The response ended by its own framing; `last` are its last bytes, recorded already."""
        connection, self.connection = self.connection, None
        request_done = self.request_body.done
        if connection is not None:
            response = self.response
            sent = request_done and not self.queued  # else the upstream waits for bytes that will not come
            if sent and response and response.keep_alive and connection.reusable and type(self.body) is not Body:
                connection.pool.give(connection)
            else:
                connection.drop()
        self._end(COMPLETE)
        self.tee.forward_synced(self, self._finish, last)

    def _finish(self, last: bytes) -> None:
        if last:
            self.client.send(last)
        response = self.response
        close = self.head.close or type(self.body) is Body or response is None or response.version == 0
        self.client.finish(self, close=close)

    # --- ends -------------------------------------------------------------------------------------

    def answer(self, status: int, message: str, outcome: Outcome) -> None:
        """End with a response of our own. Only while the client got nothing of another final response."""
        self.let_go()
        body = replies.error_body(self.route.dialect, status, message)
        head = replies.error_head(status, len(body), close=True)
        if self.head.method == b"HEAD":
            body = b""
        if self.number:
            self.tee.append(RESPONSE_HEAD, self.number, head)
            if body:
                self.tee.append(RESPONSE_BYTES, self.number, body)
        self._end(outcome, message)
        self.head.close = True
        self.tee.forward_synced(self, self._finish, head + body)

    def break_off(self, status: int, message: str, outcome: Outcome) -> None:
        """End what cannot go on: with an error response when none has begun, else without any clean end."""
        if self.ended:
            return
        if self.response is None:
            self.answer(status, message, outcome)
            return
        self.let_go()
        self._end(outcome, message)
        # Without any framing only a reset tells the client that this is not the end.
        self.tee.forward(self, self.client.break_off, type(self.body) is Body)

    def client_gone(self) -> None:
        """The client went away."""
        if self.ended:
            return
        if self.tunnel:
            self._end(Outcome.COMPLETE, "the client closed the upgraded connection")
        else:
            self._end(Outcome.CLIENT_DISCONNECTED, "the client went away before the end of the response")
        self.let_go()
        self.tee.wake()

    def client_eof(self) -> bool:
        """The client will send no more into the tunnel. False: then it is over, or that cannot be told to the
        upstream."""
        transport = self.connection.transport if self.connection is not None else None
        self.client_done = True
        if self.upstream_done or transport is None or not transport.can_write_eof():
            return False
        self.tee.forward_synced(self, self._write_eof, None)
        return True

    def _write_eof(self, _: None) -> None:
        if self.connection is not None and self.connection.transport is not None:
            self.connection.transport.write_eof()

    def upstream_eof(self) -> bool:
        """The upstream will send no more. True: the other direction of a tunnel goes on."""
        if not self.tunnel or self.client_done or (self.pool is not None and self.pool.tls):
            return False
        self.upstream_done = True
        self.tee.forward(self, self.client.send_eof, None)
        return True

    def upstream_gone(self, error: Exception | None) -> None:
        """The upstream closed the connection."""
        self.connection = None
        if self.ended:
            return
        if self.tunnel:
            self._end(Outcome.COMPLETE if error is None else Outcome.UPSTREAM_DISCONNECTED, str(error or ""))
            self.tee.forward(self, self.client.break_off, error is not None)
        elif type(self.body) is Body and error is None:
            self._complete(b"")
        elif self._was_stale() and not self.responded and not self.retried and self.kept is not None:
            self.retried = True
            self.find_connection()
        else:
            said = f" ({error})" if error else ""
            where = "in the middle of" if self.response else "before"
            message = f"the upstream {self.route.upstream} closed the connection {where} its response{said}"
            self.break_off(502, message, Outcome.UPSTREAM_DISCONNECTED)
        self.tee.wake()

    def _was_stale(self) -> bool:
        """Whether the connection was an idle one that had been closed before the request reached the other end.

        Then its end comes within a round trip. Later, the upstream may have worked on the request: a POST that is sent
        again would be done twice (RFC 9110, 9.2.2).
        """
        return self.reused and self.station.loop.time() - self.taken_at < STALE_SECONDS

    def upstream_full(self, full: bool) -> None:
        """Whether the upstream takes less than the client sends."""
        self.client.hold(self.client.UPSTREAM_FULL, full)

    def drained(self) -> None:
        """ocproxy stops and the time to drain ran out."""
        if not self.ended:
            self._end(Outcome.DRAINED, "ocproxy was stopped and the time to drain ran out")
        self.let_go()
        self.tee.forward(self, self.client.break_off, True)

    def refuse_unrecorded(self) -> None:
        """What was to be forwarded could not be recorded, and the user chose to refuse then."""
        self.let_go()
        if not self.ended:
            self._end(Outcome.REFUSED, "the journal could not be written and on_full is refuse")
        if self.client.wrote:
            self.client.break_off(True)
            return
        message = "the journal cannot be written and on_full is refuse"
        body = replies.error_body(self.route.dialect, 503, message)
        self.client.send(replies.error_head(503, len(body), close=True) + body)
        self.client.finish(self, close=True)

    def fail(self) -> None:
        """A fault of our own."""
        if not self.ended:
            self._end(Outcome.UPSTREAM_DISCONNECTED, "broken off by a fault in ocproxy; its log has the details")
        self.let_go()
        self.client.break_off(True)
        self.tee.wake()
