"""Sessions that go on from another one's history under an id of their own (`claude --resume ID --fork-session`).

Their first request holds all that was said there. It is part of the conversation, but what its tools did is told in the
session that did it: parts that another session was handed before are marked, and the mark is stored with them. They are
known by their call ids, and where ids say nothing (or there are none) by the history that they are in.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.model import UNNAMED, Message, ModelRequest, Part, ToolResult, ToolUse
from ocproxy.sessions.chain import histories, message_key


def count_known(agent: Agent, request: ModelRequest, known: Collection[str]) -> int:
    """How many messages at the beginning of a request another session had before, when `known` are the histories that
    others had. The same prompt alone is no fork."""
    keys = [message_key(agent, message) for message in request.messages]
    behind = iter(histories([key for key in keys if key is not None]))
    count, has_answer = 0, False
    for number, (message, key) in enumerate(zip(request.messages, keys, strict=True), 1):
        has_answer = has_answer or message.role == "assistant"
        if key is not None and next(behind) in known and has_answer:
            count = number
    return count


def with_marks(request: ModelRequest, ids: Collection[str], count: int) -> ModelRequest:
    """The request, in which the calls with these ids, those of the first `count` messages, and the results of all of
    them are another session's."""
    uses = [part for message in request.messages[:count] for part in message.parts if isinstance(part, ToolUse)]
    foreign = {*ids, *(use.id for use in uses if not use.id.startswith(UNNAMED))}
    messages = [_marked(one, None if at < count else foreign) for at, one in enumerate(request.messages)]
    return msgspec.structs.replace(request, messages=tuple(messages))


def _marked(message: Message, ids: Collection[str] | None) -> Message:
    """With the calls that have these ids (None: all) marked, and their results."""
    parts = tuple([_marked_part(part, ids) for part in message.parts])
    return message if parts == message.parts else msgspec.structs.replace(message, parts=parts)


def _marked_part(part: Part, ids: Collection[str] | None) -> Part:
    if not isinstance(part, ToolUse | ToolResult) or part.executor != "agent":
        return part
    id = part.id if isinstance(part, ToolUse) else part.tool_use_id
    return msgspec.structs.replace(part, executor="other session") if ids is None or id in ids else part
