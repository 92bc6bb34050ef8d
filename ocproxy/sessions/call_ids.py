"""The ids of calls whose protocol need not name them: a call is then known by its message and its place in it.

Gemini's API and small servers leave call ids out, and clients drop the ones that came. What is left is name and input,
which one session may well ask twice. So their decoders give ids that only tell the calls of one message apart (they
begin with `model.UNNAMED`). Here, where the place of the message in its session is known, they become ids of one call.

So does an id that says nothing: small servers name the first call of every reply `call_0`. One that was answered
further up and is asked again is another call. Beside it, in another branch, it is the same one, told again.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ocproxy.model import UNNAMED, Message, MessageRow, Part, ToolResult, ToolUse, digest

# Ids that providers draw are longer; shorter ones are counters of small servers (`call_0`), which many sessions have.
_DRAWN = 16

# How far above its result a call is looked for: results may come in several messages, with others put in.
_ABOVE = 8


class CallIds:
    """The ids of one session's calls. A fold over its messages, like all that is known of a session."""

    def __init__(self) -> None:
        self._above: dict[str, str | None] = {}  # message -> its parent
        self._calls: dict[str, dict[str, str]] = {}  # message -> id in the message -> id in the session
        self._results: dict[str, set[str]] = {}  # message -> ids in the session of the calls that it answers
        self._given: dict[str, str] = {}  # id in the session -> id in its message
        self._asked: dict[str, list[str]] = {}  # id in the message -> the messages that ask for it, oldest first

    def restore(self, message: MessageRow) -> None:
        """Take a stored message."""
        self._above[message.id] = message.parent_id
        for part in message.parts:
            if part["type"] == "tool_use":
                self._give(message.id, part.get("alias") or part["id"], part["id"])
            elif part["type"] == "tool_result":
                self._results.setdefault(message.id, set()).add(part["tool_use_id"])

    def settle(self, parts: Sequence[Part], message_id: str, parent_id: str | None) -> tuple[Part, ...]:
        """The parts of a new message with the ids of their calls. The provider's own id stands where it gave one that
        says which call is meant."""
        self._above[message_id] = parent_id
        return tuple([self._settle(part, message_id) for part in parts])

    def asked_by(self, id: str) -> Sequence[str]:
        """The messages that ask for the call which they name so, in the order in which they were taken."""
        return self._asked.get(id, ())

    def _settle(self, part: Part, message_id: str) -> Part:
        if isinstance(part, ToolUse):
            return self._settle_use(part, message_id)
        if isinstance(part, ToolResult):
            return self._settle_result(part, message_id)
        return part

    def _settle_use(self, use: ToolUse, message_id: str) -> ToolUse:
        local = use.id
        id = use.alias if local.startswith(UNNAMED) else local
        if id is None or self._given.get(id, local) != local or self._is_answered_above(id, message_id):
            id = "call_" + digest(message_id, local)
        self._give(message_id, local, id)
        return use if id == local else msgspec.structs.replace(use, id=id, alias=local)

    def _settle_result(self, result: ToolResult, message_id: str) -> ToolResult:
        local = result.tool_use_id
        id = self._find(local, message_id)
        if id is None:
            id = (result.alias or "call_" + digest(message_id, local)) if local.startswith(UNNAMED) else local
        self._results.setdefault(message_id, set()).add(id)
        return result if id == local else msgspec.structs.replace(result, tool_use_id=id, alias=local)

    def _give(self, message_id: str, local: str, id: str) -> None:
        self._calls.setdefault(message_id, {})[local] = id
        self._given[id] = local
        askers = self._asked.setdefault(local, [])
        if message_id not in askers:
            askers.append(message_id)

    def _is_answered_above(self, id: str, message_id: str) -> bool:
        """Whether the call that has this id was asked and answered on the way to the message."""
        if id not in self._given:
            return False
        place = self._above.get(message_id)
        while place is not None:
            if id in self._results.get(place, ()):
                return True
            place = self._above.get(place)
        return False

    def _find(self, local: str, message_id: str) -> str | None:
        place: str | None = message_id
        for _ in range(_ABOVE):
            if place is None:
                break
            if (id := self._calls.get(place, {}).get(local)) is not None:
                return id
            place = self._above.get(place)
        return None


def drawn_ids(messages: Sequence[Message]) -> list[str]:
    """The ids of the calls in messages that say which call is meant, whatever session they are in."""
    uses = [part for message in messages for part in message.parts if isinstance(part, ToolUse)]
    return [use.id for use in uses if len(use.id) >= _DRAWN and not use.id.startswith(UNNAMED)]
