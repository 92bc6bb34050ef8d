"""A database in the memory of the process, for scripts and tests: `memory:`, or `memory:NAME` for one of several.

It is SQLite with its `memdb` file system: what stands in no file, but has a name, and is read and written by any number
of connections with the locks of a file. So it is the same SQL, migrations and answers as in a file, and nothing of its
own that could differ. It lasts as long as the process, whoever opens and closes it; no other process can look into it.
SQLite bounds it at 1 GiB; a full one is StoreBusy, like a full disk.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from ocproxy.errors import StoreError
from ocproxy.store import migrations, sqlite
from ocproxy.store.base import Store
from ocproxy.store.undisturbed import undisturbed

Result = TypeVar("Result")
_LEAST_VERSION = (3, 36)  # the first with shared memdb databases

# One connection each, never used: with the last one closed the database would be gone.
_kept: dict[str, sqlite3.Connection] = {}
_guard = threading.Lock()


class _Memory:
    schemes = ("memory",)
    example = "memory:"
    dialect = "sqlite"

    async def open(self, url: str, *, migrate: bool) -> Store:
        name = _keep(url)
        if migrate:
            await undisturbed(asyncio.to_thread(migrations.ensure_newest, url))
        return sqlite.SqliteStore(_target(name))

    def migrate(self, url: str, action: Callable[[sa.Connection], Result]) -> Result:
        return sqlite.migrate(_target(_keep(url)), action)

    def read(self, url: str, action: Callable[[sa.Connection], Result]) -> Result | None:
        return sqlite.read(_target(_keep(url)), action, url)

    def file(self, url: str) -> Path | None:
        return None


def _keep(url: str) -> str:
    """Make the database, if it is not there. Returns its name for SQLite."""
    if re.fullmatch(r"memory:[\w.-]*", url) is None:
        raise StoreError(f"{url!r} is not the URL of a database", hint="write memory: or memory:NAME")
    if sqlite3.sqlite_version_info < _LEAST_VERSION:
        raise StoreError(
            f"SQLite {sqlite3.sqlite_version} cannot keep a database in memory for several users",
            hint="use a newer Python, or a file: sqlite:///path/to/file.db",
        )
    name = f"file:/ocproxy-{url.partition(':')[2]}"
    with _guard:
        if name not in _kept:
            _kept[name] = sqlite3.connect(f"{name}?vfs=memdb", uri=True, check_same_thread=False)
    return name


def _target(name: str) -> sa.URL:
    return sa.URL.create("sqlite", database=name, query={"vfs": "memdb", "uri": "true"})


BACKEND = _Memory()
