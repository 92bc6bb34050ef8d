"""Add what calls cost, by which prices, and what that depends on beside their tokens.

Revision ID: 20261128_add_money
Revises: 20261128_add_summary_keys
"""

import sqlalchemy as sa
from alembic import op

revision = "20261128_add_money"
down_revision = "20261128_add_summary_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("billing", sa.JSON(), nullable=True))
    op.add_column("calls", sa.Column("cost", sa.BigInteger(), nullable=True))  # nano-dollars
    op.add_column("calls", sa.Column("price_version", sa.Text(), nullable=True))
    op.add_column("calls", sa.Column("price_note", sa.Text(), nullable=True))
    op.create_index("ix_calls_request_message_id", "calls", ["request_message_id"])  # which calls were made again


def downgrade() -> None:
    op.drop_index("ix_calls_request_message_id", table_name="calls")
    with op.batch_alter_table("calls") as batch:
        for name in ("billing", "cost", "price_version", "price_note"):
            batch.drop_column(name)
