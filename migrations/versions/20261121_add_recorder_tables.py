"""Add what the recorder knows beyond the seed schema: calls, prompts, tool uses, gaps, positions, and columns.

Revision ID: 20261121_add_recorder_tables
Revises: 20260413_add_opencode_tables

New columns of the seed tables are nullable or have a default, so rows and code made for the seed schema keep working.
They carry no foreign keys: SQLite cannot add those in place, and copying a large table to gain one is not worth it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "20261121_add_recorder_tables"
down_revision = "20260413_add_opencode_tables"
branch_labels = None
depends_on = None

SESSIONS, MESSAGES, EVENTS = "opencode_sessions", "opencode_messages", "opencode_file_events"

COLUMNS: dict[str, list[tuple[str, Any]]] = {
    SESSIONS: [
        ("parent_id", sa.Text),
        ("protocol", sa.Text),
        ("model", sa.Text),
        ("agent_version", sa.Text),
        ("run", sa.Text),
        ("prompt", sa.Text),
        ("parent_certainty", sa.Text),
        ("plugin", sa.Text),
    ],
    MESSAGES: [
        ("parent_id", sa.Text),
        ("depth", sa.Integer),
        ("key", sa.Text),
        ("history", sa.Text),
        ("call_id", sa.Text),
        ("seq", sa.Integer),
    ],
    EVENTS: [
        ("tool_use_id", sa.Text),
        ("tool_name", sa.Text),
        ("ordinal", sa.Integer),
        ("status", sa.Text),
        ("certainty", sa.Text),
        ("destination", sa.Text),
        ("exit_code", sa.Integer),
        ("output_bytes", sa.BigInteger),
        ("note", sa.Text),
        ("updated_at", sa.DateTime),
    ],
}

INDEXES = [
    ("ix_opencode_sessions_parent_id", SESSIONS, ["parent_id"]),
    ("ix_opencode_sessions_updated_at", SESSIONS, ["updated_at"]),
    ("ix_opencode_sessions_prompt", SESSIONS, ["prompt"]),
    ("ix_opencode_messages_session_seq", MESSAGES, ["session_id", "seq"]),
    ("ix_opencode_messages_history", MESSAGES, ["history"]),
    ("ix_opencode_file_events_session_ordinal", EVENTS, ["session_id", "ordinal"]),
    ("ix_opencode_file_events_created_at", EVENTS, ["created_at"]),
]


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, sa.DateTime(timezone=True) if kind is sa.DateTime else kind()))
    for name, table, fields in INDEXES:
        op.create_index(name, table, fields)
    op.create_table(
        "prompts",
        sa.Column("hash", sa.Text(), primary_key=True),
        sa.Column("system", sa.JSON(), nullable=False),
        sa.Column("tools", sa.JSON(), nullable=False),
    )
    op.create_table(
        "tool_uses",
        sa.Column("session_id", sa.Text(), sa.ForeignKey("opencode_sessions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tool_use_id", sa.Text(), primary_key=True),
        sa.Column("message_id", sa.Text(), sa.ForeignKey("opencode_messages.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("delegated", sa.Text(), nullable=True),
    )
    op.create_index("ix_tool_uses_tool_use_id", "tool_uses", ["tool_use_id"])
    op.create_index("ix_tool_uses_delegated", "tool_uses", ["delegated"])
    create_calls()
    op.create_table(
        "gaps",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("journal", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "ingest_positions",
        sa.Column("journal", sa.Text(), primary_key=True),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("resume", sa.Text(), nullable=False),
    )
    op.create_table(
        "changes",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )


def create_calls() -> None:
    texts = ["run", "agent_name", "protocol", "model", "reply_id", "request_message_id", "message_id", "prompt_hash"]
    texts += ["stop_reason", "error", "title", "about"]
    tokens = ["input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning"]
    op.create_table(
        "calls",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("journal", sa.Text(), nullable=False),
        sa.Column("exchange", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), sa.ForeignKey("opencode_sessions.id", ondelete="SET NULL"), nullable=True),
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_byte_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("response_bytes", sa.BigInteger(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        *[sa.Column(name, sa.Text(), nullable=True) for name in texts],
        *[sa.Column(f"{name}_tokens", sa.BigInteger(), nullable=True) for name in tokens],
    )
    op.create_index("ix_calls_session_started", "calls", ["session_id", "started_at"])
    op.create_index("ix_calls_started_at", "calls", ["started_at"])
    op.create_index("ix_calls_about", "calls", ["about"])
    op.create_index("ix_calls_reply_id", "calls", ["reply_id"])


def downgrade() -> None:
    for table in ("changes", "ingest_positions", "gaps", "calls", "tool_uses", "prompts"):
        op.drop_table(table)
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
    for table, columns in COLUMNS.items():
        with op.batch_alter_table(table) as batch:
            for name, _ in columns:
                batch.drop_column(name)
