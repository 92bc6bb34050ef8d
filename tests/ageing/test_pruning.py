"""Sessions that are old go with all that hang on them, in pieces, and the journal gets smaller by what held them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ocproxy.ageing import pruning
from ocproxy.ageing.pruning import measure, prune
from ocproxy.ageing.retention import Retention
from ocproxy.config import Config
from ocproxy.config import Retention as Rules
from ocproxy.journal import compress_sealed, verify
from ocproxy.journal.segments import list_segments
from ocproxy.model import Batch
from ocproxy.store.base import Store, open_store
from tests.support.ageing import SECRET, Folder, hold
from tests.support.conversations import Relay
from tests.support.rows import NOON, call, message, session
from tests.support.stored import of_sessions, rows

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)


def ages(store_rows: dict[str, int], **parents: str) -> Batch:
    """Sessions whose last call was so many days before NOON."""
    return Batch(
        sessions=[
            session(id, NOON - days * DAY, parent_id=parents.get(id), prompt=id) for id, days in store_rows.items()
        ],
        messages=[message(f"{id}-m", id) for id in store_rows],
        calls=[call(f"{id}-c", id, NOON - days * DAY, input_tokens=9, cost=2) for id, days in store_rows.items()],
    )


async def left(store: Store) -> list[str]:
    return sorted(one.row.id for one in await store.summaries())


async def test_what_is_older_goes_and_what_is_not_stays(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(ages({"new": 1, "edge": 90, "old": 91, "older": 400}))
        planned = await measure(store, NOON - 90 * DAY, keep_usage=False)
        assert (planned.extent.sessions, planned.extent.messages, planned.extent.calls) == (2, 2, 2)
        assert await left(store) == ["edge", "new", "old", "older"], "to measure takes nothing away"
        done = await prune(store, NOON - 90 * DAY, keep_usage=False, reason="prune")
        assert done == planned
        assert await left(store) == ["edge", "new"]
        assert (await prune(store, NOON - 90 * DAY, keep_usage=False, reason="prune")).extent.sessions == 0


async def test_a_family_is_as_old_as_its_youngest(url: str) -> None:
    async with await open_store(url) as store:
        tree = {"root": 200, "child": 150, "grandchild": 10, "alone": 150, "done": 150, "of-done": 120}
        await store.commit(ages(tree, child="root", grandchild="child", **{"of-done": "done"}, alone="unknown"))
        planned = await measure(store, NOON - 90 * DAY, keep_usage=False)
        assert (planned.extent.sessions, planned.held) == (3, 2)
        await prune(store, NOON - 90 * DAY, keep_usage=False, reason="prune")
        assert await left(store) == ["child", "grandchild", "root"]


async def test_many_go_in_many_pieces_and_families_stay_whole(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_LOOKED_AT", 7)
    monkeypatch.setattr(pruning, "_AT_ONCE", 3)
    monkeypatch.setattr(pruning, "_CALLS_AT_ONCE", 4)
    monkeypatch.setattr(pruning, "_PAUSE_SECONDS", 0)
    old = {f"s{number:02d}": 100 + number for number in range(40)}
    parents = {f"s{number:02d}": f"s{(number * 7 + 20) % 40:02d}" for number in range(0, 40, 5)}
    async with await open_store(url) as store:
        await store.commit(ages({**old, "new": 1, "s99": 95}, s99="new", **parents))
        await store.commit(Batch(calls=[call(f"stray{n}", None, NOON - 100 * DAY) for n in range(10)]))
        assert (await measure(store, NOON - 90 * DAY, keep_usage=False)).extent.calls == 50
        done = await prune(store, NOON - 90 * DAY, keep_usage=False, reason="prune")
        assert (done.extent.sessions, done.extent.calls, done.held) == (40, 50, 1)
        assert await left(store) == ["new", "s99"]
        assert len(await store.removals(100)) > 10


async def test_with_usage_kept_totals_are_what_they_were_and_a_second_time_finds_nothing(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(ages({"new": 1, "old": 91}))
        await store.commit(Batch(calls=[call("stray", None, NOON - 100 * DAY, input_tokens=1, cost=1)]))
        spent = await store.spending("agent"), await store.spending("session")
        done = await prune(store, NOON - 90 * DAY, keep_usage=True, reason="prune")
        assert (done.extent.sessions, done.extent.messages, done.extent.calls) == (1, 1, 2)
        assert (await store.spending("agent"), await store.spending("session")) == spent
        assert await store.messages("old") == [] and len(await store.messages("new")) == 1
        assert (await measure(store, NOON - 90 * DAY, keep_usage=True)).extent.calls == 0
        # A session that goes on afterwards is old again some day.
        await store.commit(Batch(sessions=[session("old", datetime.now(UTC) + DAY)], messages=[message("m2", "old")]))
        late = datetime.now(UTC) + 2 * DAY
        assert "old" in [one.id for one in await store.old_sessions(late, keep_usage=True, after=None, limit=9)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "data")
    yield folder
    folder.relay.close()


def another_segment(folder: Folder) -> None:
    folder.relay.close()
    folder.relay = Relay(folder.root / "worker-0")


def numbers(folder: Folder) -> list[int]:
    return [segment.number for segment in list_segments(folder.root / "worker-0")]


async def filled(folder: Folder, store: Store, monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Three segments: old alone, old and new, new. Returns a time after the old ones."""
    folder.work("old-1", SECRET)
    another_segment(folder)
    folder.work("old-2", SECRET)
    await folder.ingest(store)
    between = max(one.row.updated_at for one in await store.summaries()) + timedelta(microseconds=1)
    folder.work("new-1", "harmless words")
    another_segment(folder)
    folder.work("new-2", "harmless words")
    await folder.ingest(store)
    compress_sealed(folder.root / "worker-0")
    return between


