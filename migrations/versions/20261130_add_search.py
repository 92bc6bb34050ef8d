"""Add the index that finds text in messages, commands and paths, and an order of messages by time.

Revision ID: 20261130_add_search
Revises: 20261130_add_seed_changes

The index is of trigrams: what is searched for is found in the middle of words, in code, in paths and in scripts without
spaces. On SQLite it is an FTS5 table kept by triggers (SQLite 3.34 with FTS5), without positions, so it is a third of
the text's size. Rows of the seed tables have no number that lasts (VACUUM gives new ones to tables whose key is text),
so `search_entries` numbers them. On PostgreSQL it is a GIN index with the operators of pg_trgm, which any owner of a
database may create (a trusted extension); where that is refused there is no index, and searches read everything.
"""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "20261130_add_search"
down_revision = "20261130_add_seed_changes"
branch_labels = None
depends_on = None

MESSAGES, EVENTS = "opencode_messages", "opencode_file_events"


def event_text(row: str) -> str:
    prefix = f"{row}." if row else ""
    names = [f"coalesce({prefix}{name}, '')" for name in ("command", "file_path", "destination")]
    return " || '\n' || ".join(names)


# table -> (what its entries are called, the columns that are searched, the text of a row)
SOURCES: dict[str, tuple[str, tuple[str, ...], Callable[[str], str]]] = {
    MESSAGES: ("message", ("content",), lambda row: f"coalesce({row}.content, '')"),
    EVENTS: ("file_event", ("command", "file_path", "destination"), event_text),
}


def upgrade() -> None:
    op.create_index("ix_opencode_messages_created_at", MESSAGES, ["created_at"])
    if op.get_context().dialect.name == "postgresql":
        index_postgresql()
    else:
        index_sqlite()


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        for name in ("search_messages", "search_file_events"):
            op.execute(f"DROP INDEX IF EXISTS {name}")
    else:
        for table in SOURCES:
            for event in ("insert", "update", "delete"):
                op.execute(f"DROP TRIGGER IF EXISTS search_{table}_{event}")
        op.execute("DROP TABLE IF EXISTS search_index")
        op.execute("DROP VIEW IF EXISTS search_texts")
        op.execute("DROP TABLE IF EXISTS search_entries")
    op.drop_index("ix_opencode_messages_created_at", table_name=MESSAGES)


def index_postgresql() -> None:
    if op.get_context().as_sql:  # a script for another time: nothing can be asked
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        add_gin("")
        return
    connection = op.get_bind()
    where = "SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace"
    query = sa.text(f"{where} WHERE extname = 'pg_trgm'")
    schema = connection.execute(query).scalar()
    if schema is None:
        try:
            with connection.begin_nested():
                connection.execute(sa.text("CREATE EXTENSION pg_trgm"))
        except sa.exc.DBAPIError:  # not installed on the server, or the user may not: then it goes without
            return
        schema = connection.execute(query).scalar()
    add_gin(f"{schema}.")


def add_gin(schema: str) -> None:
    op.execute(f"CREATE INDEX search_messages ON {MESSAGES} USING gin (content {schema}gin_trgm_ops)")
    op.execute(f"CREATE INDEX search_file_events ON {EVENTS} USING gin (({event_text('')}) {schema}gin_trgm_ops)")


def index_sqlite() -> None:
    if not op.get_context().as_sql and not has_trigrams(op.get_bind()):
        return
    op.execute("CREATE TABLE search_entries (id INTEGER PRIMARY KEY, what TEXT NOT NULL, row_id TEXT NOT NULL)")
    op.execute("CREATE UNIQUE INDEX search_entries_row ON search_entries (row_id, what)")
    texts = " ".join(
        f"WHEN '{what}' THEN (SELECT {text(what)} FROM {table} {what} WHERE {what}.id = e.row_id)"
        for table, (what, _, text) in SOURCES.items()
    )
    op.execute(f"CREATE VIEW search_texts AS SELECT e.id, CASE e.what {texts} END AS text FROM search_entries e")
    op.execute(
        "CREATE VIRTUAL TABLE search_index USING fts5(text, content='search_texts', content_rowid='id',"
        " tokenize='trigram', detail=none, columnsize=0)"
    )
    for table, (what, columns, text) in SOURCES.items():
        add_triggers(table, what, columns, text)
        op.execute(
            f"INSERT INTO search_entries (what, row_id) SELECT '{what}', id FROM {table} AS row"
            f" WHERE {text('row')} <> '' ORDER BY created_at, id"
        )
    op.execute("INSERT INTO search_index (search_index) VALUES ('rebuild')")


def has_trigrams(connection: sa.Connection) -> bool:
    has_fts = connection.execute(sa.text("SELECT sqlite_compileoption_used('ENABLE_FTS5')")).scalar()
    version = str(connection.execute(sa.text("SELECT sqlite_version()")).scalar())
    return bool(has_fts) and tuple(map(int, version.split(".")[:2])) >= (3, 34)


def add_triggers(table: str, what: str, columns: tuple[str, ...], text: Callable[[str], str]) -> None:
    def entry(row: str) -> str:
        return f"FROM search_entries WHERE row_id = {row}.id AND what = '{what}'"

    forget = f"INSERT INTO search_index (search_index, rowid, text) SELECT 'delete', id, {text('old')} {entry('old')};"
    index = (
        f"INSERT INTO search_entries (what, row_id) SELECT '{what}', new.id WHERE NOT EXISTS (SELECT 1 {entry('new')});"
        f" INSERT INTO search_index (rowid, text) SELECT id, {text('new')} {entry('new')};"
    )
    begin = f"CREATE TRIGGER search_{table}"
    op.execute(f"{begin}_insert AFTER INSERT ON {table} WHEN {text('new')} <> '' BEGIN {index} END")
    op.execute(
        f"{begin}_update AFTER UPDATE OF id, {', '.join(columns)} ON {table}"
        f" WHEN old.id <> new.id OR {text('old')} <> {text('new')} BEGIN {forget}"
        f" UPDATE search_entries SET row_id = new.id WHERE row_id = old.id AND what = '{what}'; {index} END"
    )
    op.execute(f"{begin}_delete AFTER DELETE ON {table} BEGIN {forget} DELETE {entry('old')}; END")
