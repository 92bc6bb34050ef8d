"""The kinds of databases, and how a test gets a fresh one of each. A new one in `ocproxy.store` is taken in by itself,
and fails until it is said here how its databases are made."""

from __future__ import annotations

import itertools
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocproxy import registry
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


@contextmanager
def _sqlite(folder: Path) -> Iterator[Engine]:
    numbers = itertools.count()
    yield Engine(
        "sqlite",
        f"SQLite {sqlite3.sqlite_version}",
        lambda _: f"sqlite:///{folder / f'database-{next(numbers)}' / 'ocproxy.db'}",
    )


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
