"""Waiting for a database that cannot be opened yet."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ocproxy.errors import StoreBusy, StoreError
from ocproxy.store import opening as module
from ocproxy.store import sqlite
from ocproxy.store.base import Store
from ocproxy.store.opening import Opening

pytestmark = pytest.mark.anyio


class Tries:
    """Stands for `open_store`: what each try ends with, and how long was waited before it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: StoreError) -> None:
        self._ends = list(ends)
        self.waits: list[float] = []
        monkeypatch.setattr(module, "open_store", self.open)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def open(self, url: str) -> Store:
        if self._ends:
            raise self._ends.pop(0)
        return "the store"  # type: ignore[return-value]  # nobody uses it

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_it_is_tried_until_it_opens_and_the_trouble_keeps_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    down, locked = StoreBusy("it is down", hint="start it"), StoreBusy("it is locked")
    Tries(monkeypatch, down, down, locked, locked, down)
    told: list[str] = []
    opening = Opening("any", lambda error: told.append(str(error)))
    begin = datetime.now(UTC).replace(microsecond=0)
    assert await opening.store() == "the store"  # type: ignore[comparison-overlap]  # see above
    assert told == ["it is down", "it is locked", "it is down"], "each reason is told once"
    assert opening.trouble is not None and opening.refused.is_set()
    assert (opening.trouble.what, opening.trouble.hint) == ("it is down", "start it")
    assert begin <= opening.trouble.since <= datetime.now(UTC)


@pytest.mark.parametrize(("kind", "longest"), [(StoreBusy, 5.0), (StoreError, 30.0)])
async def test_what_passes_by_itself_is_tried_more_often_than_what_a_person_must_mend(
    monkeypatch: pytest.MonkeyPatch, kind: type[StoreError], longest: float
) -> None:
    tries = Tries(monkeypatch, *[kind("no")] * 12)
    await Opening("any", lambda _: None).store()
    assert tries.waits[:3] == [0.1, 0.2, 0.4] and tries.waits[-1] == max(tries.waits) == longest


async def test_a_lock_at_the_migration_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MS", 20)
    path = tmp_path / "ocproxy.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opening = Opening(f"sqlite:///{path}", lambda _: None)
        store = asyncio.create_task(opening.store())
        async with asyncio.timeout(20):
            await opening.refused.wait()
        assert opening.trouble is not None and "locked" in opening.trouble.what
        other.execute("ROLLBACK")
        async with await asyncio.wait_for(store, 20) as opened:
            assert await opened.summaries() == []
