"""The migrations: the seed schema as it was given, upgrades in place, and the way back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from ocproxy.errors import StoreError
from ocproxy.store import migrations
from ocproxy.store.base import open_store
from ocproxy.store.schema import METADATA, is_ours

BASE = "20260413_add_opencode_tables"
SEED_COLUMNS = {
    "opencode_sessions": [
        ("id", "TEXT", 1), ("opencode_id", "TEXT", 1), ("agent_name", "TEXT", 1), ("workdir", "TEXT", 1),
        ("abi_thread_id", "TEXT", 0), ("title", "TEXT", 0),
        ("created_at", "DATETIME", 1), ("updated_at", "DATETIME", 1),
    ],
    "opencode_messages": [
        ("id", "TEXT", 1), ("session_id", "TEXT", 1), ("role", "TEXT", 1), ("content", "TEXT", 0),
        ("parts", "JSON", 1), ("created_at", "DATETIME", 1),
    ],
    "opencode_file_events": [
        ("id", "TEXT", 1), ("session_id", "TEXT", 1), ("message_id", "TEXT", 1), ("event_type", "TEXT", 1),
        ("file_path", "TEXT", 0), ("diff", "TEXT", 0), ("command", "TEXT", 0), ("created_at", "DATETIME", 1),
    ],
}  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ocproxy.db'}"


def connect(url: str) -> sqlite3.Connection:
    return sqlite3.connect(url.removeprefix("sqlite:///"))


def insert_seed_rows(connection: sqlite3.Connection) -> None:
    now = "2026-04-13 12:00:00.000000"
    connection.execute(
        "INSERT INTO opencode_sessions VALUES ('s', 'ses_1', 'coder', '/w', NULL, 'T', ?, ?)", (now, now)
    )
    connection.execute("INSERT INTO opencode_messages VALUES ('m', 's', 'user', 'hi', '[]', ?)", (now,))
    connection.execute("INSERT INTO opencode_file_events VALUES ('e', 's', 'm', 'edit', 'a.py', '+x', NULL, ?)", (now,))
    connection.commit()


def seed_rows(connection: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
    return [
        list(connection.execute(f"SELECT {', '.join(name for name, *_ in columns)} FROM {table}"))
        for table, columns in SEED_COLUMNS.items()
    ]


def test_the_base_revision_makes_exactly_the_seed_schema(url: str) -> None:
    migrations.upgrade(url, BASE)
    connection = connect(url)
    for table, columns in SEED_COLUMNS.items():
        found = [(row[1], row[2], row[3]) for row in connection.execute(f"PRAGMA table_info({table})")]
        assert found == columns
    indexes = [row[1] for row in connection.execute("PRAGMA index_list(opencode_sessions)")]
    assert "ix_opencode_sessions_opencode_id" in indexes
    keys = {row[2] for row in connection.execute("PRAGMA foreign_key_list(opencode_file_events)")}
    assert keys == {"opencode_sessions", "opencode_messages"}
    connection.close()
    migrations.downgrade(url, "base")
    connection = connect(url)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    assert tables == {"alembic_version"}
    connection.close()


def test_a_seed_database_with_rows_goes_up_and_down_and_keeps_them(url: str) -> None:
    migrations.upgrade(url, BASE)
    connection = connect(url)
    insert_seed_rows(connection)
    before = seed_rows(connection)
    migrations.upgrade(url)
    assert seed_rows(connection) == before
    assert migrations.current(url) == migrations.NEWEST
    connection.close()
    migrations.downgrade(url, BASE)
    connection = connect(url)
    assert seed_rows(connection) == before
    found = [row[1] for row in connection.execute("PRAGMA table_info(opencode_messages)")]
    assert found == [name for name, *_ in SEED_COLUMNS["opencode_messages"]]
    connection.close()


def test_code_made_for_the_seed_schema_still_writes_to_a_migrated_database(url: str) -> None:
    migrations.upgrade(url)
    connection = connect(url)
    now = "2026-04-13 12:00:00.000000"
    for table, columns in SEED_COLUMNS.items():
        names = [name for name, *_ in columns]
        values = {"session_id": "x", "message_id": "x", "created_at": now, "updated_at": now, "parts": "[]"}
        row = [values.get(name, "x") for name in names]
        connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()


@pytest.mark.anyio
async def test_seed_rows_are_read_with_empty_values_in_our_columns(url: str) -> None:
    migrations.upgrade(url, BASE)
    connection = connect(url)
    insert_seed_rows(connection)
    connection.close()
    async with await open_store(url) as store:
        (summary,) = await store.summaries()
        assert (summary.row.opencode_id, summary.messages, summary.file_events) == ("ses_1", 1, 1)
        (message,) = await store.messages("s")
        (event,) = await store.file_events("s")
        assert (message.content, message.seq) == ("hi", 0)
        assert (event.diff, event.status, event.updated_at) == ("+x", "unknown", event.created_at)


def test_models_and_migrations_agree(url: str) -> None:
    migrations.upgrade(url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False, "include_object": is_ours})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_whoever_asks_a_database_needs_no_alembic(url: str) -> None:
    """It would take longer than the question. What names the newest revision must therefore be kept by hand."""
    assert migrations.revisions()[0] == migrations.NEWEST
    migrations.upgrade(url)
    program = f"""
import asyncio, sys
from ocproxy import query
from ocproxy.store.base import open_store

async def ask():
    async with await open_store({url!r}) as store:
        await query.sessions(store)

asyncio.run(ask())
assert "alembic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_plain_alembic_works_in_the_repository(url: str) -> None:
    root = Path(__file__).parent.parent.parent
    environ = {**os.environ, "OCPROXY_DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"], cwd=root, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert migrations.current(url) == migrations.NEWEST


def test_an_unknown_revision_is_an_error_with_a_way_on(url: str) -> None:
    with pytest.raises(StoreError, match="nonsense") as caught:
        migrations.upgrade(url, "nonsense")
    assert caught.value.hint is not None


def test_a_database_that_does_not_exist_has_no_revision_and_is_not_made(url: str, tmp_path: Path) -> None:
    assert migrations.current(url) is None
    assert list(tmp_path.iterdir()) == []
