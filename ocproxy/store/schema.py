"""The tables as they are at the newest revision of `migrations/`. Names of the seed tables and columns never change."""

from __future__ import annotations

from typing import Any, get_args

import sqlalchemy as sa

from ocproxy.store.columns import LONG, WIRE_JSON, Key, Moment, Notes, Words, text
from ocproxy.work import AgentStatus, ChangeStatus, Operation, TaskState, WorktreeStatus

METADATA = sa.MetaData()


def is_ours(_: Any, name: str | None, kind: str, is_found: bool, model: Any) -> bool:
    """For Alembic's `include_object`: what a comparison with these tables looks at. What each kind of database has of
    its own to search by (`search`) is not among them."""
    return not (is_found and model is None and (name or "").startswith("search_"))


SESSIONS = sa.Table(
    "opencode_sessions",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    sa.Column("opencode_id", Key(), nullable=False),
    text("agent_name"),
    text("workdir"),
    text("abi_thread_id", optional=True),
    text("title", optional=True),
    sa.Column("created_at", Moment(), nullable=False),
    sa.Column("updated_at", Moment(), nullable=False),
    *[text(name, optional=True) for name in ("parent_id", "protocol", "model", "agent_version")],
    *[text(name, optional=True) for name in ("run", "prompt", "parent_certainty", "plugin")],
    sa.Index("ix_opencode_sessions_opencode_id", "opencode_id"),
    sa.Index("ix_opencode_sessions_parent_id", "parent_id"),
    sa.Index("ix_opencode_sessions_updated_at", "updated_at"),
    sa.Index("ix_opencode_sessions_prompt", "prompt"),
)

MESSAGES = sa.Table(
    "opencode_messages",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    sa.Column("session_id", Words(), sa.ForeignKey("opencode_sessions.id"), nullable=False),
    text("role"),
    text("content", optional=True),
    sa.Column("parts", WIRE_JSON(), nullable=False),
    sa.Column("created_at", Moment(), nullable=False),
    text("parent_id", optional=True),
    sa.Column("depth", sa.Integer()),
    *[text(name, optional=True) for name in ("key", "history", "call_id")],
    sa.Column("seq", sa.Integer()),
    sa.Index("ix_opencode_messages_session_seq", "session_id", "seq"),
    sa.Index("ix_opencode_messages_history", "history"),
    sa.Index("ix_opencode_messages_created_at", "created_at"),
)

FILE_EVENTS = sa.Table(
    "opencode_file_events",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    sa.Column("session_id", Words(), sa.ForeignKey("opencode_sessions.id"), nullable=False),
    sa.Column("message_id", Words(), sa.ForeignKey("opencode_messages.id"), nullable=False),
    text("event_type"),
    *[text(name, optional=True) for name in ("file_path", "diff", "command")],
    sa.Column("created_at", Moment(), nullable=False),
    *[text(name, optional=True) for name in ("tool_use_id", "tool_name")],
    sa.Column("ordinal", sa.Integer()),
    *[text(name, optional=True) for name in ("status", "certainty", "destination")],
    sa.Column("exit_code", LONG),  # 0xC000013A, for one
    sa.Column("output_bytes", sa.BigInteger()),
    text("note", optional=True),
    sa.Column("updated_at", Moment()),
    sa.Index("ix_opencode_file_events_message_id", "message_id"),
    sa.Index("ix_opencode_file_events_session_ordinal", "session_id", "ordinal"),
    sa.Index("ix_opencode_file_events_created_at", "created_at"),
)

# What many rows share: see `ocproxy.store.blobs`.
BLOBS = sa.Table(
    "blobs",
    METADATA,
    sa.Column("hash", Words(), primary_key=True),
    sa.Column("plain_bytes", sa.BigInteger(), nullable=False),
    sa.Column("data", sa.LargeBinary(), nullable=False),
)

PROMPTS = sa.Table(
    "prompts",
    METADATA,
    sa.Column("hash", Words(), primary_key=True),
    *[sa.Column(name, Words(), sa.ForeignKey("blobs.hash"), nullable=False) for name in ("system_hash", "tools_hash")],
    sa.Index("ix_prompts_system_hash", "system_hash"),
    sa.Index("ix_prompts_tools_hash", "tools_hash"),
)

