"""The Chat Completions API (platform.openai.com/docs/api-reference/chat), with `reasoning_content` as others add it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import dropwhile
from typing import Any

from ocproxy.demo.script import Script, Step
from tests.support.dialects.openai import CREATED, pieces
from tests.support.dialects.openai import error as error

Json = dict[str, Any]


def claims(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("/chat/completions")


def streams(path: str, request: Json) -> bool:
    return bool(request.get("stream"))


def tools(request: Json) -> list[Json]:
    return request.get("tools") or []


def history(request: Json) -> list[Json]:
    """Consecutive results of tools stay messages of their own, as the wire has them."""
    messages = request.get("messages") or []
    said = dropwhile(lambda message: message["role"] in ("system", "developer"), messages)
    return [_message(message) for message in said]


def _message(message: Json) -> Json:
    role = {"developer": "system", "tool": "user", "function": "user"}.get(message["role"], message["role"])
    if message["role"] == "tool":
        text = _text(message.get("content"))
        block = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": text}
        return {"role": role, "content": [block]}
    blocks: list[Json] = []
    if message.get("reasoning_content"):
        blocks.append({"type": "thinking", "thinking": message["reasoning_content"], "signature": None})
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    blocks += [{"type": "text", "text": p["text"]} for p in parts if p.get("type") == "text" and p.get("text")]
    blocks += [_use(call) for call in message.get("tool_calls") or []]
    return {"role": role, "content": blocks}


def _use(call: Json) -> Json:
    function = call["function"]
    arguments = json.loads(function["arguments"]) if function["arguments"].strip() else {}
    return {"type": "tool_use", "id": call.get("id"), "name": function["name"], "input": arguments}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or [] if part.get("type") == "text")


def compose(request: Json, script: Script, number: int, step: Step) -> Json:
    message: Json = {"role": "assistant", "content": step.text or None, "refusal": None}
    if step.thinking:
        message["reasoning_content"] = step.thinking
    if step.calls:
        message["tool_calls"] = [
            {
                "id": script.call_id(number, place),
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.input, ensure_ascii=False)},
            }
            for place, call in enumerate(step.calls)
        ]
    reason = "tool_calls" if step.calls else "stop"
    return {
        "id": f"chatcmpl-{script.name}-s{number}",
        "object": "chat.completion",
        "created": CREATED,
        "model": request.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": _usage(request, step),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def events(request: Json, reply: Json) -> Iterator[bytes]:
    """Usage comes in a last chunk of its own, without choices, where `stream_options.include_usage` asks for it."""
    choice = reply["choices"][0]
    message = choice["message"]
    yield _chunk(reply, {"role": "assistant", "content": "", "refusal": None})
    for piece in pieces(message.get("reasoning_content") or ""):
        yield _chunk(reply, {"reasoning_content": piece})
    for piece in pieces(message["content"] or ""):
        yield _chunk(reply, {"content": piece})
    for piece in pieces(message.get("refusal") or ""):
        yield _chunk(reply, {"refusal": piece})
    for index, call in enumerate(message.get("tool_calls") or []):
        opening = {"index": index, "id": call["id"], "type": "function"}
        yield _chunk(reply, {"tool_calls": [{**opening, "function": {**call["function"], "arguments": ""}}]})
        for piece in pieces(call["function"]["arguments"]):
            yield _chunk(reply, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield _chunk(reply, {}, choice["finish_reason"])
    if (request.get("stream_options") or {}).get("include_usage"):
        yield _data({**_frame(reply), "choices": [], "usage": reply["usage"]})
    yield b"data: [DONE]\n\n"


def _chunk(reply: Json, delta: Json, reason: str | None = None) -> bytes:
    return _data(
        {**_frame(reply), "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
    )


def _frame(reply: Json) -> Json:
    kept = {name: reply[name] for name in ("id", "created", "model", "service_tier", "system_fingerprint")}
    return {**kept, "object": "chat.completion.chunk"}


def _data(data: Json) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def said(reply: Json) -> Json:
    return _message(reply["choices"][0]["message"])


def usage(reply: Json) -> dict[str, int | None]:
    said = reply["usage"]
    cached = said["prompt_tokens_details"]["cached_tokens"]
    return {
        "input": said["prompt_tokens"] - cached,
        "output": said["completion_tokens"],
        "cache_read": cached,
        "cache_write": None,
    }


def error_event(message: str) -> bytes:
    return _data(error(500, message))


def _usage(request: Json, step: Step) -> Json:
    """Plausible numbers, the same at every run: four characters a token; all but the last message was cached."""
    cached = len(json.dumps(request.get("messages", [])[:-1])) // 4
    prompt = len(json.dumps(request)) // 4
    thought = len(step.thinking) // 4
    output = thought + len(step.text) // 4 + sum(len(json.dumps(call.input)) // 4 for call in step.calls) + 1
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": 0},
    }
