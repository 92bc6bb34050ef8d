"""The tables as they are at the newest revision of `migrations/`. Names of the seed tables and columns never change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()


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
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _text(name: str, *, optional: bool = False) -> sa.Column[Any]:
    return sa.Column(name, Words(), nullable=optional)


SESSIONS = sa.Table(
    "opencode_sessions",
    METADATA,
    sa.Column("id", Words(), primary_key=True),
    _text("opencode_id"),
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
    sa.Column("parts", sa.JSON(), nullable=False),
    sa.Column("created_at", Moment(), nullable=False),
    _text("parent_id", optional=True),
    sa.Column("depth", sa.Integer()),
    *[_text(name, optional=True) for name in ("key", "history", "call_id")],
    sa.Column("seq", sa.Integer()),
    sa.Index("ix_opencode_messages_session_seq", "session_id", "seq"),
    sa.Index("ix_opencode_messages_history", "history"),
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
    sa.Column("exit_code", sa.Integer()),
    sa.Column("output_bytes", sa.BigInteger()),
    _text("note", optional=True),
    sa.Column("updated_at", Moment()),
    sa.Index("ix_opencode_file_events_session_ordinal", "session_id", "ordinal"),
    sa.Index("ix_opencode_file_events_created_at", "created_at"),
)

PROMPTS = sa.Table(
    "prompts",
    METADATA,
    sa.Column("hash", Words(), primary_key=True),
    sa.Column("system", sa.JSON(), nullable=False),
    sa.Column("tools", sa.JSON(), nullable=False),
)

TOOL_USES = sa.Table(
    "tool_uses",
    METADATA,
    sa.Column("session_id", Words(), sa.ForeignKey("opencode_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tool_use_id", Words(), primary_key=True),
    sa.Column("message_id", Words(), sa.ForeignKey("opencode_messages.id", ondelete="CASCADE"), nullable=False),
    _text("name"),
    _text("delegated", optional=True),
    sa.Index("ix_tool_uses_tool_use_id", "tool_use_id"),
    sa.Index("ix_tool_uses_delegated", "delegated"),
)

_OPTIONAL = (
    "run", "agent_name", "protocol", "model", "reply_id", "request_message_id", "message_id", "prompt_hash",
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
    sa.Column("problems", sa.JSON(), nullable=False),
    *[_text(name, optional=True) for name in _OPTIONAL],
    *[sa.Column(f"{name}_tokens", sa.BigInteger()) for name in _TOKENS],
    sa.Column("billing", sa.JSON(none_as_null=True)),
    # Whole nano-dollars: they add up exactly on every engine, which decimals do not on SQLite. 9e9 dollars fit.
    sa.Column("cost", sa.BigInteger()),
    *[_text(name, optional=True) for name in ("price_version", "price_note")],
    sa.Index("ix_calls_session_started", "session_id", "started_at"),
    sa.Index("ix_calls_started_at", "started_at"),
    sa.Index("ix_calls_about", "about"),
    sa.Index("ix_calls_reply_id", "reply_id"),
    sa.Index("ix_calls_summary_key", "summary_key"),
    sa.Index("ix_calls_request_message_id", "request_message_id"),
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
    # BIGINT would not be SQLite's rowid, which alone counts up by itself.
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    *[_text(name) for name in ("what", "row_id")],
    sqlite_autoincrement=True,
)
