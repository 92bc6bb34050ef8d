"""Calls of real runs of Claude Code, shortened: long texts cut, ids and paths replaced, replies as content blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ocproxy.agents.base import CallFacts
from ocproxy.model import Message, Part, Reasoning, Reply, Text, ToolUse
from ocproxy.protocols.anthropic_messages import PROTOCOL

DATA = Path(__file__).parent / "data"


def calls(name: str) -> list[CallFacts]:
    """The calls of one recorded run, in their order."""
    return [_facts(call) for call in json.loads((DATA / f"{name}.json").read_text("utf-8"))]


def facts(body: dict[str, Any] | None, **given: Any) -> CallFacts:
    """A call with this request body."""
    request = None
    path = given.pop("path", "/v1/messages?beta=true")
    if body is not None:
        request, _ = PROTOCOL.decode_request(path.split("?")[0], json.dumps(body).encode())
    shown: dict[str, Any] = {"method": "POST", "headers": {}, "tags": {}, "run": None, "reply": None, **given}
    return CallFacts(path=path, request=request, **shown)


def history(call: CallFacts) -> list[Message]:
    """The messages of a call, and what was answered."""
    assert call.request and call.reply
    return [*call.request.messages, Message("assistant", call.reply.parts)]


def said(name: str) -> list[Message]:
    """The messages of a recorded run whose calls were cut to what was new in each."""
    return [message for call in calls(name) for message in history(call)]


def _facts(call: dict[str, Any]) -> CallFacts:
    reply = Reply(parts=tuple(_part(block) for block in call["reply"]))
    return facts(call["body"], path=call["path"], headers=call["headers"], reply=reply)


def _part(block: dict[str, Any]) -> Part:
    if block["type"] == "tool_use":
        return ToolUse(block["id"], block["name"], block["input"])
    return Text(block["text"]) if block["type"] == "text" else Reasoning(block["thinking"], block.get("signature"))
