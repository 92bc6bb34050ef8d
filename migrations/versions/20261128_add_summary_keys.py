"""Add to calls what a summary is found again by, when the agent goes on from it.

Revision ID: 20261128_add_summary_keys
Revises: 20261121_add_recorder_tables
"""

import sqlalchemy as sa
from alembic import op

revision = "20261128_add_summary_keys"
down_revision = "20261121_add_recorder_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("summary_key", sa.Text(), nullable=True))
    op.create_index("ix_calls_summary_key", "calls", ["summary_key"])


def downgrade() -> None:
    op.drop_index("ix_calls_summary_key", table_name="calls")
    with op.batch_alter_table("calls") as batch:
        batch.drop_column("summary_key")