TOOL_USES = sa.Table(
    "tool_uses",
    METADATA,
    sa.Column("session_id", Words(), sa.ForeignKey("opencode_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tool_use_id", Key(), primary_key=True),
    sa.Column("message_id", Words(), sa.ForeignKey("opencode_messages.id", ondelete="CASCADE"), nullable=False),
    text("name"),
    text("delegated", optional=True),
    sa.Index("ix_tool_uses_tool_use_id", "tool_use_id"),
    sa.Index("ix_tool_uses_message_id", "message_id"),
    sa.Index("ix_tool_uses_delegated", "delegated"),
)

_OPTIONAL = (
    "run", "agent_name", "protocol", "model", "request_message_id", "message_id", "prompt_hash",
    "stop_reason", "error", "title", "about", "summary_key",
)  # fmt: skip
_TOKENS = ("input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning")

CALLS = sa.Table(
    "calls",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    text("journal"),
    sa.Column("exchange", sa.BigInteger(), nullable=False),
    text("position"),
    sa.Column("session_id", Words(), sa.ForeignKey("opencode_sessions.id", ondelete="SET NULL")),
    *[text(name) for name in ("upstream", "method", "path", "kind")],
    sa.Column("status", sa.Integer()),
    *[text(name) for name in ("outcome", "detail")],
    sa.Column("started_at", Moment(), nullable=False),
    sa.Column("first_byte_at", Moment()),
    sa.Column("ended_at", Moment(), nullable=False),
    sa.Column("request_bytes", sa.BigInteger(), nullable=False),
    sa.Column("response_bytes", sa.BigInteger(), nullable=False),
    sa.Column("problems", Notes(), nullable=False),
    *[text(name, optional=True) for name in _OPTIONAL],
    sa.Column("reply_id", Key()),
    *[sa.Column(f"{name}_tokens", sa.BigInteger()) for name in _TOKENS],
    sa.Column("billing", Notes(none_as_null=True)),
    # Whole nano-dollars: they add up exactly on every engine, which decimals do not on SQLite. 9e9 dollars fit.
    sa.Column("cost", sa.BigInteger()),
    *[text(name, optional=True) for name in ("price_version", "price_note")],
    sa.Index("ix_calls_session_started", "session_id", "started_at"),
    sa.Index("ix_calls_started_at", "started_at"),
    sa.Index("ix_calls_about", "about"),
    sa.Index("ix_calls_reply_id", "reply_id"),
    sa.Index("ix_calls_summary_key", "summary_key"),
    sa.Index("ix_calls_request_message_id", "request_message_id"),
    sa.Index("ix_calls_prompt_hash", "prompt_hash"),
)

GAPS = sa.Table(
    "gaps",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    *[text(name) for name in ("journal", "position", "reason")],
    sa.Column("records", sa.BigInteger(), nullable=False),
    sa.Column("bytes", sa.BigInteger(), nullable=False),
    sa.Column("created_at", Moment(), nullable=False),
)

POSITIONS = sa.Table(
    "ingest_positions",
    METADATA,
    sa.Column("journal", Words(), primary_key=True),
    *[text(name) for name in ("position", "resume")],
)

CHANGES = sa.Table(
    "changes",
    METADATA,
    sa.Column("seq", LONG, primary_key=True, autoincrement=True),
    *[text(name) for name in ("what", "row_id")],
    sqlite_autoincrement=True,
)

TURNS = sa.Table(
    "ingest_turns",
    METADATA,
    sa.Column("journal", Words(), primary_key=True),
    *[sa.Column(name, sa.BigInteger(), nullable=False) for name in ("told_ns", "beat_ns", "commits")],
    *[sa.Column(name, sa.Boolean(), nullable=False) for name in ("is_waiting", "is_away")],
)

# --- the work itself: kept by `store.accounts` and by what the ingest tells, and by programs that start agents


def _key(column: str, target: str, rule: str, table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}", ondelete=rule)


def _one_of(column: str, table: str, values: Any) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in get_args(values))
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"ck_{table}_{column}")


def _totals() -> list[sa.Column[Any]]:
    counted = ["calls", *[f"{name}_tokens" for name in _TOKENS], "cost", "priced_calls", "unpriced_calls"]
    moments: list[sa.Column[Any]] = [sa.Column(name, Moment()) for name in ("started_at", "last_call_at", "turn_at")]
    return [
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in counted],
        *moments,
        sa.Column("turn_call_id", Words()),
    ]


AGENT_SESSIONS = sa.Table(
    "agent_sessions",
    METADATA,
    sa.Column("session_id", Words(), primary_key=True),
    sa.Column("agent", Key(), primary_key=True),
    *[text(name, optional=True) for name in ("backend", "config_hash")],
    text("status"),
    *_totals(),
    sa.Column("closed_at", Moment()),
    _key("session_id", "opencode_sessions", "CASCADE", "agent_sessions"),
    _one_of("status", "agent_sessions", AgentStatus),
)

WORKTREES = sa.Table(
    "worktrees",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    sa.Column("path", Key(), nullable=False),
    *[text(name) for name in ("slug", "machine", "status")],
    *[text(name, optional=True) for name in ("branch", "base_commit")],
    sa.Column("created_at", Moment(), nullable=False),
    sa.Column("last_seen_at", Moment(), nullable=False),
    sa.Column("archived_at", Moment()),
    _one_of("status", "worktrees", WorktreeStatus),
    sa.Index(
        "uq_worktrees_active_path", "path", "machine", unique=True,
        sqlite_where=sa.text("status = 'active'"), postgresql_where=sa.text("status = 'active'"),
    ),
)  # fmt: skip

