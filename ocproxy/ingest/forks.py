"""Sessions that go on from another one's history under an id of their own (`claude --resume ID --fork-session`).

Their first request holds all that was said there. It is part of the conversation, but what its tools did is told in the
session that did it: parts that another session was handed before are marked, and the mark is stored with them.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from ocproxy.model import UNNAMED, Message, ModelRequest, Part, ToolResult, ToolUse

# Ids that providers draw are longer; shorter ones are counters of small servers (`call_0`), which many sessions have.
_DRAWN = 16


def drawn_ids(request: ModelRequest) -> list[str]:
    """The ids of the calls in a history that say which call is meant, whatever session they are in."""
    uses = [part for message in request.messages for part in message.parts if isinstance(part, ToolUse)]
    return [use.id for use in uses if len(use.id) >= _DRAWN and not use.id.startswith(UNNAMED)]


def with_marks(request: ModelRequest, ids: Collection[str]) -> ModelRequest:
    """The request, in which the calls with these ids, and their results, are another session's."""
    if not ids:
        return request
    messages = [_marked(message, ids) for message in request.messages]
    return msgspec.structs.replace(request, messages=tuple(messages))


def _marked(message: Message, ids: Collection[str]) -> Message:
    parts = tuple([_marked_part(part, ids) for part in message.parts])
    return message if parts == message.parts else msgspec.structs.replace(message, parts=parts)


def _marked_part(part: Part, ids: Collection[str]) -> Part:
    id = part.id if isinstance(part, ToolUse) else part.tool_use_id if isinstance(part, ToolResult) else None
    if id not in ids or not isinstance(part, ToolUse | ToolResult):
        return part
    return msgspec.structs.replace(part, executor="other session")
