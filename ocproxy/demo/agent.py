"""A small agent that really works: it asks a model, runs the tools that the model asks for, sends the results back.

It knows nothing of ocproxy: it speaks the Anthropic Messages API to the base URL that it is given.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from ocproxy.demo.tools import TOOLS, ToolError, use_tool

Json = dict[str, Any]

_MAX_TURNS = 50  # a script that never ends must not run for ever
_SYSTEM = "You are a coding agent. Work with the tools; say briefly what you do.\nWorking directory: {workdir}"


async def run_agent(
    base_url: str, workdir: Path, prompt: str, tell: Callable[[str], None], headers: Mapping[str, str] | None = None
) -> list[Json]:
    """Works on `prompt` in `workdir` until the model asks for no more tools. Returns the conversation as last sent,
    with the final answer. `tell` is given a line for each tool that was used; `headers` go with every request.

    Raises httpx.HTTPError when the provider cannot be reached or refuses.
    """
    messages: list[Json] = [{"role": "user", "content": prompt}]
    timeout = httpx.Timeout(10.0, read=None)  # a model may think for minutes
    own = {"x-api-key": "demo-key-that-opens-nothing", "anthropic-version": "2023-06-01", **(headers or {})}
    async with httpx.AsyncClient(base_url=base_url, timeout=timeout, headers=own, trust_env=False) as client:
        for _ in range(_MAX_TURNS):
            answer = await _ask(client, workdir, messages)
            messages.append({"role": "assistant", "content": answer["content"]})
            results = [await _run(block, workdir, tell) for block in answer["content"] if block["type"] == "tool_use"]
            if not results:
                return messages
            messages.append({"role": "user", "content": results})
    raise RuntimeError(f"the model asked for tools {_MAX_TURNS} times without an end")


async def _ask(client: httpx.AsyncClient, workdir: Path, messages: list[Json]) -> Json:
    body = {
        "model": "claude-demo",
        "max_tokens": 4096,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "system": _SYSTEM.format(workdir=workdir),
        "tools": TOOLS,
        "messages": messages,
        "stream": True,
    }
    async with client.stream("POST", "/v1/messages", json=body) as response:
        if response.is_error:
            await response.aread()
        response.raise_for_status()
        return await _collect(_data_lines(response))


async def _data_lines(response: httpx.Response) -> AsyncIterator[Json]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def _collect(stream: AsyncIterator[Json]) -> Json:
    """The message that an event stream spells out. Raises httpx.RemoteProtocolError when the stream stops short."""
    message: Json = {}
    complete = False
    arguments: dict[int, str] = {}
    async for event in stream:
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                _extend(message["content"][event["index"]], event["delta"], event["index"], arguments)
            case "content_block_stop" if event["index"] in arguments:
                message["content"][event["index"]]["input"] = json.loads(arguments[event["index"]])
            case "message_stop":
                complete = True  # and on to the end of the body, so that the connection can be used again
    if complete:
        return message
    raise httpx.RemoteProtocolError("the stream ended without message_stop")


def _extend(block: Json, delta: Json, index: int, arguments: dict[int, str]) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] += delta["signature"]
        case "input_json_delta":
            arguments[index] = arguments.get(index, "") + delta["partial_json"]


async def _run(block: Json, workdir: Path, tell: Callable[[str], None]) -> Json:
    subject = block["input"].get("command") or block["input"].get("file_path")
    try:
        text, failed = await use_tool(block["name"], block["input"], workdir), False
    except ToolError as error:
        text, failed = str(error), True
    tell(f"{block['name']} {subject}{'  -> ' + text.splitlines()[0] if failed else ''}")
    return {"type": "tool_result", "tool_use_id": block["id"], "content": text, "is_error": failed}
