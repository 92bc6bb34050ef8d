"""Replies of the Anthropic Messages API, as JSON and as an event stream. Pure.

Shapes as in the API reference, pages "Messages" and "Streaming messages" (docs.anthropic.com/en/api/messages and
docs.anthropic.com/en/api/messages-streaming).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from ocproxy.demo.script import Script, Step

Json = dict[str, Any]

_PIECE = 24  # characters of a delta: long texts must arrive in several, short ones stay readable in a dump


def compose(request: Json, script: Script, number: int, step: Step) -> Json:
    """The whole reply to `request`: the JSON body of an answer that is not streamed."""
    content: list[Json] = []
    if step.thinking and (request.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
        content.append({"type": "thinking", "thinking": step.thinking, "signature": _signature(step.thinking)})
    if step.text:
        content.append({"type": "text", "text": step.text})
    for place, call in enumerate(step.calls):
        content.append(
            {"type": "tool_use", "id": script.call_id(number, place), "name": call.name, "input": call.input}
        )
    return {
        "id": f"msg_{script.name}_s{number}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model"),
        "content": content,
        "stop_reason": "tool_use" if step.calls else "end_turn",
        "stop_sequence": None,
        "usage": _usage(request, content),
    }


def events(reply: Json) -> Iterator[bytes]:
    """The same reply as server-sent events, one item each."""
    usage = reply["usage"]
    started = {**reply, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield _event({"type": "message_start", "message": started})
    yield _event({"type": "ping"})
    for index, block in enumerate(reply["content"]):
        empty, deltas = _DELTAS[block["type"]](block)
        yield _event({"type": "content_block_start", "index": index, "content_block": empty})
        for delta in deltas:
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": reply["stop_reason"], "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": delta, "usage": usage})
    yield _event({"type": "message_stop"})


def error(kind: str, message: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _event(data: Json) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _of_thinking(block: Json) -> tuple[Json, list[Json]]:
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
    deltas.append({"type": "signature_delta", "signature": block["signature"]})
    return {"type": "thinking", "thinking": "", "signature": ""}, deltas


def _of_text(block: Json) -> tuple[Json, list[Json]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]


def _of_tool_use(block: Json) -> tuple[Json, list[Json]]:
    # The first delta is empty with the real API too.
    pieces = ["", *_pieces(json.dumps(block["input"], ensure_ascii=False))]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


_DELTAS = {"thinking": _of_thinking, "text": _of_text, "tool_use": _of_tool_use}


def _pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def _signature(thinking: str) -> str:
    return base64.b64encode(hashlib.sha256(thinking.encode()).digest() * 3).decode()


def _usage(request: Json, content: list[Json]) -> Json:
    """Plausible numbers, the same at every run: four characters a token; what was sent before comes from the cache."""
    last = len(json.dumps(request.get("messages", [])[-1:])) // 4
    before = len(json.dumps(request)) // 4 - last
    return {
        "input_tokens": 3,
        "cache_creation_input_tokens": last,
        "cache_read_input_tokens": before,
        "cache_creation": {"ephemeral_5m_input_tokens": last, "ephemeral_1h_input_tokens": 0},
        "output_tokens": len(json.dumps(content)) // 4,
        "service_tier": "standard",
    }
