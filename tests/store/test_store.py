"""What every store promises, told on each kind of database."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ocproxy.errors import StoreBusy, StoreError
from ocproxy.model import (
    Batch,
    CallRow,
    EventType,
    FileEvent,
    IngestPosition,
    MessageRow,
    SessionRow,
    Status,
    ToolUseRow,
)
from ocproxy.store import sql
from ocproxy.store import sqlite as sqlite_backend
from ocproxy.store.base import Store, open_store

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data' / 'ocproxy.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with await open_store(url) as store:
        yield store


def session(id: str = "s1", at: datetime = NOON, **fields: object) -> SessionRow:
    known: dict[str, object] = {"opencode_id": f"own-{id}", "agent_name": "claude-code", "workdir": "/w"}
    return SessionRow(id=id, created_at=at, updated_at=at, **{**known, **fields})  # type: ignore[arg-type]  # a builder


def message(id: str, session_id: str = "s1", seq: int = 0, **fields: object) -> MessageRow:
    known: dict[str, object] = {
        "role": "user", "content": "hi", "parts": [{"type": "text", "text": "hi"}], "parent_id": None, "depth": 0,
        "key": "k", "history": f"h-{id}", "call_id": "c1",
    }  # fmt: skip
    return MessageRow(id=id, session_id=session_id, created_at=NOON, seq=seq, **{**known, **fields})  # type: ignore[arg-type]  # a builder


def event(id: str, status: Status = Status.REQUESTED, **fields: object) -> FileEvent:
    return FileEvent(
        id=id, session_id="s1", message_id="m1", tool_use_id="t1", tool_name="Edit", event_type=EventType.EDIT,
        ordinal=0, created_at=NOON, updated_at=NOON, status=status, **fields,  # type: ignore[arg-type]  # a builder
    )  # fmt: skip


def call(id: str, session_id: str | None = "s1", at: datetime = NOON, **fields: object) -> CallRow:
    return CallRow(
        id=id, journal="j", exchange=1 << 32, position="0000000001:64", session_id=session_id, run=None,
        agent_name="claude-code", protocol="anthropic-messages", upstream="anthropic", method="POST",
        path="/v1/messages", kind="main", status=200, outcome="complete", detail="", started_at=at,
        first_byte_at=None, ended_at=at, request_bytes=1, response_bytes=2, **fields,  # type: ignore[arg-type]  # a builder
    )  # fmt: skip


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

        async with store._connect(writes=False) as connection:  # type: ignore[attr-defined]  # SQLite's own count of work
            raw = await connection.get_raw_connection()
            await raw.driver_connection.set_progress_handler(count, 1_000)
        matches = await store.matches_of_histories([f"h{n}" for n in range(2_000)])
    assert sum(match.answered for match in matches) == 1_999
    assert 0 < steps < 1_000, "a million steps of SQLite: 500 for each message"


async def test_the_subagents_of_a_session_are_found(store: Store) -> None:
    await store.commit(Batch(sessions=[session("s1"), session("s2", parent_id="s1"), session("s3", parent_id="s2")]))
    assert [summary.row.id for summary in await store.summaries(parent_id="s1")] == ["s2"]


async def test_who_only_reads_is_not_kept_waiting_by_who_writes(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(Batch(sessions=[session()]))
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with await open_store(url) as store:
            assert len(await store.summaries()) == 1
        other.execute("ROLLBACK")
