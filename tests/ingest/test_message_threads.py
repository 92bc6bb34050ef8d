"""Threads of the Messages API, as the tool runner of Anthropic's SDK 2.14 sends them: the server holds the history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocproxy.ingest.loop import Ingest
from ocproxy.store.base import open_store
from tests.support.conversations import Relay, assistant, result, use, user
from tests.support.engines import sqlite_file

pytestmark = pytest.mark.anyio


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(tmp_path / "journal" / "worker-0")
    yield relay
    relay.close()


@pytest.mark.parametrize("pieces", [False, True])
async def test_turns_of_a_thread_stand_behind_the_replies_that_they_name(
    tmp_path: Path, relay: Relay, pieces: bool
) -> None:
    ask = [user("Go.")]
    first = relay.call(ask, assistant("Reading.", use("a", "read_file", path="/w/a")), thread={"type": "create"})
    twin = relay.call(ask, assistant("Reading.", use("b", "read_file", path="/w/a")), thread={"type": "create"})
    for before, id in ((twin, "b"), (first, "a")):
        thread = {"type": "continue", "previous_message_id": f"msg_{before}"}
        relay.call([user(result(id, "alpha"))], assistant(f"Done {id}."), thread=thread)
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        for _ in range(4 if pieces else 0):
            ingest = Ingest(store, tmp_path / "journal", batch_calls=1)
            await ingest._cycle()
            ingest._restart()
        await Ingest(store, tmp_path / "journal").catch_up()
        sessions = sorted(await store.summaries(), key=lambda summary: summary.row.created_at)
        told = [[message.content for message in await store.messages(one.row.id)] for one in sessions]
        problems = [call.problems for call in await store.calls()]
    assert told == [["Go.", "Reading.", "alpha", "Done a."], ["Go.", "Reading.", "alpha", "Done b."]]
    assert problems == [[], [], [], []]


async def test_a_thread_of_an_unknown_form_is_told(tmp_path: Path, relay: Relay) -> None:
    relay.call([user("Go.")], assistant("Yes."), thread={"type": "fork"})
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        (call,) = await store.calls()
    assert [problem["code"] for problem in call.problems] == ["wrong_type"]
