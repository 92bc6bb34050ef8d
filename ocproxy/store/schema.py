"""The tables as they are at the newest revision of `migrations/`. Names of the seed tables and columns never change."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ocproxy.work import AgentStatus, ChangeStatus, Operation, TaskState, WorktreeStatus, clean

METADATA = sa.MetaData()


def is_ours(_: Any, name: str | None, kind: str, is_found: bool, model: Any) -> bool:
    """For Alembic's `include_object`: what a comparison with these tables looks at. What each kind of database has of
    its own to search by (`search`) is not among them."""
    return not (is_found and model is None and (name or "").startswith("search_"))


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware datetime in UTC, on databases with and without time zones. Naive values are a mistake and raise."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Words(sa.types.TypeDecorator[str]):
    """Text. Lone surrogates and NULs, which agents send and databases refuse, become U+FFFD; the journal has them."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return clean(value) if value is not None else None


# A longer value does not fit into an index of PostgreSQL (2704 bytes) with what stands beside it there.
_KEY_CHARACTERS = 512


def shorten(value: str) -> str:
    """A value of a `Key` column as it is stored. Ids of agents and providers have no bound: some carry signatures."""
    if len(value) <= _KEY_CHARACTERS:
        return value
    full = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{value[: _KEY_CHARACTERS - len(full) - 1]}~{full}"


