"""Tell followers of rows that code made for the seed tables inserts, which knows nothing of `changes`.

Revision ID: 20261130_add_seed_changes
Revises: 20261128_add_replicas

Such rows lack a column that ours always have. On PostgreSQL the change is numbered when the transaction commits, under
the lock of all that store (`ocproxy.store.postgres`), so that one that stays open holds up nobody; a change that cannot
be numbered (the transaction's snapshot is old) is left out rather than that the insert fails.
"""

from alembic import op

revision = "20261130_add_seed_changes"
down_revision = "20261128_add_replicas"
branch_labels = None
depends_on = None

# table, what it is in the feed, the column that only rows without ours leave empty
TABLES = [
    ("opencode_sessions", "session", "plugin"),
    ("opencode_messages", "message", "history"),
    ("opencode_file_events", "file_event", "tool_use_id"),
]
KEPT = 20_000  # as `ocproxy.store.sql` keeps

NUMBER = f"""
CREATE FUNCTION ocproxy_note_seed_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE newest BIGINT;
BEGIN
    PERFORM pg_advisory_xact_lock({0x6F637072_00000001});
    SELECT COALESCE(MAX(seq), 0) + 1 INTO newest FROM changes;
    INSERT INTO changes (seq, what, row_id) VALUES (newest, TG_ARGV[0], NEW.id);
    DELETE FROM changes WHERE seq <= newest - {KEPT};
    RETURN NULL;
EXCEPTION
    WHEN unique_violation OR serialization_failure OR deadlock_detected
        OR lock_not_available OR insufficient_privilege THEN
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    is_postgres = op.get_context().dialect.name == "postgresql"
    if is_postgres:
        op.execute(NUMBER)
    for table, what, column in TABLES:
        if is_postgres:
            op.execute(
                f"CREATE CONSTRAINT TRIGGER ocproxy_note_seed_row AFTER INSERT ON {table}"
                f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.{column} IS NULL)"
                f" EXECUTE FUNCTION ocproxy_note_seed_row('{what}')"
            )
        else:
            op.execute(
                f"CREATE TRIGGER ocproxy_note_{what} AFTER INSERT ON {table} WHEN NEW.{column} IS NULL BEGIN"
                " INSERT INTO changes (seq, what, row_id)"
                f" SELECT COALESCE(MAX(seq), 0) + 1, '{what}', NEW.id FROM changes;"
                f" DELETE FROM changes WHERE seq <= (SELECT MAX(seq) FROM changes) - {KEPT}; END"
            )


def downgrade() -> None:
    is_postgres = op.get_context().dialect.name == "postgresql"
    for table, what, _ in TABLES:
        op.execute(
            f"DROP TRIGGER ocproxy_note_seed_row ON {table}" if is_postgres else f"DROP TRIGGER ocproxy_note_{what}"
        )
    if is_postgres:
        op.execute("DROP FUNCTION ocproxy_note_seed_row()")
