"""The kinds of databases, and how a test gets a fresh one of each. A new one in `ocproxy.store` is taken in by itself,
and fails until it is said here how its databases are made."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ocproxy import registry
from ocproxy.store import migrations
from tests.support import postgres


@dataclass
class Engine:
    """One kind of database."""

    name: str  # of its module in ocproxy.store
    title: str  # for people
    make: Callable[[bool], str]

    def fresh(self) -> str:
        """The URL of a new database, migrated or to be migrated when it is opened."""
        return self.make(True)

    def empty(self) -> str:
        """The URL of one without any table."""
        return self.make(False)


def names() -> list[str]:
    return list(registry.load("ocproxy.store", "BACKEND"))


@contextmanager
def engine(name: str, folder: Path) -> Iterator[Engine]:
    """The kind of that name; its databases are gone afterwards."""
    assert name in _MAKERS, f"say in {__file__} how a database of the kind {name!r} is made for a test"
    with _MAKERS[name](folder) as engine:
        yield engine


def sqlite_file(path: Path) -> str:
    """The URL of a SQLite database with the newest tables. One that is not there is a copy of a file that was migrated
    once: migrations are most of the work of many a small test."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ocproxy.db"
        migrations.upgrade(f"sqlite:///{path}")
        return path.read_bytes()


@contextmanager
def _sqlite(folder: Path) -> Iterator[Engine]:
    numbers = itertools.count()

    def make(migrated: bool) -> str:
        path = folder / f"database-{next(numbers)}" / "ocproxy.db"
        return sqlite_file(path) if migrated else f"sqlite:///{path}"

    yield Engine("sqlite", f"SQLite {sqlite3.sqlite_version}", make)


@contextmanager
def _memory(folder: Path) -> Iterator[Engine]:
    yield Engine("memory", "memory", lambda _: f"memory:{uuid.uuid4().hex}")


@contextmanager
def _postgres(folder: Path) -> Iterator[Engine]:
    made: list[postgres.Database] = []

    def make(migrated: bool) -> str:
        made.append(postgres.make_database(migrated=migrated))
        return made[-1].url

    yield Engine("postgres", f"PostgreSQL {postgres.version()}", make)
    for database in made:
        postgres.drop_database(database)


_MAKERS = {"sqlite": _sqlite, "memory": _memory, "postgres": _postgres}