@pytest.mark.parametrize("keep_usage", [True, False])
async def test_segments_go_whole_where_all_is_old_and_are_erased_in_where_not(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, keep_usage: bool
) -> None:
    async with await open_store(folder.url) as store:
        between = await filled(folder, store, monkeypatch)
        before = await rows(store)
        await prune(store, between, keep_usage=keep_usage, reason="prune")
        done = await folder.erase(store)
        assert (done.removed, done.segments) == (1, 1)
        assert numbers(folder) == [2, 3]
        await store.settle(compact=True)
        assert hold(folder.data, SECRET) == []
        after = await rows(store)
        new = {row.id for row in before["sessions"] if row.opencode_id.startswith("new")}
        assert after["messages"] == [row for row in before["messages"] if row.session_id in new]
        assert len(after["calls"]) == (len(before["calls"]) if keep_usage else 10)
        if not keep_usage:
            assert of_sessions(await folder.rebuilt()) == of_sessions(after)
    assert verify(folder.root / "worker-0").good


def retention(folder: Folder, store: Store, **rules: Any) -> Retention:
    return Retention(Config(data_dir=str(folder.data), retention=Rules(**rules)), store)


async def test_a_server_removes_nothing_by_itself_unless_it_is_told_to(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await open_store(folder.url) as store:
        await filled(folder, store, monkeypatch)
        await store.commit(ages({"ancient": 10_000}))
        before = await rows(store)
        assert await retention(folder, store).tend(asyncio.Event()) == []
        assert await rows(store) == before and numbers(folder) == [1, 2, 3]


async def test_a_server_that_is_told_to_says_what_it_removed_and_looks_again_after_an_hour(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await open_store(folder.url) as store:
        await store.commit(ages({"ancient": 10_000}))
        tending = retention(folder, store, older_than="90d")
        (said,) = await tending.tend(asyncio.Event())
        assert said == (
            "retention: older than 90d: 1 sessions, 1 messages, 0 file events, of 1 calls only tokens and cost stay"
        )
        assert [one.reason for one in await store.removals(5)] == ["retention: older than 90d"]
        await store.commit(ages({"ancient-2": 10_000}))
        assert await tending.tend(asyncio.Event()) == [] and len(await store.messages("ancient-2")) == 1
        tending._next = 0.0
        assert len(await tending.tend(asyncio.Event())) == 1 and await store.messages("ancient-2") == []


async def test_every_server_erases_from_its_journals_what_others_removed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await open_store(folder.url) as store:
        between = await filled(folder, store, monkeypatch)
        await prune(store, between, keep_usage=True, reason="prune")
        (said,) = await retention(folder, store).tend(asyncio.Event())
        assert said.startswith("erased from the journal what was removed from the database: 25 records")
        assert said.endswith("1 whole segments")
        assert hold(folder.root, SECRET) == []


async def test_who_is_told_to_stop_leaves_the_rest_for_later(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await open_store(folder.url) as store:
        between = await filled(folder, store, monkeypatch)
        stop = asyncio.Event()
        stop.set()
        assert (await prune(store, between, keep_usage=False, reason="prune", stop=stop)).extent.sessions == 0
        await prune(store, between, keep_usage=False, reason="prune")
        await retention(folder, store).tend(stop)
        assert hold(folder.root, SECRET)
        await retention(folder, store).tend(asyncio.Event())
        assert hold(folder.root, SECRET) == []
