"""The same rows in whatever pieces and at whatever time the journals are read: one worker or several, live or later."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ocproxy.errors import JournalError, StoreBusy
from ocproxy.exchange import Position, Record
from ocproxy.ingest.loop import Ingest
from ocproxy.ingest.recorder import Recorder
from ocproxy.journal import JournalReader
from ocproxy.model import Batch
from ocproxy.service.flush import ends
from ocproxy.store.base import Store, open_store
from tests.support.conversations import Json, Relay, assistant, result, use, user
from tests.support.engines import sqlite_file
from tests.support.stored import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def relays(root: Path) -> Iterator[list[Relay]]:
    found = [Relay(root / "worker-0"), Relay(root / "worker-1")]
    yield found
    for relay in found:
        relay.close()


@asynccontextmanager
async def empty(tmp_path: Path, name: str) -> AsyncIterator[Store]:
    async with await open_store(sqlite_file(tmp_path / f"{name}.db")) as store:
        yield store


async def replayed(tmp_path: Path, batch_calls: int) -> dict[str, Any]:
    """The rows of an empty database that is filled from the whole journal."""
    async with empty(tmp_path, f"replay-{batch_calls}") as store:
        await Ingest(store, tmp_path / "journal", batch_calls=batch_calls).catch_up()
        return await rows(store)


async def test_a_replay_of_several_journals_gives_the_rows_of_the_live_run(
    tmp_path: Path, root: Path, relays: list[Relay]
) -> None:
    histories: list[list[Json]] = [[user(f"task {n}")] for n in range(3)]
    async with empty(tmp_path, "live") as store:
        live = Ingest(store, root)
        for turn in range(6):
            for n, history in enumerate(histories):
                id = f"t{n}-{turn}"
                reply = assistant(f"turn {turn}", use(id, "Bash", command=f"step {turn}"))
                relays[turn % 2].call(history, reply)
                history += [reply, user(result(id, "ok"))]
            for n in range(8):  # other work fills the journal of one worker only
                relays[0].call([user(f"other {turn} {n}")], assistant("done"))
            await live.catch_up()
        expected = await rows(store)
    assert len(expected["sessions"]) == 3 + 48
    for batch_calls in (1, 4, 50):
        assert await replayed(tmp_path, batch_calls) == expected


async def test_an_exchange_that_its_relay_left_open_has_the_same_place_in_a_replay(tmp_path: Path, root: Path) -> None:
    relay = Relay(root / "worker-0")
    relay.begin([user("hi"), assistant("hello"), user("this way")], session="one")
    relay.call([user("hi"), assistant("hello"), user("that way")], assistant("done"), session="one")
    async with empty(tmp_path, "live") as store:
        await Ingest(store, root).catch_up()
        relay.close()
        following = Relay(root / "worker-0")
        await Ingest(store, root).catch_up()
        expected = await rows(store)
    assert [message.content for message in expected["messages"]] == ["hi", "hello", "that way", "done", "this way"]
    assert await replayed(tmp_path, 50) == expected
    following.close()


async def test_a_clock_that_goes_back_changes_no_order(
    tmp_path: Path, root: Path, relays: list[Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    for n in range(4):
        monkeypatch.setattr(time, "time_ns", lambda back=n: now() - back * 3_600 * 10**9)
        relays[0].call([user(f"question {n}")], assistant("done"), session="one")
    monkeypatch.undo()
    assert await replayed(tmp_path, 1) == await replayed(tmp_path, 50)


async def test_what_was_read_before_a_journal_failed_is_stored(
    tmp_path: Path, root: Path, relays: list[Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        relays[0].call([user(f"question {n}")], assistant("done"), session="one")
    follow: Callable[..., Iterator[tuple[Position, Record]]] = JournalReader.follow

    def failing(self: JournalReader, position: Position | None = None) -> Iterator[tuple[Position, Record]]:
        yield from follow(self, position)
        raise JournalError("the next segment is of a newer version")

    monkeypatch.setattr(JournalReader, "follow", failing)
    async with empty(tmp_path, "live") as store:
        with pytest.raises(JournalError, match="newer version"):
            await Ingest(store, root).catch_up()
        assert len(await store.calls()) == 3
        monkeypatch.undo()
        assert await Ingest(store, root).catch_up() == 0


async def test_an_end_that_moves_on_does_not_put_off_who_asked_for_what_was_there(
    tmp_path: Path, root: Path, relays: list[Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    relays[0].call([user("before")], assistant("done"))
    goals = ends(root)
    async with empty(tmp_path, "live") as store:
        commit = store.commit

        async def commit_and_more(batch: Batch, *known: Any) -> None:
            await commit(batch, *known)
            assert len(await store.calls()) < 9, "it never ends"
            relays[0].call([user("later")], assistant("done"))

        monkeypatch.setattr(store, "commit", commit_and_more)
        assert await Ingest(store, root).catch_up(goals) == 1
        monkeypatch.undo()
        assert len(await store.calls()) == 1


async def test_a_call_that_cannot_be_recorded_is_stored_with_the_others_or_not_at_all(
    tmp_path: Path, root: Path, relays: list[Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    relays[0].call([user("hi")], None)
    relays[0].call([user("hi")], assistant("hello"))
    relays[0].call([user("poison")], assistant("x"), session="two")
    record = Recorder.record

    async def fragile(self: Recorder, item: Any, batch: Batch) -> None:
        await record(self, item, batch)
        if item.identity.session == "two":
            raise ZeroDivisionError("oh")

    monkeypatch.setattr(Recorder, "record", fragile)
    expected = await replayed(tmp_path, 50)
    async with empty(tmp_path, "live") as store:
        commit, commits = store.commit, 0

        async def once(batch: Batch, *known: Any) -> None:
            nonlocal commits
            if commits == 1:
                raise StoreBusy("the database is locked")
            await commit(batch, *known)
            commits += 1

        monkeypatch.setattr(store, "commit", once)
        try:
            await Ingest(store, root).catch_up()
        except StoreBusy:
            monkeypatch.setattr(store, "commit", commit)
            await Ingest(store, root).catch_up()
        assert await rows(store) == expected
    assert [summary.id for summary in expected["sessions"]] == [expected["calls"][0].id]
