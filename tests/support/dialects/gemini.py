"""The Gemini API (ai.google.dev/api/generate-content): generateContent and streamGenerateContent with `alt=sse`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from ocproxy.demo.script import Script, Step

Json = dict[str, Any]

_PIECE = 24  # characters of a part
_SIGNATURE = base64.b64encode(b"a scripted thought").decode()


def claims(method: str, path: str) -> bool:
    return method == "POST" and path.endswith((":generateContent", ":streamGenerateContent"))


def streams(path: str, request: Json) -> bool:
    return path.endswith(":streamGenerateContent")


def tools(request: Json) -> list[Json]:
    given = request.get("tools") or []
    return [
        one for tool in given for one in tool.get("functionDeclarations") or tool.get("function_declarations") or []
    ]


def history(request: Json) -> list[Json]:
    """Calls and results without ids have "" for one. Names of fields may have underscores (litellm)."""
    return [_message(content) for content in request.get("contents") or []]


def _message(content: Json) -> Json:
    blocks: list[Json] = []
    for part in content.get("parts") or []:
        if call := part.get("functionCall") or part.get("function_call"):
            given = call.get("args") or {}
            blocks.append({"type": "tool_use", "id": call.get("id") or "", "name": call["name"], "input": given})
        elif result := part.get("functionResponse") or part.get("function_response"):
            blocks.append(_result(result))
        elif part.get("thought"):
            blocks.append({"type": "thinking", "thinking": part.get("text", ""), "signature": None})
        elif part.get("text"):
            blocks.append({"type": "text", "text": part["text"]})
    return {"role": "assistant" if content.get("role") == "model" else "user", "content": blocks}


def _result(result: Json) -> Json:
    said = result.get("response") or {}
    names = ("output", "content", "error", "result", "return_value")  # the last one: Pydantic AI
    found = next((said[name] for name in names if name in said), said)
    text = found if isinstance(found, str) else json.dumps(found)
    is_error = {"is_error": True} if "error" in said else {}
    return {"type": "tool_result", "tool_use_id": result.get("id") or "", "content": text, **is_error}


def compose(request: Json, script: Script, number: int, step: Step) -> Json:
    parts: list[Json] = []
    if step.thinking:
        parts.append({"text": step.thinking, "thought": True})
    if step.text:
        parts.append({"text": step.text})
    for place, call in enumerate(step.calls):
        part: Json = {"functionCall": {"id": script.call_id(number, place), "name": call.name, "args": call.input}}
        if place == 0:
            part["thoughtSignature"] = _SIGNATURE
        parts.append(part)
    return {
        "candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": _usage(request, step),
        "modelVersion": "scripted",
        "responseId": f"{script.name}-s{number}",
    }


def events(request: Json, reply: Json) -> Iterator[bytes]:
    """Texts come in pieces, calls whole; the last event has the reason of the end."""
    candidate = reply["candidates"][0]
    for part in candidate["content"]["parts"]:
        for piece in _split(part):
            content = {"content": {"parts": [piece], "role": "model"}, "index": 0}
            yield _data({**reply, "candidates": [content]})
    yield _data({**reply, "candidates": [{**candidate, "content": {"parts": [{"text": ""}], "role": "model"}}]})


def _split(part: Json) -> list[Json]:
    text = part.get("text")
    if text is None:
        return [part]
    return [{**part, "text": text[at : at + _PIECE]} for at in range(0, len(text), _PIECE)]


def _data(data: Json) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\r\n\r\n".encode()


def said(reply: Json) -> Json:
    return _message(reply["candidates"][0]["content"])


def usage(reply: Json) -> dict[str, int | None]:
    said = reply["usageMetadata"]
    return {
        "input": said["promptTokenCount"] - said["cachedContentTokenCount"],
        "output": said["candidatesTokenCount"] + said["thoughtsTokenCount"],
        "cache_read": said["cachedContentTokenCount"],
        "cache_write": None,
    }


def error(status: int, message: str) -> Json:
    name = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED"}.get(status, "INTERNAL")
    return {"error": {"code": status, "message": message, "status": name}}


def error_event(message: str) -> bytes:
    return _data(error(500, message))


def _usage(request: Json, step: Step) -> Json:
    """Plausible numbers: four characters a token; all but the last message was cached."""
    given = len(json.dumps(request)) // 4
    cached = len(json.dumps((request.get("contents") or [])[:-1])) // 4
    thought = len(step.thinking) // 4
    told = len(step.text) // 4 + sum(len(json.dumps(call.input)) // 4 for call in step.calls) + 1
    return {
        "promptTokenCount": given,
        "candidatesTokenCount": told,
        "totalTokenCount": given + told + thought,
        "cachedContentTokenCount": cached,
        "thoughtsTokenCount": thought,
    }
