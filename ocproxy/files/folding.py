"""The ledger of a session out of its stored messages, of which some at the beginning may be another session's."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.files.derive import FileLedger
from ocproxy.model import MessageRow, Part, SessionRow, ToolResult, ToolUse


def ledger_of(row: SessionRow, agent: Agent, messages: Sequence[MessageRow]) -> FileLedger:
    """What the session did to files, told by its messages in the order in which they were stored."""
    ledger = FileLedger(row.id, row.workdir, agent)
    told = [msgspec.convert(message.parts, list[Part], strict=False) for message in messages]
    inherited = count_inherited(agent, told)
    for number, (message, parts) in enumerate(zip(messages, told, strict=True)):
        take = ledger.inherit if number < inherited else ledger.take
        take(message.role, parts, message.id, message.created_at)
    return ledger


def count_inherited(agent: Agent, told: Sequence[Sequence[Part]]) -> int:
    """How many messages at the beginning, of which the parts are given, are those of a session that this one goes on
    from: the agent knows, or they hold what is marked as that session's."""
    marked = [number for number, parts in enumerate(told, 1) if any(map(_is_marked, parts))]
    return max(agent.inherited(told), marked[-1] if marked else 0)


def _is_marked(part: Part) -> bool:
    return isinstance(part, ToolUse | ToolResult) and part.executor == "other session"
