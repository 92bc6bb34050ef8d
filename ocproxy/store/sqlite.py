"""SQLite by aiosqlite: one file, WAL, readers never wait for the writer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import create_async_engine

from ocproxy.errors import StoreError
from ocproxy.store import migrations
from ocproxy.store.base import Store
from ocproxy.store.sql import SqlStore
from ocproxy.store.undisturbed import undisturbed

# How long a statement waits for another process's write lock before it is StoreBusy. Long enough for any write of ours,
# short enough that the ingest loop notices and tells.
BUSY_MS = 5_000

# The write-ahead log is copied into the database every 1000 pages (4 MB, SQLite's default) but its file never shrinks
# by itself: one large message would keep its room for ever.
_WAL_BYTES = 8 << 20

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",  # a power cut may cost the last commits; the journal has them
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_MS}",
    f"PRAGMA journal_size_limit={_WAL_BYTES}",
)


class _Sqlite:
    schemes = ("sqlite",)

    async def open(self, url: str, *, migrate: bool) -> Store:
        if migrate:
            await undisturbed(asyncio.to_thread(migrations.ensure_newest, url))
        target = migrations.prepared_url(url)
        _require_file(target.database)
        engine = create_async_engine(target.set(drivername="sqlite+aiosqlite"))
        sa.event.listen(engine.sync_engine, "connect", _prepare)
        sa.event.listen(engine.sync_engine, "begin", _begin)
        return SqlStore(engine, sqlite.insert)


def _require_file(database: str | None) -> None:
    """Connecting would make it, empty and readable for everybody."""
    if database and database != ":memory:" and not Path(database).exists():
        raise StoreError(f"there is no database {database} yet", hint="start ocproxy, or ocproxy db upgrade")


def _prepare(connection: Any, _: Any) -> None:
    # sqlite3 would begin transactions late, at the first write: a reader that turns writer then fails at once when
    # another wrote in between. Off: `_begin` says what we want.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


BACKEND = _Sqlite()
