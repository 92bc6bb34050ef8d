"""The contract of a protocol: bytes of one exchange in, values of `ocproxy.model` out. No IO, no clock, no state kept.

A protocol module defines `PROTOCOL`, an object of this shape. Nothing in it raises on bad input: what is not
understood becomes a Problem, an Opaque part, or `complete=False`.
"""

from __future__ import annotations

from typing import Protocol as Shape

from ocproxy.model import Delta, ModelRequest, Problem, Reply


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
