"""The ids of calls whose protocol need not name them: a call is then known by its message and its place in it.

Gemini's API and small servers leave call ids out, and clients drop the ones that came. What is left is name and input,
which one session may well ask twice. So their decoders give ids that only tell the calls of one message apart (they
begin with `model.UNNAMED`). Here, where the place of the message in its session is known, they become ids of one call.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ocproxy.model import UNNAMED, MessageRow, Part, ToolResult, ToolUse, digest

# How far above its result a call is looked for: results may come in several messages, with others put in.
_ABOVE = 8


class CallIds:
    """The ids of one session's unnamed calls. A fold over its messages, like all that is known of a session."""

    def __init__(self) -> None:
        self._above: dict[str, str | None] = {}  # message -> its parent
        self._calls: dict[str, dict[str, str]] = {}  # message -> id in the message -> id in the session
        self._given: dict[str, str] = {}  # id in the session -> id in its message

    def restore(self, message: MessageRow) -> None:
        """Take a stored message."""
        self._above[message.id] = message.parent_id
        for part in message.parts:
            if part["type"] == "tool_use" and str(part.get("alias", "")).startswith(UNNAMED):
                self._give(message.id, part["alias"], part["id"])

    def settle(self, parts: Sequence[Part], message_id: str, parent_id: str | None) -> tuple[Part, ...]:
        """The parts of a new message with the ids of their calls. The provider's own id stands where it gave one."""
        self._above[message_id] = parent_id
        return tuple([self._settle(part, message_id) for part in parts])

    def _settle(self, part: Part, message_id: str) -> Part:
        if isinstance(part, ToolUse) and part.id.startswith(UNNAMED):
            id = part.alias
            if (
                id is None or self._given.get(id, part.id) != part.id
            ):  # an id that another call has already says nothing
                id = "call_" + digest(message_id, part.id)
            self._give(message_id, part.id, id)
            return msgspec.structs.replace(part, id=id, alias=part.id)
        if isinstance(part, ToolResult) and part.tool_use_id.startswith(UNNAMED):
            local = part.tool_use_id
            id = self._find(local, message_id) or part.alias or "call_" + digest(message_id, local)
            return msgspec.structs.replace(part, tool_use_id=id, alias=local)
        return part

    def _give(self, message_id: str, local: str, id: str) -> None:
        self._calls.setdefault(message_id, {})[local] = id
        self._given[id] = local

    def _find(self, local: str, message_id: str) -> str | None:
        place: str | None = message_id
        for _ in range(_ABOVE):
            if place is None:
                break
            if (id := self._calls.get(place, {}).get(local)) is not None:
                return id
            place = self._above.get(place)
        return None
