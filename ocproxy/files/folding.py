"""The ledger of a session out of its stored messages, of which some at the beginning may be another session's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.files.derive import FileLedger
from ocproxy.model import Json, MessageRow, Part, SessionRow, ToolResult, ToolUse

Ledger = TypeVar("Ledger", bound=FileLedger)


def ledger_of(row: SessionRow, agent: Agent, messages: Sequence[MessageRow]) -> FileLedger:
    """What the session did to files, told by its messages in the order in which they were stored."""
    return fold(FileLedger(row.id, row.workdir, agent), agent, messages)


def fold(ledger: Ledger, agent: Agent, messages: Sequence[MessageRow]) -> Ledger:
    """Feed a fresh ledger the messages of its session."""
    told = [parts_of(message) for message in messages]
    inherited = count_inherited(agent, told)
    for number, (message, parts) in enumerate(zip(messages, told, strict=True)):
        take = ledger.inherit if number < inherited else ledger.take
        take(message.role, parts, message.id, message.created_at)
    return ledger


def parts_of(message: MessageRow) -> list[Part]:
    """The parts of a stored message, without those of another shape: programs store theirs as they are."""
    try:
        return msgspec.convert(message.parts, list[Part], strict=False)
    except msgspec.ValidationError:
        found = [part_of(raw) for raw in message.parts]
        return [part for part in found if part is not None]


def part_of(raw: Json) -> Part | None:
    """A stored part; None for one of another shape."""
    try:
        part: Part = msgspec.convert(raw, Part, strict=False)
    except msgspec.ValidationError:
        return None
    return part


def count_inherited(agent: Agent, told: Sequence[Sequence[Part]]) -> int:
    """How many messages at the beginning, of which the parts are given, are those of a session that this one goes on
    from: the agent knows, or they hold what is marked as that session's."""
    marked = [number for number, parts in enumerate(told, 1) if any(map(_is_marked, parts))]
    return max(agent.inherited(told), marked[-1] if marked else 0)


def _is_marked(part: Part) -> bool:
    return isinstance(part, ToolUse | ToolResult) and part.executor == "other session"