TASKS = sa.Table(
    "tasks",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    *[text(name, optional=True) for name in ("run", "parent_id", "session_id", "worktree_id", "reason", "title")],
    *[text(name, optional=True) for name in ("input", "output_summary", "agent", "model", "execution_path", "mode")],
    *[text(name, optional=True) for name in ("thinking", "arena_id")],
    text("state"),
    sa.Column("is_launched", sa.Boolean(), nullable=False),
    sa.Column("features", Notes(none_as_null=True)),
    sa.Column("exit_code", LONG),
    sa.Column("cost_tokens", sa.BigInteger(), nullable=False),
    *_totals(),
    sa.Column("created_at", Moment(), nullable=False),
    sa.Column("updated_at", Moment(), nullable=False),
    sa.Column("ended_at", Moment()),
    _key("parent_id", "tasks", "SET NULL", "tasks"),
    _key("session_id", "opencode_sessions", "SET NULL", "tasks"),
    _key("worktree_id", "worktrees", "SET NULL", "tasks"),
    _one_of("state", "tasks", TaskState),
    sa.Index("ix_tasks_created_at", "created_at"),
    sa.Index("ix_tasks_state_created", "state", "created_at"),
    sa.Index("ix_tasks_session_id", "session_id"),
    sa.Index("ix_tasks_parent_id", "parent_id"),
    sa.Index("ix_tasks_arena_id", "arena_id"),
)

PENDING_CHANGES = sa.Table(
    "pending_changes",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    *[text(name) for name in ("session_id", "file_event_id", "path", "operation", "status", "agent")],
    *[text(name, optional=True) for name in ("task_id", "destination", "diff")],
    sa.Column("ordinal", sa.Integer(), nullable=False),
    sa.Column("created_at", Moment(), nullable=False),
    sa.Column("updated_at", Moment(), nullable=False),
    _key("session_id", "opencode_sessions", "CASCADE", "pending_changes"),
    _key("file_event_id", "opencode_file_events", "CASCADE", "pending_changes"),
    _key("task_id", "tasks", "SET NULL", "pending_changes"),
    _one_of("operation", "pending_changes", Operation),
    _one_of("status", "pending_changes", ChangeStatus),
    sa.Index("ix_pending_changes_session_ordinal", "session_id", "ordinal"),
    sa.Index("ix_pending_changes_created_at", "created_at"),
    sa.Index("ix_pending_changes_status_created", "status", "created_at"),
    sa.Index("ix_pending_changes_file_event_id", "file_event_id"),
    sa.Index("ix_pending_changes_task_id", "task_id"),
)

AVAILABLE_AGENTS = sa.Table(
    "available_agents",
    METADATA,
    sa.Column("name", Key(), primary_key=True),
    sa.Column("machine", Key(), primary_key=True),
    *[text(name, optional=True) for name in ("label", "version", "transport", "install_path")],
    sa.Column("models", Notes(), nullable=False),
    sa.Column("commands", Notes(none_as_null=True)),
    sa.Column("supports_mcp_client", sa.Boolean()),
    *[sa.Column(name, Moment()) for name in ("first_seen_at", "last_seen_at", "last_probed_at")],
)

# A view, so it is no table of METADATA: migrations make it by hand.
HUMAN_INBOX = sa.table(
    "human_inbox",
    *[
        sa.column(name, Words())
        for name in ("task_id", "state", "reason", "run", "title", "agent", "model", "session_id")
    ],
    sa.column("since", Moment()),
)

# What was removed, without a word of what it said: who holds sessions in memory learns from it which ones went.
REMOVALS = sa.Table(
    "removals",
    METADATA,
    sa.Column("seq", LONG, primary_key=True, autoincrement=False),
    sa.Column("at", Moment(), nullable=False),
    text("reason"),
    *[sa.Column(name, sa.BigInteger(), nullable=False) for name in ("sessions", "messages", "calls")],
    sa.Column("session_ids", Notes(), nullable=False),
)

# Exchanges that are still to be erased from their journals, by whoever has those.
ERASURES = sa.Table(
    "erasures",
    METADATA,
    sa.Column("journal", Words(), primary_key=True),
    sa.Column("exchange", sa.BigInteger(), primary_key=True),
    text("position", optional=True),
)

# Sessions whose content went while their usage stayed.
PRUNED = sa.Table(
    "pruned_sessions",
    METADATA,
    sa.Column("session_id", Words(), sa.ForeignKey("opencode_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("at", Moment(), nullable=False),
)
