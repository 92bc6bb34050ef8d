"""The Anthropic Messages protocol: `POST …/messages` and `POST …/messages/count_tokens`, JSON and event streams.

Source: the API reference, https://platform.claude.com/docs/en/api/messages.
"""

from __future__ import annotations

from ocproxy.model import ModelRequest, Problem
from ocproxy.protocols.anthropic_body import BodyDecoder, read_request
from ocproxy.protocols.base import Protocol, ReplyDecoder
from ocproxy.protocols.request_object import decode_object


class AnthropicMessages:
    """`ocproxy.protocols.base.Protocol` for the Anthropic Messages API."""

    name = "anthropic-messages"

    def matches(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """POST to a path that ends in /messages or /messages/count_tokens, whatever is before it."""
        if method != "POST" or not path.endswith(("/messages", "/messages/count_tokens")):
            return False
        # The Assistants API of another provider has /threads/ID/messages.
        return "/threads/" not in path or "anthropic-version" in headers

    def decode_request(self, path: str, body: bytes) -> tuple[ModelRequest | None, list[Problem]]:
        problems: list[Problem] = []
        value = decode_object(body, problems)
        return (read_request(value, _endpoint(path), problems) if value is not None else None), problems

    def reply_decoder(self, path: str, status: int, headers: dict[str, str]) -> ReplyDecoder:
        return BodyDecoder(_endpoint(path), status, headers.get("content-type", ""))


def _endpoint(path: str) -> str:
    return "count_tokens" if path.partition("?")[0].endswith("/count_tokens") else "generate"


PROTOCOL: Protocol = AnthropicMessages()
