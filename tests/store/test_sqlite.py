"""What only a database in a SQLite file promises."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ocproxy.errors import StoreBusy
from ocproxy.model import Batch
from ocproxy.store import sqlite as sqlite_backend
from ocproxy.store.base import Store, open_store
from tests.support.rows import message, session

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data' / 'ocproxy.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with await open_store(url) as store:
        yield store


async def test_a_locked_database_is_busy_and_nothing_is_stored(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_backend, "_PRAGMAS", ("PRAGMA busy_timeout=50",))
    async with await open_store(url) as impatient:
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(StoreBusy, match="locked"):
                await impatient.commit(Batch(sessions=[session()]))
        finally:
            other.close()
        await impatient.commit(Batch(sessions=[session()]))
        assert len(await impatient.summaries()) == 1


async def test_readers_of_the_file_are_its_owner_alone(url: str, store: Store) -> None:
    path = Path(url.removeprefix("sqlite:///"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_what_is_asked_of_a_long_session_for_each_call_does_not_grow_with_its_square(url: str) -> None:
    rows = [
        message(f"m{n}", seq=n, parent_id=f"m{n - 1}" if n else None, history=f"h{n}", parts=[]) for n in range(2_000)
    ]
    async with await open_store(url) as store:
        await store.commit(Batch(sessions=[session()], messages=rows))
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        def watch(connection: sa.Connection) -> None:  # SQLite's own count of work
            raw: Any = connection.connection.driver_connection
            raw.set_progress_handler(count, 1_000)

        await store.transact(watch, writes=False)  # type: ignore[attr-defined]
        matches = await store.matches_of_histories([f"h{n}" for n in range(2_000)])
    assert sum(match.answered for match in matches) == 1_999
    assert 0 < steps < 1_000, "a million steps of SQLite: 500 for each message"


async def test_who_only_reads_is_not_kept_waiting_by_who_writes(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(Batch(sessions=[session()]))
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with await open_store(url) as store:
            assert len(await store.summaries()) == 1
        other.execute("ROLLBACK")