class Key(Words):
    """Text of the wire in an index. One that is too long keeps its beginning, with a digest of the whole."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return super().process_bind_param(shorten(value) if value is not None else None, dialect)


class Notes(sa.types.TypeDecorator[Any]):
    """JSON that we made ourselves: JSONB on PostgreSQL, to be asked for. That takes no NUL and no lone surrogate, so
    these become U+FFFD, on every kind of database."""

    impl = sa.JSON
    cache_ok = True

    def __init__(self, *, none_as_null: bool = False) -> None:
        super().__init__(none_as_null=none_as_null)
        self.none_as_null = none_as_null

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        kind = postgresql.JSONB if dialect.name == "postgresql" else sa.JSON
        return dialect.type_descriptor(kind(none_as_null=self.none_as_null))

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return _cleaned(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): _cleaned(item) for name, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


# JSON of the wire: the seed's type, and the text as it was sent, on PostgreSQL too. JSONB would sort the fields of
# objects, which agents' tools and people can tell, write 1e2 as 100, and refuse what JSON allows: \u0000.
_WIRE_JSON = sa.JSON


# 64 bits. SQLite's INTEGER has them, and only a key of that very name is its rowid, which counts up by itself.
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, optional: bool = False) -> sa.Column[Any]:
    return sa.Column(name, Words(), nullable=optional)


SESSIONS = sa.Table(
    "opencode_sessions",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    sa.Column("opencode_id", Key(), nullable=False),
    _text("agent_name"),
    _text("workdir"),
    _text("abi_thread_id", optional=True),
    _text("title", optional=True),
    sa.Column("created_at", Moment(), nullable=False),
    sa.Column("updated_at", Moment(), nullable=False),
    *[_text(name, optional=True) for name in ("parent_id", "protocol", "model", "agent_version")],
    *[_text(name, optional=True) for name in ("run", "prompt", "parent_certainty", "plugin")],
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
    _text("role"),
    _text("content", optional=True),
    sa.Column("parts", _WIRE_JSON(), nullable=False),
    sa.Column("created_at", Moment(), nullable=False),
    _text("parent_id", optional=True),
    sa.Column("depth", sa.Integer()),
    *[_text(name, optional=True) for name in ("key", "history", "call_id")],
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
    _text("event_type"),
    *[_text(name, optional=True) for name in ("file_path", "diff", "command")],
    sa.Column("created_at", Moment(), nullable=False),
    *[_text(name, optional=True) for name in ("tool_use_id", "tool_name")],
    sa.Column("ordinal", sa.Integer()),
    *[_text(name, optional=True) for name in ("status", "certainty", "destination")],
    sa.Column("exit_code", _LONG),  # 0xC000013A, for one
    sa.Column("output_bytes", sa.BigInteger()),
    _text("note", optional=True),
    sa.Column("updated_at", Moment()),
    sa.Index("ix_opencode_file_events_message_id", "message_id"),
    sa.Index("ix_opencode_file_events_session_ordinal", "session_id", "ordinal"),
    sa.Index("ix_opencode_file_events_created_at", "created_at"),
    # A path may have any length, and only such an index of PostgreSQL takes it.
    sa.Index("ix_opencode_file_events_file_path", "file_path", postgresql_using="hash"),
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
    _text("name"),
    _text("delegated", optional=True),
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
    _text("journal"),
    sa.Column("exchange", sa.BigInteger(), nullable=False),
    _text("position"),
    sa.Column("session_id", Words(), sa.ForeignKey("opencode_sessions.id", ondelete="SET NULL")),
    *[_text(name) for name in ("upstream", "method", "path", "kind")],
    sa.Column("status", sa.Integer()),
    *[_text(name) for name in ("outcome", "detail")],
    sa.Column("started_at", Moment(), nullable=False),
    sa.Column("first_byte_at", Moment()),
    sa.Column("ended_at", Moment(), nullable=False),
    sa.Column("request_bytes", sa.BigInteger(), nullable=False),
    sa.Column("response_bytes", sa.BigInteger(), nullable=False),
    sa.Column("problems", Notes(), nullable=False),
    *[_text(name, optional=True) for name in _OPTIONAL],
    sa.Column("reply_id", Key()),
    *[sa.Column(f"{name}_tokens", sa.BigInteger()) for name in _TOKENS],
    sa.Column("billing", Notes(none_as_null=True)),
    # Whole nano-dollars: they add up exactly on every engine, which decimals do not on SQLite. 9e9 dollars fit.
    sa.Column("cost", sa.BigInteger()),
    *[_text(name, optional=True) for name in ("price_version", "price_note")],
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
    *[_text(name) for name in ("journal", "position", "reason")],
    sa.Column("records", sa.BigInteger(), nullable=False),
    sa.Column("bytes", sa.BigInteger(), nullable=False),
    sa.Column("created_at", Moment(), nullable=False),
)

POSITIONS = sa.Table(
    "ingest_positions",
    METADATA,
    sa.Column("journal", Words(), primary_key=True),
    *[_text(name) for name in ("position", "resume")],
)

CHANGES = sa.Table(
    "changes",
    METADATA,
    sa.Column("seq", _LONG, primary_key=True, autoincrement=True),
    *[_text(name) for name in ("what", "row_id")],
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
    *[_text(name, optional=True) for name in ("backend", "config_hash")],
    _text("status"),
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
    *[_text(name) for name in ("slug", "machine", "status")],
    *[_text(name, optional=True) for name in ("branch", "base_commit")],
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
    *[_text(name, optional=True) for name in ("run", "parent_id", "session_id", "worktree_id", "reason", "title")],
    *[_text(name, optional=True) for name in ("input", "output_summary", "agent", "model", "execution_path", "mode")],
    *[_text(name, optional=True) for name in ("thinking", "arena_id")],
    _text("state"),
    sa.Column("is_launched", sa.Boolean(), nullable=False),
    sa.Column("features", Notes(none_as_null=True)),
    sa.Column("exit_code", _LONG),
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
    *[_text(name) for name in ("session_id", "file_event_id", "path", "operation", "status", "agent")],
    *[_text(name, optional=True) for name in ("task_id", "destination", "diff")],
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
    *[_text(name, optional=True) for name in ("label", "version", "transport", "install_path")],
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
    sa.Column("seq", _LONG, primary_key=True, autoincrement=False),
    sa.Column("at", Moment(), nullable=False),
    _text("reason"),
    *[sa.Column(name, sa.BigInteger(), nullable=False) for name in ("sessions", "messages", "calls")],
    sa.Column("session_ids", Notes(), nullable=False),
)

# Exchanges that are still to be erased from their journals, by whoever has those.
ERASURES = sa.Table(
    "erasures",
    METADATA,
    sa.Column("journal", Words(), primary_key=True),
    sa.Column("exchange", sa.BigInteger(), primary_key=True),
    _text("position", optional=True),
)

# Sessions whose content went while their usage stayed.
PRUNED = sa.Table(
    "pruned_sessions",
    METADATA,
    sa.Column("session_id", Words(), sa.ForeignKey("opencode_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("at", Moment(), nullable=False),
)
