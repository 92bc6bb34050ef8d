"""Add what several replicas on one database need: turns, and on PostgreSQL a bell that rings for followers.

Revision ID: 20261128_add_replicas
Revises: 20261128_add_money

On PostgreSQL also types that its predecessors left as they are on SQLite: exit codes of 32 bits without a sign do not
fit into INTEGER, and problems and billing, which are our own JSON, can be asked for as JSONB.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261128_add_replicas"
down_revision = "20261128_add_money"
branch_labels = None
depends_on = None

RING = """
CREATE FUNCTION ocproxy_ring() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_ARGV[0], '');
    RETURN NULL;
END $$
"""
# table, when, channel
TRIGGERS = [("changes", "INSERT", "ocproxy_changes"), ("ingest_turns", "INSERT OR UPDATE", "ocproxy_turns")]


def upgrade() -> None:
    op.create_table(
        "ingest_turns",
        sa.Column("journal", sa.Text(), primary_key=True),
        sa.Column("told_ns", sa.BigInteger(), nullable=False),
        sa.Column("beat_ns", sa.BigInteger(), nullable=False),
        sa.Column("commits", sa.BigInteger(), nullable=False),
        sa.Column("is_waiting", sa.Boolean(), nullable=False),
        sa.Column("is_away", sa.Boolean(), nullable=False),
    )
    if op.get_context().dialect.name != "postgresql":
        return
    for name in ("problems", "billing"):
        op.execute(f"ALTER TABLE calls ALTER COLUMN {name} TYPE JSONB USING {name}::jsonb")
    op.execute("ALTER TABLE opencode_file_events ALTER COLUMN exit_code TYPE BIGINT")
    op.execute(RING)
    for table, when, channel in TRIGGERS:
        op.execute(
            f"CREATE TRIGGER ocproxy_ring AFTER {when} ON {table} FOR EACH STATEMENT"
            f" EXECUTE FUNCTION ocproxy_ring('{channel}')"
        )


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        for table, _, _ in TRIGGERS:
            op.execute(f"DROP TRIGGER ocproxy_ring ON {table}")
        op.execute("DROP FUNCTION ocproxy_ring()")
        op.execute(
            "ALTER TABLE opencode_file_events ALTER COLUMN exit_code TYPE INTEGER"
            " USING CASE WHEN abs(exit_code) < 2147483648 THEN exit_code END"
        )
        for name in ("problems", "billing"):
            op.execute(f"ALTER TABLE calls ALTER COLUMN {name} TYPE JSON USING {name}::json")
    op.drop_table("ingest_turns")
