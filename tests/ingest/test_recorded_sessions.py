"""Sessions of real agents, through journal and ingest: told as they must be, for any cutting and any interruption."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ocproxy.config import Journal
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.store.base import Store, open_store
from tests.support.engines import sqlite_file
from tests.support.sessions import Cut, RecordedSession, load, names
from tests.support.told import told

pytestmark = pytest.mark.anyio

each_session = pytest.mark.parametrize("session", [load(name) for name in names()], ids=lambda session: session.name)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.writer.close()


class Stage:
    """A journal, and what reads it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.writer = JournalWriter.open(folder / "journal" / "worker-0", Journal())

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        async with await open_store(sqlite_file(self._folder / "ocproxy.db")) as store:
            yield store

    def ingest(self, store: Store, **how: Any) -> Ingest:
        return Ingest(store, self._folder / "journal", **how)


def by_single_bytes(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


def anywhere(seed: str) -> Cut:
    """Pieces of one byte up to some hundreds, the same at every run."""
    dice = random.Random(seed)

    def cut(data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            size = dice.choice((1, 2, 3, dice.randint(1, 40), dice.randint(1, 900)))
            yield data[at : at + size]
            at += size

    return cut


@each_session
async def test_a_session_is_told_as_it_must_be(session: RecordedSession, stage: Stage) -> None:
    for _ in session.play(stage.writer):
        assert stage.writer.commit()
    async with stage.store() as store:
        await stage.ingest(store).catch_up()
        found = await told(store)
        assert found == session.expected
        assert [call.get("problems") for call in found["calls"]] == [None] * len(found["calls"])


@each_session
async def test_a_session_in_single_bytes_and_an_ingest_that_dies_after_each_call(
    session: RecordedSession, stage: Stage
) -> None:
    for at, _ in enumerate(session.play(stage.writer, by_single_bytes)):
        assert at % 100 or stage.writer.commit()
    assert stage.writer.commit()
    async with stage.store() as store:
        count = 1
        while count:
            ingest = stage.ingest(store, batch_calls=1)
            count = await ingest._cycle()
            ingest._restart()
        assert await told(store) == session.expected


@each_session
@pytest.mark.parametrize("seed", range(2))
async def test_a_session_cut_anywhere_and_an_ingest_that_dies_at_any_moment(
    session: RecordedSession, stage: Stage, seed: int
) -> None:
    """The ingest reads while the bytes come; connections are not compressed at every second seed."""
    dice = random.Random(f"{seed} {session.name}")
    async with stage.store() as store:
        ingest = stage.ingest(store)
        for _ in session.play(stage.writer, anywhere(f"{seed} {session.name}"), deflate=seed % 2 == 0):
            if dice.random() < 0.02:
                assert stage.writer.commit()
                await ingest._cycle()
            if dice.random() < 0.02:
                ingest._restart()
                ingest = stage.ingest(store)
        assert stage.writer.commit()
        await ingest.catch_up()
        assert await told(store) == session.expected
