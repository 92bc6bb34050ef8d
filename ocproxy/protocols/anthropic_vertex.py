"""Anthropic Messages on Vertex AI: `POST …/publishers/anthropic/models/ID:rawPredict` and `:streamRawPredict`.

The bodies are those of the Messages API, with the model in the path and `anthropic_version` in the body; a token count
is a `rawPredict` of the model `count-tokens` and names its model in the body. Source: https://platform.claude.com/docs/en/api/claude-on-vertex-ai.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from ocproxy.model import ModelRequest, Problem
from ocproxy.protocols.anthropic_body import BodyDecoder, read_request
from ocproxy.protocols.base import Protocol, ReplyDecoder
from ocproxy.protocols.request_object import decode_object

_PATH = re.compile(r"/publishers/anthropic/models/([^/]+?)(?::|%3[aA])(rawPredict|streamRawPredict)$")
_COUNT = "count-tokens"


class AnthropicVertex:
    """`ocproxy.protocols.base.Protocol` for Anthropic's models on Vertex AI."""

    name = "anthropic-vertex"

    def matches(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """POST to a model of the publisher anthropic, whatever is before it."""
        return method == "POST" and _PATH.search(path) is not None

    def decode_request(self, path: str, body: bytes) -> tuple[ModelRequest | None, list[Problem]]:
        problems: list[Problem] = []
        value = decode_object(body, problems)
        if value is None:
            return None, problems
        request = read_request(value, _endpoint(path), problems)
        found = _PATH.search(path)
        if found and found[1] != _COUNT and request.model is None:
            request = msgspec.structs.replace(request, model=unquote(found[1]))
        return request, problems

    def reply_decoder(self, path: str, status: int, headers: dict[str, str]) -> ReplyDecoder:
        return BodyDecoder(_endpoint(path), status, headers.get("content-type", ""))


def _endpoint(path: str) -> str:
    found = _PATH.search(path)
    return "count_tokens" if found and found[1] == _COUNT else "generate"


PROTOCOL: Protocol = AnthropicVertex()
