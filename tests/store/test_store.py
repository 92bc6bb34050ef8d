"""What every store promises, told on each kind of database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from ocproxy.errors import StoreError, StoreMoved, StoreRefused
from ocproxy.model import (
    Batch,
    IngestPosition,
    IngestTurn,
    Status,
    ToolUseRow,
)
from ocproxy.store import sql
from ocproxy.store.base import Store, open_store
from tests.support.rows import NOON, call, event, message, session

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with await open_store(url) as store:
        yield store


async def test_what_was_committed_comes_back_equal(store: Store) -> None:
    batch = Batch(
        sessions=[session(title="A title", model="m")],
        messages=[message("m1"), message("m2", seq=1, parent_id="m1", depth=1)],
        tool_uses=[ToolUseRow("s1", "t1", "m2", "Edit")],
        file_events=[event("e1", diff="--- a/x\n+++ b/x\n", exit_code=None)],
        calls=[call("c1", input_tokens=5, problems=[{"code": "x", "message": "y"}])],
        positions=[IngestPosition("j", "0000000001:99", "0000000001:64")],
    )
    await store.commit(batch)
    summary = await store.summary("s1")
    assert summary is not None
    assert summary.row == batch.sessions[0]
    assert (summary.calls, summary.messages, summary.file_events) == (1, 2, 1)
    assert summary.tokens["input_tokens"] == 5
    assert await store.messages("s1") == batch.messages
    assert await store.file_events("s1") == batch.file_events
    assert await store.calls("s1") == batch.calls
    assert await store.positions() == {"j": batch.positions[0]}


async def test_twice_is_once(store: Store) -> None:
    batch = Batch(
        sessions=[session()], messages=[message("m1")], file_events=[event("e1")], calls=[call("c1")],
        tool_uses=[ToolUseRow("s1", "t1", "m1", "Edit")],
    )  # fmt: skip
    await store.commit(batch)
    await store.commit(batch)
    (summary,) = await store.summaries()
    assert (summary.calls, summary.messages, summary.file_events) == (1, 1, 1)


async def test_a_file_event_takes_its_outcome_and_keeps_its_birth(store: Store) -> None:
    await store.commit(Batch(sessions=[session()], messages=[message("m1")], file_events=[event("e1")]))
    later = event("e1", Status.FAILED, note="String not found")
    await store.commit(Batch(file_events=[later]))
    assert await store.file_events() == [later]


async def test_a_session_keeps_its_first_title_and_lasts_from_the_earliest_time_to_the_latest(store: Store) -> None:
    await store.commit(Batch(sessions=[session(title="first", workdir="")]))
    await store.commit(
        Batch(sessions=[session(at=NOON + timedelta(hours=1), title="second", workdir="/w", model="m2")])
    )
    await store.commit(Batch(sessions=[session(at=NOON - timedelta(hours=1))]))
    summary = await store.summary("s1")
    assert summary is not None
    row = summary.row
    assert (row.title, row.workdir, row.model) == ("first", "/w", "m2")
    assert (row.created_at, row.updated_at) == (NOON - timedelta(hours=1), NOON + timedelta(hours=1))


async def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    orphan = Batch(
        sessions=[session()],
        messages=[message("m1", session_id="nobody")],
        positions=[IngestPosition("j", "0000000009:9", "0000000009:9")],
    )
    with pytest.raises(StoreError):
        await store.commit(orphan)
    assert await store.summaries() == []
    assert await store.positions() == {}


async def test_sessions_are_found_by_a_prefix_of_either_id(store: Store) -> None:
    await store.commit(Batch(sessions=[session("ab12"), session("ab34"), session("ab")]))
    assert await store.find_sessions("ab1") == ["ab12"]
    assert await store.find_sessions("own-ab3") == ["ab34"]
    assert await store.find_sessions("ab") == ["ab"]
    assert await store.find_sessions("a") == ["ab", "ab12", "ab34"]
    assert await store.find_sessions("%") == []
    assert await store.find_sessions("AB1") == []


async def test_text_that_databases_refuse_is_stored_with_replacement_characters(store: Store) -> None:
    parts = [{"type": "text", "text": "\ud800\0"}]
    await store.commit(
        Batch(sessions=[session(title="\ud800 \0 ü \ud83d\ude00")], messages=[message("m1", parts=parts)])
    )
    (stored,) = await store.messages("s1")
    summary = await store.summary("s1")
    assert summary is not None
    assert summary.row.title == "\ufffd \ufffd ü 😀"
    assert stored.parts == parts


async def test_the_json_of_the_wire_is_kept_as_it_was_sent(store: Store) -> None:
    parts = [{"zeta": 1, "alpha": [1e2, 10**30, 1e300, -0.0, True, None], "nul\0": "\0", "": "😀"}]
    await store.commit(Batch(sessions=[session()], messages=[message("m1", parts=parts)]))
    (stored,) = await store.messages("s1")
    assert json.dumps(stored.parts) == json.dumps(parts)


async def test_notes_of_ours_are_the_same_on_every_kind_of_database(store: Store) -> None:
    problems = [{"code": "x", "message": "a NUL \0 and half a pair \ud800"}]
    await store.commit(Batch(calls=[call("c1", None, problems=problems)]))
    (stored,) = await store.calls()
    assert stored.problems == [{"code": "x", "message": "a NUL \ufffd and half a pair \ufffd"}]


async def test_ids_of_any_length_lead_to_their_session(store: Store) -> None:
    long = [f"call_{letter * 20_000}" for letter in "äb"]
    await store.commit(
        Batch(
            sessions=[session("s1", opencode_id=long[0])],
            messages=[message("m1")],
            tool_uses=[ToolUseRow("s1", id, "m1", "Edit") for id in long],
            calls=[call("c1", reply_id=long[0])],
        )
    )
    assert await store.sessions_of_tool_uses([*long, "call_"], "claude-code", None) == {id: {"s1"} for id in long}
    assert [row.id for row in await store.calls_of_reply(long[0])] == ["c1"]
    assert await store.find_sessions(long[0]) == ["s1"]


async def test_numbers_of_64_bits_are_taken_and_larger_ones_refused(store: Store) -> None:
    exit_code = 0xC000013A  # how Windows says that Ctrl-C ended a program
    await store.commit(
        Batch(sessions=[session()], messages=[message("m1")], file_events=[event("e1", exit_code=exit_code)])
    )
    assert [row.exit_code for row in await store.file_events()] == [exit_code]
    with pytest.raises(StoreRefused):
        await store.commit(Batch(calls=[call("c1", input_tokens=2**64)]))
    assert await store.calls() == []


async def test_a_session_that_comes_many_times_in_one_batch_is_one(store: Store) -> None:
    rows = [session(at=NOON + timedelta(minutes=n), title=f"title {n}", model=f"m{n}") for n in range(5)]
    await store.commit(Batch(sessions=rows))
    (summary,) = await store.summaries()
    assert (summary.row.title, summary.row.model) == ("title 0", "m4")
    assert (summary.row.created_at, summary.row.updated_at) == (NOON, NOON + timedelta(minutes=4))


async def test_what_others_stored_meanwhile_is_noticed_and_nothing_is_stored(store: Store) -> None:
    await store.commit(Batch(sessions=[session("s1")], turns=[IngestTurn("theirs", 5, 1, commits=1)]))
    ours = Batch(sessions=[session("s2")], turns=[IngestTurn("ours", 7, 1, commits=1)])
    with pytest.raises(StoreMoved):
        await store.commit(ours, after={})
    assert await store.find_sessions("s2") == []
    await store.commit(ours, after={"theirs": 1})
    await store.commit(Batch(turns=[IngestTurn("theirs", 6, 2, is_waiting=True)]))  # a sign of life is no commit
    await store.commit(ours, after={"theirs": 1})
    assert await store.turns() == {
        "theirs": IngestTurn("theirs", 6, 2, is_waiting=True, commits=1),
        "ours": IngestTurn("ours", 7, 1, commits=2),
    }


async def test_a_journal_is_left_behind_only_while_nothing_is_heard_of_it(store: Store) -> None:
    before, after = IngestTurn("j", 5, 1), IngestTurn("j", 5, 2)
    await store.commit(Batch(turns=[after]))
    await store.leave_behind(before)
    assert await store.turns() == {"j": after}
    await store.leave_behind(after)
    assert (await store.turns())["j"].is_away


async def test_the_ends_of_sessions_are_told(store: Store) -> None:
    await store.commit(Batch(sessions=[session("s1"), session("s2")], messages=[message("m1"), message("m2", seq=1)]))
    assert await store.ends(["s1", "s2", "s3"]) == {"s1": (session("s1"), 1), "s2": (session("s2"), -1)}


async def test_a_follower_is_woken_by_what_another_user_stores(url: str, store: Store) -> None:
    told: list[str] = []

    async def follow() -> None:
        async for changes in store.follow(None):
            told.extend(change.id for change in changes.found)
            if "s3" in told:
                return

    await store.commit(Batch(sessions=[session("s0")]))
    async with await open_store(url) as other, asyncio.timeout(20):
        following = asyncio.create_task(follow())
        cursor = 1
        while not told:  # it follows from when it is ready
            await other.commit(Batch(sessions=[session(f"before-{cursor}")]))
            await asyncio.sleep(0.01)
            cursor += 1
        for id in ("s1", "s2", "s3"):
            await other.commit(Batch(sessions=[session(id)]))
        await following
    assert "s0" not in told
    assert told[-3:] == ["s1", "s2", "s3"]
    assert len(set(told)) == len(told)


async def test_followers_on_one_cursor_see_changes_of_many_writers_in_one_order(url: str, store: Store) -> None:
    async def write(name: str) -> None:
        async with await open_store(url) as own:
            for n in range(10):
                await own.commit(Batch(sessions=[session(f"{name}-{n}")]))

    seen: list[int] = []
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(write(name))
        async for changes in store.follow(0):
            assert changes.missed == 0
            seen += [change.seq for change in changes.found]
            if len(seen) == 30:
                break
    assert seen == list(range(1, 31))


async def test_tool_uses_and_histories_lead_to_their_session(store: Store) -> None:
    await store.commit(
        Batch(
            sessions=[session("s1"), session("s2", NOON + timedelta(hours=1))],
            messages=[message("m1"), message("m2", seq=1, parent_id="m1"), message("m3", "s2")],
            tool_uses=[
                ToolUseRow("s1", "t1", "m2", "Edit"),
                ToolUseRow("s2", "t1", "m3", "Edit"),
                ToolUseRow("s1", "t2", "m2", "Edit"),
            ],
        )
    )
    assert await store.sessions_of_tool_uses(["t1", "t2", "t9"], "claude-code", None) == {
        "t1": {"s1", "s2"},
        "t2": {"s1"},
    }
    assert await store.sessions_of_tool_uses(["t1"], "claude-code", "a run") == {}
    assert await store.sessions_of_tool_uses(["t1"], "another", None) == {}
    matches = await store.matches_of_histories(["h-m1", "h-m2", "h-none"])
    assert sorted(matches) == [("h-m1", "s1", "m1", True, NOON), ("h-m2", "s1", "m2", False, NOON)]


async def test_the_calls_that_were_answered_with_a_summary_are_found_by_it(store: Store) -> None:
    replace = msgspec.structs.replace
    calls = [
        replace(call("c1"), summary_key="k1"),
        replace(call("c2", None, NOON + timedelta(hours=1)), summary_key="k2"),
        replace(call("c3"), summary_key="k1", run="a run"),
        replace(call("c4"), summary_key="k1", agent_name="cline"),
        call("c5"),
    ]
    await store.commit(Batch(sessions=[session("s1")], calls=calls))
    assert await store.calls_of_summaries(["k2", "k1", "k3"], "claude-code", None) == [calls[0], calls[1]]
    assert await store.calls_of_summaries(["k1"], "claude-code", "a run") == [calls[2]]
    assert await store.calls_of_summaries([], "claude-code", None) == []


async def test_a_follower_sees_every_change_once(store: Store) -> None:
    none, cursor, _ = await store.changes(None)
    assert none == []
    await store.commit(Batch(sessions=[session()], messages=[message("m1")], file_events=[event("e1")]))
    await store.commit(Batch(file_events=[event("e1", Status.APPLIED)], calls=[call("c1")]))
    changes, cursor, missed = await store.changes(cursor)
    assert [(c.what, c.id) for c in changes] == [
        ("session", "s1"), ("message", "m1"), ("file_event", "e1"), ("file_event", "e1"), ("call", "c1"),
    ]  # fmt: skip
    assert missed == 0
    assert await store.changes(cursor) == ([], cursor, 0)
    rows = await store.rows_of("file_event", ["e1", "e9"])
    assert rows["e1"].status is Status.APPLIED


async def test_who_falls_behind_what_is_kept_of_the_changes_is_told_how_many_are_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "_CHANGES_KEPT", 3)
    await store.commit(Batch(sessions=[session("s1")]))
    cursor = (await store.changes(None)).cursor
    await store.commit(Batch(sessions=[session(f"s{n}") for n in range(2, 7)]))
    found, new, missed = await store.changes(cursor)
    assert ([change.id for change in found], new, missed) == (["s4", "s5", "s6"], cursor + 5, 2)
    assert (await store.changes(0)).missed == 3
    assert await store.changes(new) == ([], new, 0)


async def test_an_unknown_kind_of_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="oracle"):
        await open_store("oracle://x")


async def test_the_subagents_of_a_session_are_found(store: Store) -> None:
    await store.commit(Batch(sessions=[session("s1"), session("s2", parent_id="s1"), session("s3", parent_id="s2")]))
    assert [summary.row.id for summary in await store.summaries(parent_id="s1")] == ["s2"]
