"""The Responses API over HTTP and in the messages of a WebSocket (platform.openai.com/docs/api-reference/responses).

Codex offers the tools of its newer models in an input item (`additional_tools`), in namespaces; others only in the
result of a search for tools (`tool_search_output`).
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

from ocproxy.demo.script import Call, Script, Step
from tests.support.dialects.openai import CREATED, pieces
from tests.support.dialects.openai import error as error

Json = dict[str, Any]

_CALLS = (
    *("function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call"),
    "tool_search_call",
)


def claims(method: str, path: str) -> bool:
    return method in ("POST", "WEBSOCKET") and path.endswith("/responses")


def streams(path: str, request: Json) -> bool:
    return bool(request.get("stream"))


def items(request: Json) -> list[Json]:
    """The input items; a bare text is a user's message."""
    given = request.get("input") or []
    return [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given


def tools(request: Json) -> list[Json]:
    """Those of the request and of its input items, out of their namespaces, each with its `namespace`."""
    given = list(request.get("tools") or [])
    for item in items(request):
        if item.get("type") in ("additional_tools", "tool_search_output"):
            given += item.get("tools") or []
    flat: list[Json] = []
    for tool in given:
        if tool.get("type") == "namespace":
            flat += [{**inner, "namespace": tool["name"]} for inner in tool.get("tools") or []]
        else:
            flat.append(tool)
    return flat


def history(request: Json) -> list[Json]:
    """An item is a message of its own. `instructions` are none: they are no part of what was said."""
    return [message for item in items(request) if (message := _message(item)) is not None]


def _message(item: Json) -> Json | None:
    kind = item.get("type") or "message"
    if kind == "message":
        role = {"developer": "system"}.get(item["role"], item["role"])
        return {"role": role, "content": _texts(item.get("content"))}
    if kind == "agent_message":
        texts = [part.get("text") or part.get("encrypted_content") or "" for part in item.get("content") or []]
        return {"role": "user", "content": [{"type": "text", "text": "\n".join(texts)}]}
    if kind == "reasoning":
        text = "".join(part["text"] for part in item.get("summary") or [])
        sealed = item.get("encrypted_content")
        return {"role": "assistant", "content": [{"type": "thinking", "thinking": text, "signature": sealed}]}
    if kind in _CALLS:
        return {"role": "assistant", "content": [_use(item)]}
    if kind.endswith("_output"):
        output = item.get("output")
        text = output if isinstance(output, str) else "\n".join(part.get("text", "") for part in output or [])
        return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": item["call_id"], "content": text}]}
    if kind == "compaction":
        told = base64.b64decode(item["encrypted_content"]).decode()
        return {"role": "user", "content": [{"type": "text", "text": told}]}
    return None


def _use(item: Json) -> Json:
    if item["type"] == "function_call":
        given = json.loads(item["arguments"]) if item["arguments"].strip() else {}
    elif item["type"] == "custom_tool_call":
        given = {"input": item["input"]}
    else:
        given = item.get("action") or item.get("arguments") or item["operation"]
    name = item.get("name") or item["type"].removesuffix("_call")
    return {"type": "tool_use", "id": item["call_id"], "name": name, "input": given}


def _texts(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [{"type": "text", "text": part["text"]} for part in content or [] if "text" in part]


def compose(request: Json, script: Script, number: int, step: Step) -> Json:
    """A request of `generate: false` (a prewarm) has an empty answer."""
    output: list[Json] = []
    offered = {tool.get("name") or tool.get("type"): tool for tool in tools(request)}
    if step.thinking:
        output.append(_reasoning(request, step.thinking))
    if step.text:
        part = {"type": "output_text", "text": step.text, "annotations": [], "logprobs": []}
        output.append(
            {"id": _id("msg"), "type": "message", "status": "completed", "role": "assistant", "content": [part]}
        )
    for place, call in enumerate(step.calls):
        output.append(_call(script.call_id(number, place), call, offered.get(call.name) or {}))
    if request.get("generate") is False:
        output = []
    return {**_frame(request), "status": "completed", "output": output, "usage": _usage(request, output)}


def compaction(request: Json, summary: str) -> Json:
    """The answer to a `compaction_trigger`: an opaque item, which here holds the summary for us to read again."""
    item = {"id": _id("cmp"), "type": "compaction", "encrypted_content": base64.b64encode(summary.encode()).decode()}
    return {**_frame(request), "status": "completed", "output": [item], "usage": _usage(request, [item])}


def _reasoning(request: Json, thinking: str) -> Json:
    item = {"id": _id("rs"), "type": "reasoning", "summary": [{"type": "summary_text", "text": thinking}]}
    if "reasoning.encrypted_content" in (request.get("include") or []):
        item["encrypted_content"] = base64.b64encode(thinking.encode()).decode()
    return item


def _call(call_id: str, call: Call, offered: Json) -> Json:
    """By the type of the tool that was offered; a call of Codex's own functions names no namespace."""
    common: Json = {"status": "completed", "call_id": call_id, "name": call.name}
    if (namespace := offered.get("namespace", "functions")) != "functions":
        common["namespace"] = namespace
    if offered.get("type") == "custom":
        return {"id": _id("ctc"), "type": "custom_tool_call", **common, "input": call.input["input"]}
    if offered.get("type") in ("local_shell", "shell"):
        del common["name"]
        return {"id": _id("lsh"), "type": f"{offered['type']}_call", **common, "action": call.input}
    if offered.get("type") == "apply_patch":
        del common["name"]
        return {"id": _id("apc"), "type": "apply_patch_call", **common, "operation": call.input}
    if offered.get("type") == "tool_search":
        del common["name"]
        return {"id": _id("tsc"), "type": "tool_search_call", **common, "execution": "client", "arguments": call.input}
    arguments = json.dumps(call.input, ensure_ascii=False)
    return {"id": _id("fc"), "type": "function_call", **common, "arguments": arguments}


def events(request: Json, reply: Json) -> Iterator[bytes]:
    """As server-sent events."""
    for data in messages(reply):
        yield f"event: {data['type']}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def messages(reply: Json) -> Iterator[Json]:
    """The events of a stream, as they are also the messages of a WebSocket."""
    for number, data in enumerate(_told(reply)):
        yield {**data, "sequence_number": number}


def _told(reply: Json) -> Iterator[Json]:
    begun = {**reply, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(reply["output"]):
        empty, deltas = _spelled(item)
        place = {"output_index": index}
        yield {"type": "response.output_item.added", **place, "item": empty}
        for data in deltas:
            yield {**data, **place, "item_id": item["id"]}
        yield {"type": "response.output_item.done", **place, "item": item}
    yield {"type": "response.completed", "response": reply}


def _spelled(item: Json) -> tuple[Json, list[Json]]:
    """An item as it is added, still empty, and what fills it."""
    if item["type"] == "reasoning":
        return {**item, "summary": []}, _of_summary(item["summary"][0]["text"])
    if item["type"] == "message":
        return {**item, "status": "in_progress", "content": []}, _of_text(item["content"][0])
    if item["type"] == "function_call":
        told = "response.function_call_arguments"
        deltas = [{"type": f"{told}.delta", "delta": piece} for piece in pieces(item["arguments"])]
        end = {"type": f"{told}.done", "arguments": item["arguments"]}
        return {**item, "status": "in_progress", "arguments": ""}, [*deltas, end]
    if item["type"] == "custom_tool_call":
        told = "response.custom_tool_call_input"
        deltas = [{"type": f"{told}.delta", "delta": piece} for piece in pieces(item["input"])]
        end = {"type": f"{told}.done", "input": item["input"]}
        return {**item, "status": "in_progress", "input": ""}, [*deltas, end]
    return item, []


def _of_summary(text: str) -> list[Json]:
    told, part = "response.reasoning_summary", {"type": "summary_text", "text": text}
    data: list[Json] = [
        {"type": f"{told}_part.added", "part": {"type": "summary_text", "text": ""}},
        *({"type": f"{told}_text.delta", "delta": piece} for piece in pieces(text)),
        {"type": f"{told}_text.done", "text": text},
        {"type": f"{told}_part.done", "part": part},
    ]
    return [{**one, "summary_index": 0} for one in data]


def _of_text(part: Json) -> list[Json]:
    text = part["text"]
    data: list[Json] = [
        {"type": "response.content_part.added", "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", "delta": piece, "logprobs": []} for piece in pieces(text)),
        {"type": "response.output_text.done", "text": text, "logprobs": []},
        {"type": "response.content_part.done", "part": part},
    ]
    return [{**one, "content_index": 0} for one in data]


def said(reply: Json) -> Json:
    found = [message for item in reply["output"] if (message := _message(item)) is not None]
    return {"role": "assistant", "content": [block for message in found for block in message["content"]]}


def usage(reply: Json) -> dict[str, int | None]:
    said = reply["usage"]
    cached = said["input_tokens_details"]["cached_tokens"]
    return {
        "input": said["input_tokens"] - cached,
        "output": said["output_tokens"],
        "cache_read": cached,
        "cache_write": None,
    }


def error_event(message: str) -> bytes:
    data = {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 99}
    return f"event: error\ndata: {json.dumps(data)}\n\n".encode()


def _frame(request: Json) -> Json:
    """The fields of a response that do not tell what was said."""
    return {
        "id": _id("resp"),
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": request.get("model"),
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": request.get("previous_response_id"),
        "prompt_cache_key": request.get("prompt_cache_key"),
        "service_tier": "default",
        "store": bool(request.get("store")),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def _usage(request: Json, output: list[Json]) -> Json:
    """Plausible numbers: four characters a token; all but the last item was cached."""
    given = len(json.dumps(request)) // 4
    cached = len(json.dumps(items(request)[:-1])) // 4
    thought = sum(len(json.dumps(item)) // 4 for item in output if item["type"] == "reasoning")
    told = len(json.dumps(output)) // 4 + 1
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": told,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": given + told,
    }


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"
