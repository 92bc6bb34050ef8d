"""Add what removing needs: what went and when, what is to be erased from journals, and the indexes of foreign keys.

Revision ID: 20261130_add_removals
Revises: 20261130_add_agents_and_changes

A foreign key without an index makes every removal of a row a search through the whole table that points at it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261130_add_removals"
down_revision = "20261130_add_agents_and_changes"
branch_labels = None
depends_on = None

INDEXES = [
    ("ix_opencode_file_events_message_id", "opencode_file_events", "message_id"),
    ("ix_calls_prompt_hash", "calls", "prompt_hash"),
]


def upgrade() -> None:
    for name, table, column in INDEXES:
        op.create_index(name, table, [column])
    op.create_table(
        "removals",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in ("sessions", "messages", "calls")],
        sa.Column("session_ids", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
    )
    op.create_table(
        "erasures",
        sa.Column("journal", sa.Text(), primary_key=True),
        sa.Column("exchange", sa.BigInteger(), primary_key=True),
        sa.Column("position", sa.Text(), nullable=True),
    )
    op.create_table(
        "pruned_sessions",
        sa.Column("session_id", sa.Text(), sa.ForeignKey("opencode_sessions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    for table in ("pruned_sessions", "erasures", "removals"):
        op.drop_table(table)
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
