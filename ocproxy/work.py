"""Rows about the work itself: agents in their sessions, runs, changes to review, and where and by what it was done.

All of them are told by the calls and file events that are stored; programs that start agents add what only they know
(how a run ended, where a worktree came from, what is installed). Times are aware datetimes in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from ocproxy.digest import digest

AgentStatus = Literal["active", "idle", "crashed", "closed"]
TaskState = Literal["pending", "running", "completed", "failed", "blocked", "cancelled"]
Operation = Literal["create", "edit", "delete", "move"]
ChangeStatus = Literal["pending", "applied", "rejected", "reverted"]
WorktreeStatus = Literal["active", "archived"]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over calls, side calls included. Tokens and money are without calls that only counted tokens; what the wire
    did not say counts as 0."""

    calls: int = 0
    input_tokens: int = 0  # without what was read from or written to a cache
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0  # nano-dollars of all that has a cost
    priced_calls: int = 0  # calls that have one
    unpriced_calls: int = 0  # calls that used tokens and have none
    started_at: datetime | None = None  # of the first call
    last_call_at: datetime | None = None  # end of the last call
    turn_at: datetime | None = None  # end of the newest main call, of which status and state tell
    turn_call_id: str | None = None


class AgentSession(Totals, frozen=True, kw_only=True):
    """One agent in one session. `status` tells how things stood at the end of its newest main call, without a clock."""

    session_id: str
    agent: str
    backend: str | None = None  # the agent plug-in that reads it
    status: AgentStatus = "idle"
    config_hash: str | None = None  # of model, system prompt and tools of the newest main call that was answered
    closed_at: datetime | None = None  # when it was told that nothing more comes


class Task(Totals, frozen=True, kw_only=True):
    """One run. `is_launched`: a program of ours lives with it and says when it begins and ends."""

    id: str
    run: str | None = None  # the name under which its calls are grouped (/run/NAME/)
    parent_id: str | None = None
    session_id: str | None = None  # the session that it began with
    worktree_id: str | None = None
    state: TaskState = "pending"
    reason: str | None = None  # why it is blocked or failed
    is_launched: bool = False
    title: str | None = None
    input: str | None = None  # what was asked for, in brief
    output_summary: str | None = None  # how its last answer begins
    agent: str | None = None
    model: str | None = None
    execution_path: str | None = None
    mode: str | None = None
    thinking: str | None = None
    features: Any = None  # JSON
    arena_id: str | None = None
    exit_code: int | None = None
    cost_tokens: int = 0  # all tokens that it used: input, output, read from and written to caches
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None


class PendingChange(msgspec.Struct, frozen=True):
    """One change of one file, to be reviewed. A move is one change."""

    id: str
    session_id: str
    file_event_id: str
    path: str
    operation: Operation
    status: ChangeStatus
    agent: str
    ordinal: int  # of its file event
    created_at: datetime
    updated_at: datetime
    task_id: str | None = None
    destination: str | None = None  # of a move
    diff: str | None = None  # unified diff, a/ and b/ prefixes


class Worktree(msgspec.Struct, frozen=True):
    """One folder that agents worked in. It survives its sessions."""

    id: str
    path: str
    slug: str
    created_at: datetime
    last_seen_at: datetime  # to the minute
    machine: str = ""  # of whoever told it; "": the wire does not say
    branch: str | None = None
    base_commit: str | None = None
    status: WorktreeStatus = "active"
    archived_at: datetime | None = None


class AvailableAgent(msgspec.Struct, frozen=True):
    """One agent on one machine."""

    name: str  # of its plug-in
    machine: str = ""  # "": the wire does not say
    label: str | None = None  # as it calls itself in the User-Agent
    version: str | None = None
    transport: str | None = None  # "http" or "websocket": how its newest call came
    models: list[str] = []  # that its calls were for, sorted
    commands: list[str] | None = None
    install_path: str | None = None
    supports_mcp_client: bool | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None  # to the minute
    last_probed_at: datetime | None = None


class InboxItem(msgspec.Struct, frozen=True):
    """A task that needs a person: a row of the view `human_inbox`."""

    task_id: str
    state: TaskState
    reason: str | None
    run: str | None
    title: str | None
    agent: str | None
    model: str | None
    session_id: str | None
    since: datetime


def clean(text: str) -> str:
    """A text as it is stored: databases take no lone surrogates and no NULs."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def task_id(run: str) -> str:
    """The id of the task whose calls are grouped under the name `run`."""
    return digest("task", clean(run))


def config_hash(model: str | None, prompt_hash: str) -> str:
    """The fingerprint of an agent's configuration. `prompt_hash` is that of its system prompt and tools."""
    return digest("config", model or "", prompt_hash)
