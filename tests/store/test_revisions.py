"""The migrations on every kind of database: up from each revision with rows in it, and down again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from ocproxy.store import migrations
from ocproxy.store.base import backend_of, open_store
from ocproxy.store.schema import METADATA, is_ours
from tests.support.engines import Engine

ROOT = Path(__file__).parent.parent.parent
BASE = "20260413_add_opencode_tables"
REVISIONS = migrations.revisions()
SEED = {
    "opencode_sessions": "id, opencode_id, agent_name, workdir, abi_thread_id, title, created_at, updated_at",
    "opencode_messages": "id, session_id, role, content, parts, created_at",
    "opencode_file_events": "id, session_id, message_id, event_type, file_path, diff, command, created_at",
}
ROWS = [
    f"INSERT INTO opencode_sessions ({SEED['opencode_sessions']})"
    " VALUES ('s', 'ses_1', 'coder', '/w', NULL, 'T', '2026-04-13 12:00:00', '2026-04-13 12:00:00')",
    f"INSERT INTO opencode_messages ({SEED['opencode_messages']})"
    " VALUES ('m', 's', 'user', 'hi', '[{\"z\": 1, \"a\": \"\\u0000\"}]', '2026-04-13 12:00:00')",
    f"INSERT INTO opencode_file_events ({SEED['opencode_file_events']})"
    " VALUES ('e', 's', 'm', 'edit', 'a.py', '+x', NULL, '2026-04-13 12:00:00')",
]


def fill(url: str) -> None:
    def insert(connection: sa.Connection) -> None:
        for statement in ROWS:
            connection.exec_driver_sql(statement)

    backend_of(url).migrate(url, insert)


def seed_rows(url: str) -> list[Any]:
    def select(connection: sa.Connection) -> list[Any]:
        selects = [f"SELECT {columns} FROM {table}" for table, columns in SEED.items()]
        return [tuple(map(str, row)) for one in selects for row in connection.exec_driver_sql(one)]

    return backend_of(url).read(url, select) or []


def tables(url: str) -> set[str]:
    return set(backend_of(url).read(url, lambda connection: sa.inspect(connection).get_table_names()) or [])


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_every_revision_go_up_and_down_again_unchanged(engine: Engine, revision: str) -> None:
    url = engine.empty()
    migrations.upgrade(url, revision)
    fill(url)
    before = seed_rows(url)
    assert len(before) == 3
    migrations.upgrade(url)
    assert migrations.current(url) == REVISIONS[0] == migrations.NEWEST
    assert seed_rows(url) == before
    for down in [*REVISIONS[1:], BASE]:
        migrations.downgrade(url, down)
        assert seed_rows(url) == before
    migrations.upgrade(url)
    assert seed_rows(url) == before
    migrations.downgrade(url, "base")
    assert tables(url) == {"alembic_version"}


def test_models_and_migrations_agree_on_every_engine(engine: Engine) -> None:
    url = engine.empty()
    migrations.upgrade(url)

    def compare(connection: sa.Connection) -> list[Any]:
        return list(
            compare_metadata(MigrationContext.configure(connection, opts={"include_object": is_ours}), METADATA)
        )

    assert backend_of(url).read(url, compare) == []


@pytest.mark.timeout(240)  # five processes, one after the other
@pytest.mark.parametrize("arguments", [["-m", "alembic"], ["-m", "ocproxy", "db"]], ids=["alembic", "ocproxy db"])
def test_both_commands_migrate_the_database_of_the_environment(
    engine: Engine, arguments: list[str], tmp_path: Path
) -> None:
    if engine.name == "memory" and "ocproxy" in arguments:
        pytest.skip("refused, since no other process sees it")
    url = engine.empty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OCPROXY_")}
    environ = {**kept, "OCPROXY_DATABASE_URL": url, "OCPROXY_DATA_DIR": str(tmp_path / "data")}

    def run(*more: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments, *more], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("upgrade", "head")
    if engine.name != "memory":  # that of a process that has ended
        assert migrations.current(url) == migrations.NEWEST
        run("downgrade", BASE)
        assert migrations.current(url) == BASE
        if arguments[1] == "alembic":
            run("upgrade", "head")
            assert "No new upgrade operations detected" in run("check")


def test_two_processes_that_start_at_once_migrate_once(engine: Engine) -> None:
    if engine.name == "memory":
        pytest.skip("no second process sees it")
    url = engine.empty()
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        list(processes.map(migrations.ensure_newest, [url, url]))
    assert migrations.current(url) == migrations.NEWEST


@pytest.mark.anyio
async def test_two_users_of_one_process_that_start_at_once_migrate_once(engine: Engine) -> None:
    url = engine.empty()

    async def start() -> None:
        async with await open_store(url) as store:
            assert await store.summaries() == []

    await asyncio.gather(*(start() for _ in range(4)))


def test_the_lookup_by_opencode_id_uses_its_index(engine: Engine) -> None:
    url = engine.fresh()
    query = "SELECT id FROM opencode_sessions WHERE opencode_id = 'x'"

    def explain(connection: sa.Connection) -> str:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # an empty table needs no index
            return str(connection.exec_driver_sql(f"EXPLAIN {query}").all())
        return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())

    migrations.ensure_newest(url)
    assert "ix_opencode_sessions_opencode_id" in (backend_of(url).read(url, explain) or "")
