"""The Anthropic Messages API (platform.claude.com/docs/en/api/messages). Replies are those of the demo's provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ocproxy.demo import reply as anthropic
from ocproxy.demo.script import Script, Step

Json = dict[str, Any]

_KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}


def claims(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("/messages")


def streams(path: str, request: Json) -> bool:
    return bool(request.get("stream"))


def history(request: Json) -> list[Json]:
    messages: list[Json] = request.get("messages") or []
    return messages


def tools(request: Json) -> list[Json]:
    return request.get("tools") or []


def compose(request: Json, script: Script, number: int, step: Step) -> Json:
    return anthropic.compose(request, script, number, step)


def events(request: Json, reply: Json) -> Iterator[bytes]:
    return anthropic.events(reply)


def said(reply: Json) -> Json:
    return {"role": "assistant", "content": reply["content"]}


def usage(reply: Json) -> dict[str, int | None]:
    said = reply["usage"]
    return {
        "input": said["input_tokens"],
        "output": said["output_tokens"],
        "cache_read": said["cache_read_input_tokens"],
        "cache_write": said["cache_creation_input_tokens"],
    }


def error(status: int, message: str) -> Json:
    return anthropic.error(_KINDS.get(status, "api_error"), message)


def error_event(message: str) -> bytes:
    return f"event: error\ndata: {json.dumps(anthropic.error('overloaded_error', message))}\n\n".encode()
