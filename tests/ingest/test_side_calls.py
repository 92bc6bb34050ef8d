"""Calls beside the conversation: counted, never part of it; a title call titles its session, whichever comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocproxy.ingest.loop import Ingest
from ocproxy.store.base import Store, open_store
from tests.support.conversations import Relay, assistant, user
from tests.support.engines import sqlite_file

pytestmark = pytest.mark.anyio

NAMING: dict[str, Any] = {"system": "You are naming a coding session. Answer with JSON.", "tools": []}
TOPIC: dict[str, Any] = {"system": "Analyze if this is a new topic: isNewTopic (boolean), title.", "tools": []}


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(tmp_path / "journal" / "worker-0")
    yield relay
    relay.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        yield store


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [("title", NAMING, '{"title": "Mend it"}'), ("topic", TOPIC, '{"isNewTopic": true, "title": "Mend it"}')],
)
@pytest.mark.parametrize("first", [True, False])
async def test_a_naming_call_titles_its_session_and_makes_no_message(
    tmp_path: Path, relay: Relay, store: Store, kind: str, body: dict[str, Any], said: str, first: bool
) -> None:
    if not first:
        relay.call([user("mend it, please")], assistant("done"), session="one")
    relay.call([user("mend it, please")], assistant(said), session="one", **body)
    if first:
        relay.call([user("mend it, please")], assistant("done"), session="one")
    await Ingest(store, tmp_path / "journal").catch_up()
    (summary,) = await store.summaries()
    assert (summary.row.title, summary.row.prompt) == ("Mend it", "mend it, please")
    assert (summary.calls, summary.messages, summary.tokens["input_tokens"]) == (2, 2, 20)
    assert sorted(call.kind for call in await store.calls()) == sorted([kind, "main"])
    assert [message.content for message in await store.messages(summary.row.id)] == ["mend it, please", "done"]


async def test_compaction_is_a_new_branch_of_the_same_session_and_the_old_one_stays(
    tmp_path: Path, relay: Relay, store: Store
) -> None:
    old = [user("one"), assistant("1"), user("two")]
    relay.call(old[:1], old[1], session="s")
    relay.call(old, assistant("2"), session="s")
    ask = user("CRITICAL: Respond with TEXT ONLY. Your task is to create a detailed summary of the conversation.")
    relay.call([*old, assistant("2"), ask], assistant("<summary>all</summary>"), session="s")
    relay.call([user("This session is being continued: all"), user("three")], assistant("3"), session="s")
    await Ingest(store, tmp_path / "journal").catch_up()
    (summary,) = await store.summaries()
    messages = await store.messages(summary.row.id)
    assert [message.content for message in messages] == [
        "one", "1", "two", "2", "This session is being continued: all", "three", "3",
    ]  # fmt: skip
    assert [message.parent_id is None for message in messages].count(True) == 2
    assert [call.kind for call in await store.calls()] == ["main", "main", "summary", "main"]
