"""The contract of a protocol: bytes of one exchange in, values of `ocproxy.model` out. No IO, no clock, no state kept.

A protocol module defines `PROTOCOL`, an object of this shape. Nothing in it raises on bad input: what is not
understood becomes a Problem, an Opaque part, or `complete=False`.
"""

from __future__ import annotations

from typing import Protocol as Shape
from typing import runtime_checkable

import msgspec

from ocproxy.model import Delta, ModelRequest, Problem, Reply

# Kind of an Opaque part that stands for one that was said before: the `id` in its `raw` is that in the other's `extra`.
REFERENCE = "item_reference"


class ReplyDecoder(Shape):
    """Decodes one response body. Any cutting of the same bytes gives the same deltas (joined) and the same reply."""

    problems: list[Problem]

    def feed(self, data: bytes) -> list[Delta]:
        """Take body bytes (framing and content coding removed). Returns what they add; an empty list is "not yet"."""
        ...

    def close(self) -> Reply:
        """The reply as far as it came. `complete` is False when the protocol's own end was not seen."""
        ...


class Protocol(Shape):
    """One wire protocol."""

    name: str  # "anthropic-messages"

    def matches(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """Whether a request is of this protocol. `path` has no query; `headers` have lower-case names."""
        ...

    def decode_request(self, path: str, body: bytes) -> tuple[ModelRequest | None, list[Problem]]:
        """Decode a request body (framing and content coding removed)."""
        ...

    def reply_decoder(self, path: str, status: int, headers: dict[str, str]) -> ReplyDecoder:
        """A fresh decoder for the response with this head (lower-case names): JSON, event stream or error."""
        ...


class SocketCall(msgspec.Struct, frozen=True):
    """One call of an upgraded connection. Times are those that were given with its messages."""

    ordinal: int  # from 1, in the order in which the connection's calls ended
    request: bytes  # a body for `Protocol.decode_request` of the same path, with the whole history where it is known
    response: bytes  # a body for `Protocol.reply_decoder`
    began: int
    answered: int | None  # the first message of the answer
    ended: int
    is_ended: bool  # the protocol's own end was seen
    sizes: tuple[int, int]  # bytes of its messages: the client's, the server's
    problems: tuple[Problem, ...] = ()


class SocketCalls(Shape):
    """The messages of one upgraded connection, in the order in which they crossed the wire, put together to calls."""

    problems: list[Problem]  # of messages that belong to no call yet

    @property
    def size(self) -> int:
        """Bytes that are held, approximately. It has a bound."""
        ...

    def client(self, message: bytes, at: int) -> list[SocketCall]:
        """Take a message of the client. Returns the calls that it ends."""
        ...

    def server(self, message: bytes, at: int) -> list[SocketCall]:
        """Take a message of the server. Returns the calls that it ends."""
        ...

    def close(self, at: int) -> list[SocketCall]:
        """The connection is over. Returns the calls that were under way, as far as they came."""
        ...


@runtime_checkable
class SocketProtocol(Protocol, Shape):
    """A wire protocol that also speaks over WebSockets: `matches` takes the request that asks for the upgrade."""

    def socket_calls(self) -> SocketCalls:
        """A fresh one, for one connection."""
        ...
