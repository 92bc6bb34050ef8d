"""The ingest: exactly once, whatever is interrupted; one bad call costs one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocproxy import query
from ocproxy.errors import JournalError, StoreBusy, StoreRefused
from ocproxy.ingest import assemble
from ocproxy.ingest import loop as loop_module
from ocproxy.ingest.loop import Ingest
from ocproxy.ingest.recorder import Recorder
from ocproxy.model import Batch
from ocproxy.store import migrations
from ocproxy.store.base import Store, open_store
from tests.support.conversations import Json, Relay, assistant, result, use, user
from tests.support.engines import sqlite_file
from tests.support.stored import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def relay(root: Path) -> Iterator[Relay]:
    relay = Relay(root / "worker-0")
    yield relay
    relay.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        yield store


def work(relay: Relay, session: str | None = "one", turns: int = 4, tag: str = "") -> None:
    """A conversation that reads, edits and fails, resending its history each turn."""
    history = [user(f"do it{tag}")]
    steps = [
        (use(f"t1{tag}", "Read", file_path="/w/a.txt"), result(f"t1{tag}", "1\talpha\n2\tbeta\n3\t")),
        (
            use(f"t2{tag}", "Edit", file_path="/w/a.txt", old_string="beta", new_string="BETA"),
            result(f"t2{tag}", "The file /w/a.txt has been updated successfully."),
        ),
        (use(f"t3{tag}", "Bash", command="exit 3"), result(f"t3{tag}", "Exit code 3\nno", is_error=True)),
        (use(f"t4{tag}", "Bash", command="ls"), result(f"t4{tag}", "a.txt", is_error=False)),
    ]
    for ask, answer in steps[:turns]:
        reply = assistant("next", ask)
        relay.call(history, reply, session=session)
        history += [reply, user(answer)]
    relay.call(history, assistant("done"), session=session)


def compact(relay: Relay) -> None:
    """A conversation of pi, which names no session, made shorter twice: the first summary is of words that nobody
    knows, and the calls that are kept behind it tell whose it is."""

    def call(history: list[Json], reply: Json, **body: Any) -> None:
        relay.finish(relay.begin(history, headers={"user-agent": "pi/1.6.0 (linux; x64)"}, **body), reply)

    def summarise(told: str, answer: str, before: str = "") -> None:
        asked = user(f"<conversation>\n{told}\n</conversation>{before}\n\nCreate a summary.")
        call([asked], assistant(answer), system="You are a context summarization assistant.", tools=[])

    first, second = (
        f"## Goal\nThe {name} goal of these words.\n\n## State\nNothing is left." for name in ("old", "new")
    )
    ask, answer = use("t1", "read", path="/w/a.txt"), result("t1", "alpha\n", is_error=False)
    call([user("do it")], assistant("I read.", ask))
    summarise("[User]: words that nobody said", first)
    kept = [
        user(f"The history was compacted:\n\n<summary>\n{first}\n</summary>"),
        assistant("I read.", ask),
        user(answer),
    ]
    call(kept, assistant("done"))
    earlier = f"\n\n<previous-summary>\n{first}\n</previous-summary>"
    summarise("[Assistant]: I read.\n\n[Tool result]: alpha\n\n[Assistant]: done", second, earlier)
    call([user(f"The history was compacted:\n\n<summary>\n{second}\n</summary>"), user("more")], assistant("no more"))


async def test_a_conversation_becomes_one_session_with_each_message_once(
    root: Path, relay: Relay, store: Store
) -> None:
    work(relay)
    await Ingest(store, root).catch_up()
    (summary,) = await store.summaries()
    assert (summary.calls, summary.messages, summary.file_events) == (5, 10, 4)
    assert summary.tokens == {
        "input_tokens": 50, "output_tokens": 25, "cache_read_tokens": 15, "cache_write_tokens": 0,
    }  # fmt: skip
    events = await store.file_events(summary.row.id)
    assert [(e.event_type, e.status, e.exit_code) for e in events] == [
        ("read", "applied", None), ("edit", "applied", None), ("bash", "failed", 3), ("bash", "applied", 0),
    ]  # fmt: skip
    assert events[1].diff is not None
    assert "@@ -1,2 +1,2 @@\n alpha\n-beta\n+BETA\n" in events[1].diff


@pytest.mark.parametrize("write", [work, compact])
async def test_an_interruption_after_any_call_gives_the_same_rows(
    tmp_path: Path, write: Callable[[Relay], None]
) -> None:
    expected: dict[str, Any] | None = None
    for stop_after in (None, 0, 1, 2, 3, 4):
        folder = tmp_path / str(stop_after)
        relay = Relay(tmp_path / "journal" / "worker-0") if stop_after is None else None
        if relay is not None:
            write(relay)
            relay.close()
        async with await open_store(sqlite_file(folder / "ocproxy.db")) as store:
            if stop_after is not None:
                first = Ingest(store, tmp_path / "journal", batch_calls=1)
                for _ in range(stop_after):
                    await first._cycle()  # one call a cycle; a new Ingest below remembers nothing of it
                first._restart()
            await Ingest(store, tmp_path / "journal").catch_up()
            found = await rows(store)
        expected = expected or found
        assert found == expected
        (session,) = found["sessions"]
        assert {call.session_id for call in found["calls"]} == {session.id}


async def test_ingesting_again_from_the_beginning_changes_nothing(root: Path, relay: Relay, store: Store) -> None:
    work(relay, session=None)
    await Ingest(store, root).catch_up()
    before = await rows(store)
    positions = await store.positions()
    reset = [type(p)(p.journal, "0000000000:0", "0000000000:0") for p in positions.values()]
    await store.commit(Batch(positions=reset))
    await Ingest(store, root).catch_up()
    assert await rows(store) == before
    assert await store.positions() == positions


async def test_an_exchange_that_is_open_at_a_restart_is_stored_whole_later(
    root: Path, relay: Relay, store: Store
) -> None:
    number = relay.begin([user("slow")], session="one")
    relay.call([user("fast")], assistant("done"), session="two")
    await Ingest(store, root).catch_up()
    assert len(await store.calls()) == 1
    relay.finish(number, assistant("at last"))
    await Ingest(store, root).catch_up()
    calls = await store.calls()
    assert [call.outcome for call in calls] == ["complete", "complete"]
    assert [call.message_id is not None for call in calls] == [True, True]


async def test_agents_without_identity_are_told_apart_by_their_histories(
    root: Path, relay: Relay, store: Store
) -> None:
    work(relay, session=None, tag="-a")
    work(relay, session=None, tag="-b")
    await Ingest(store, root, batch_calls=3).catch_up()
    assert [(s.calls, s.messages) for s in await store.summaries()] == [(5, 10), (5, 10)]


async def test_two_agents_with_the_same_prompt_at_once_are_two_sessions(root: Path, relay: Relay, store: Store) -> None:
    a, b = relay.begin([user("hi")]), relay.begin([user("hi")])
    relay.finish(a, assistant("I am a", use("ta", "Bash", command="ls")))
    relay.finish(b, assistant("I am b", use("tb", "Bash", command="ls")))
    for id, name in (("ta", "a"), ("tb", "b")):
        history = [user("hi"), assistant(f"I am {name}", use(id, "Bash", command="ls")), user(result(id, "x"))]
        relay.call(history, assistant("done"))
    await Ingest(store, root).catch_up()
    assert [(s.calls, s.messages) for s in await store.summaries()] == [(2, 4), (2, 4)]


async def test_a_first_request_that_failed_is_retried_in_one_session(root: Path, relay: Relay, store: Store) -> None:
    relay.call([user("hi")], None)
    relay.call([user("hi")], assistant("hello"))
    relay.call([user("hi")], assistant("hello, other one"))
    await Ingest(store, root).catch_up()
    assert sorted(s.calls for s in await store.summaries()) == [1, 2]
    assert [call.status for call in await store.calls()] == [529, 200, 200]


async def test_runs_keep_the_same_conversation_apart(root: Path, relay: Relay, store: Store) -> None:
    for run in ("one", "two"):
        relay.call([user("hi")], assistant("hello"), run=run)
    for run in ("one", "two"):
        relay.call([user("hi"), assistant("hello"), user("more")], assistant("ok"), run=run)
    await Ingest(store, root).catch_up()
    assert sorted((s.row.run, s.calls) for s in await store.summaries()) == [("one", 2), ("two", 2)]


async def test_what_a_dead_relay_left_open_is_stored_when_the_next_one_begins(
    root: Path, relay: Relay, store: Store
) -> None:
    relay.begin([user("never answered")], session="one")
    relay.close()
    following = Relay(root / "worker-0")
    await Ingest(store, root).catch_up()
    (call,) = await store.calls()
    assert (call.outcome, call.status) == ("recorder_died", None)
    following.close()


async def test_a_mistake_of_ours_costs_one_call_and_is_told(
    root: Path, relay: Relay, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(relay, turns=1)
    relay.call([user("poison")], assistant("x"), session="two")
    work(relay, session="three", turns=0)
    record = Recorder.record

    async def fragile(self: Recorder, item: Any, batch: Batch) -> None:
        if item.identity.session == "two":
            raise ZeroDivisionError("oh")
        await record(self, item, batch)

    monkeypatch.setattr(Recorder, "record", fragile)
    await Ingest(store, root).catch_up()
    calls = await store.calls()
    assert len(calls) == 4
    (poisoned,) = [call for call in calls if call.session_id is None]
    assert "ZeroDivisionError: oh" in poisoned.problems[-1]["message"]
    assert {s.messages for s in await store.summaries()} == {4, 2}


async def test_rows_that_the_database_refuses_cost_one_call(
    root: Path, relay: Relay, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(relay)
    relay.call([user("poison")], assistant("x"), session="two")
    work(relay, session=None, tag="-b")
    commit = store.commit

    async def choosy(batch: Batch, *known: Any) -> None:
        if any("poison" in (message.content or "") for message in batch.messages):
            raise StoreRefused("the database refused: a value is too large")
        await commit(batch, *known)

    monkeypatch.setattr(store, "commit", choosy)
    await Ingest(store, root).catch_up()
    calls = await store.calls()
    assert len(calls) == 11
    (refused,) = [call for call in calls if call.session_id is None]
    assert "a value is too large" in refused.problems[-1]["message"]
    assert all(call.cost for call in calls if call is not refused)  # also of those that were stored one by one
    assert [(s.calls, s.messages, s.file_events) for s in await store.summaries()] == [(5, 10, 4), (5, 10, 4)]


async def test_a_busy_database_is_waited_for_and_nothing_is_lost(
    root: Path, relay: Relay, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "FIRST_WAIT", 0.01)
    work(relay)
    commit, tries = store.commit, 0

    async def busy(batch: Batch, *known: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise StoreBusy("the database is locked")
        await commit(batch, *known)

    monkeypatch.setattr(store, "commit", busy)
    ingest, stop = Ingest(store, root, poll_ms=10), asyncio.Event()
    task = asyncio.create_task(ingest.run(stop))
    while not await store.calls():
        await asyncio.sleep(0.01)
        assert not task.done()
    stop.set()
    await task
    assert tries >= 4
    assert ingest.trouble is None
    (summary,) = await store.summaries()
    assert (summary.calls, summary.messages, summary.file_events) == (5, 10, 4)


async def test_a_journal_that_cannot_be_read_holds_up_no_other(root: Path, relay: Relay, store: Store) -> None:
    work(relay)
    other = Relay(root / "worker-1")
    other.close()
    (root / "worker-1" / "id").write_text("0" * 32)  # its segments say otherwise
    nameless = root / "worker-2"
    nameless.mkdir()
    (nameless / "0000000001.seg").write_bytes(b"not a segment")
    with pytest.raises(JournalError, match="worker-"):
        await Ingest(store, root).catch_up()
    assert len(await store.calls()) == 5


async def test_a_follower_is_told_of_new_rows(root: Path, relay: Relay, store: Store) -> None:
    cursor = await query.cursor(store)
    work(relay, turns=1)
    await Ingest(store, root).catch_up()
    told = (await query.changes_since(store, cursor)).rows
    assert [row["what"] for row in told].count("message") == 4
    assert {row["what"] for row in told} == {"session", "message", "file_event", "call"}


async def test_a_call_that_is_read_late_finds_its_messages_there(root: Path, relay: Relay, store: Store) -> None:
    ask, answer = use("t1", "Bash", command="ls"), result("t1", "a.txt", is_error=False)
    slow = relay.begin([user("go")], session="one")
    other = Relay(root / "worker-1")  # another worker serves the next call, and its journal is read first
    other.call([user("go"), assistant("I look", ask), user(answer)], assistant("done"), session="one")
    other.close()
    await Ingest(store, root).catch_up()
    relay.finish(slow, assistant("I look", ask))
    await Ingest(store, root).catch_up()
    (summary,) = await store.summaries()
    assert (summary.calls, summary.messages, summary.file_events) == (2, 4, 1)
    first, second = await store.calls()
    messages = await store.messages(summary.row.id)
    assert [first.message_id, second.message_id] == [messages[1].id, messages[3].id]


async def test_a_giant_call_is_counted_whole_and_costs_only_what_it_says(
    root: Path, relay: Relay, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "MOST_BYTES", 10_000)
    relay.call([user("x" * 100_000)], assistant("hello"), session="one")
    relay.call([user("hi")], assistant("hello"), session="one")
    await Ingest(store, root).catch_up()
    giant, small = await store.calls()
    assert giant.request_bytes > 100_000
    assert "too_large" in [problem["code"] for problem in giant.problems]
    assert small.problems == []


async def test_what_a_downgrade_dropped_is_there_again_after_the_upgrade(
    tmp_path: Path, root: Path, relay: Relay
) -> None:
    url = f"sqlite:///{tmp_path / 'moved.db'}"
    work(relay)
    found = []
    for _ in range(2):
        async with await open_store(url) as store:
            await Ingest(store, root).catch_up()
            found.append(await rows(store))
        migrations.downgrade(url, "20260413_add_opencode_tables")
    assert found[0] == found[1]
