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
from tests.support.sessions import Cut, load, names
from tests.support.told import told

pytestmark = pytest.mark.anyio

# One over each protocol, and one of each content coding.
FEW = [
    "pi-messages-a-short-session",
    "pi-chat-completions-a-short-session",
    "gemini-cli-a-short-session",
    "codex-chatgpt-login-http-with-zstd-functions-a-short-session",
    "codex-websocket-code-mode-a-short-session",
    "claude-code-gzip-cut-at-odd-places-a-short-session",
]
CUT = [(name, True) for name in names()] + [(name, False) for name in names() if load(name).has_sockets]


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


@pytest.mark.parametrize("name", FEW)
async def test_a_session_in_single_bytes_and_an_ingest_that_dies_after_each_call(name: str, stage: Stage) -> None:
    session = load(name)
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


@pytest.mark.parametrize(("name", "deflate"), CUT)
async def test_a_session_is_told_as_it_must_be_cut_anywhere_and_interrupted_at_any_moment(
    name: str, deflate: bool, stage: Stage
) -> None:
    """Connections are played compressed, and once more plain."""
    async with stage.store() as store:
        found = await told_with_deaths(stage, store, name, 0.005, deflate=deflate)
    assert found == load(name).expected
    whole = [call for call in found["calls"] if call["outcome"] == "complete"]
    assert whole
    assert [call.get("problems") for call in whole] == [None] * len(whole)


@pytest.mark.parametrize("name", FEW)
async def test_a_session_is_told_as_it_must_be_by_an_ingest_that_dies_all_the_time(name: str, stage: Stage) -> None:
    async with stage.store() as store:
        assert await told_with_deaths(stage, store, name, 0.05) == load(name).expected


async def told_with_deaths(stage: Stage, store: Store, name: str, chance: float, *, deflate: bool = True) -> Any:
    """What is told by an ingest that reads while the bytes come, and dies with that chance at each record."""
    dice = random.Random(f"{name} {chance} {deflate}")
    ingest = stage.ingest(store)
    for _ in load(name).play(stage.writer, anywhere(f"{name} {chance}"), deflate=deflate):
        if dice.random() < chance:
            assert stage.writer.commit()
            await ingest._cycle()
            ingest._restart()
            ingest = stage.ingest(store)
    assert stage.writer.commit()
    await ingest.catch_up()
    return await told(store)
