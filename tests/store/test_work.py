"""Agents in sessions, runs, changes, folders and programs: what the store makes of calls, on each kind of database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ocproxy.errors import StoreRefused
from ocproxy.model import Batch, CallRow, SessionRow, ToolUseRow
from ocproxy.store import schema
from ocproxy.store.base import CallCost, Store, backend_of, open_store
from ocproxy.work import AvailableAgent, PendingChange, Worktree, config_hash, task_id
from tests.support.rows import NOON, call, event, message, session

pytestmark = pytest.mark.anyio
SUMS = ("calls", "input_tokens", "output_tokens", "cost", "priced_calls", "unpriced_calls")


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with await open_store(url) as store:
        yield store


def paid(id: str, minutes: int = 0, **fields: Any) -> CallRow:
    """A call that ended so many minutes after noon, with tokens and a cost."""
    known = {"model": "m", "input_tokens": 100, "output_tokens": 10, "cost": 7, **fields}
    return msgspec.structs.replace(call(id, at=NOON + timedelta(minutes=minutes)), **known)


async def sums(store: Store) -> dict[str, tuple[int, ...]]:
    return {row.agent: tuple(getattr(row, name) for name in SUMS) for row in await store.agent_sessions()}


def run_of(row: CallRow, run: str) -> CallRow:
    return msgspec.structs.replace(row, run=run)


async def test_each_call_counts_once_for_its_agent_however_often_it_is_stored(store: Store) -> None:
    calls = [
        paid("c1"),
        paid("c2", cost=None),
        paid("c3", kind="title", cost=5),
        paid("c4", kind="count", input_tokens=9_999, output_tokens=None, cost=None),
        paid("c5", agent_name="triage"),
        paid("c6", session_id=None),
    ]
    await store.commit(Batch(sessions=[session()], calls=calls[:3]))
    await store.commit(Batch(sessions=[session()], calls=calls))
    await store.commit(Batch(calls=calls))
    expected = {"claude-code": (4, 300, 30, 12, 2, 1), "triage": (1, 100, 10, 7, 1, 0)}
    assert await sums(store) == expected


async def test_a_call_that_gets_its_session_later_counts_for_it_from_then_on_and_once_for_its_run(store: Store) -> None:
    stray = run_of(paid("stray", session_id=None, kind="title"), "nightly")
    await store.commit(Batch(sessions=[session()], calls=[paid("c1"), stray]))
    assert (await sums(store))["claude-code"][0] == 1
    both = [msgspec.structs.replace(stray, session_id="s1"), paid("new", session_id=None), paid("new")]
    await store.commit(Batch(calls=both))
    await store.commit(Batch(calls=both))
    assert await sums(store) == {"claude-code": (3, 300, 30, 21, 3, 0)}
    assert [(task.calls, task.cost) for task in await store.tasks()] == [(1, 7)]


async def test_other_costs_change_the_sums_by_the_difference(store: Store) -> None:
    calls = [run_of(paid(f"c{n}"), "nightly") for n in range(3)]
    await store.commit(Batch(sessions=[session()], calls=[*calls, paid("c9", agent_name="triage")]))
    await store.set_costs(
        [CallCost("c0", 100, "new", None), CallCost("c1", None, None, "why"), CallCost("c9", 1, "", None)]
    )
    await store.set_costs([CallCost("c1", 3, "new", None), CallCost("c2", None, None, "why")])
    assert await sums(store) == {"claude-code": (3, 300, 30, 103, 2, 1), "triage": (1, 100, 10, 1, 1, 0)}
    (task,) = await store.tasks()
    assert (task.cost, task.priced_calls, task.unpriced_calls, task.cost_tokens) == (103, 2, 1, 330)


async def test_sums_beyond_what_a_column_holds_stay_at_its_bound(store: Store) -> None:
    largest = 2**63 - 1
    for n in range(2):
        await store.commit(Batch(sessions=[session()], calls=[paid(f"c{n}", input_tokens=largest)]))
    (row,) = await store.agent_sessions()
    assert row.input_tokens == largest


@pytest.mark.parametrize(
    ("last", "status", "state"),
    [
        ({"message_id": "asks"}, "active", "running"),
        ({"message_id": "says"}, "idle", "completed"),
        ({"status": 529, "error": "overloaded"}, "crashed", "failed"),
        ({"outcome": "upstream_disconnected", "message_id": "asks"}, "crashed", "failed"),
        ({"status": 429, "error": "rate_limit_error: no quota"}, "crashed", "blocked"),
        ({"status": 401, "error": "authentication_error"}, "crashed", "blocked"),
    ],
    ids=lambda value: str(value),
)
async def test_the_newest_main_call_tells_how_things_stand(
    store: Store, last: dict[str, Any], status: str, state: str
) -> None:
    """Side calls and calls of subagents do not, nor does a call that ended earlier and is stored later."""
    batch = Batch(
        sessions=[session(run="nightly", prompt="do it"), session("sub", parent_id="s1", run="nightly")],
        messages=[message("asks", content="I look."), message("says", seq=1, content="Done.")],
        tool_uses=[ToolUseRow("s1", "t1", "asks", "Read")],
    )
    newest = run_of(paid("c2", 2, **last), "nightly")
    later = [
        run_of(paid("c1", 1, message_id="says", model="older"), "nightly"),
        run_of(paid("c3", 3, kind="title", status=500, error="x"), "nightly"),
        run_of(paid("c4", 4, session_id="sub", status=500, error="y"), "nightly"),
    ]
    await store.commit(batch)
    await store.commit(Batch(calls=[newest]))
    await store.commit(Batch(calls=later))
    agent = next(row for row in await store.agent_sessions() if row.session_id == "s1")
    assert (agent.status, agent.turn_call_id, agent.calls) == (status, "c2", 3)
    (task,) = await store.tasks()
    assert (task.id, task.run, task.state, task.calls) == (task_id("nightly"), "nightly", state, 4)
    assert (task.session_id, task.agent, task.input) == ("s1", "claude-code", "do it")
    is_over = state in ("completed", "failed")
    assert task.ended_at == (NOON + timedelta(minutes=2) if is_over else None)
    assert (task.started_at, task.last_call_at) == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=4))
    inbox = await store.inbox()
    assert [(item.task_id, item.state, item.reason) for item in inbox] == (
        [(task.id, state, task.reason)] if state in ("failed", "blocked") else []
    )
    assert (task.reason is not None) == (state in ("failed", "blocked"))


async def test_how_a_launched_run_ended_is_for_its_program_to_say(store: Store, url: str) -> None:
    """Calls tell running from blocked, and count."""
    sessions = [session(run="r")]
    await store.commit(Batch(sessions=sessions, calls=[run_of(paid("c1", 1, status=500, error="x"), "r")]))
    await write(url, sa.update(schema.TASKS).values(is_launched=True, state="running", ended_at=None, reason=None))
    for minutes, given, state in [(2, {"status": 500}, "running"), (3, {"status": 429}, "blocked"), (4, {}, "running")]:
        await store.commit(Batch(calls=[run_of(paid(f"c{minutes}", minutes, **given), "r")]))
        (task,) = await store.tasks()
        assert (task.state, task.ended_at) == (state, None)
    await write(url, sa.update(schema.TASKS).values(state="cancelled", reason="Ctrl-C", ended_at=NOON))
    await store.commit(Batch(calls=[run_of(paid("c9", 9, status=429), "r")]))
    (task,) = await store.tasks()
    assert (task.state, task.reason, task.ended_at, task.calls) == ("cancelled", "Ctrl-C", NOON, 5)


async def write(url: str, statement: sa.Executable) -> None:
    """As a program of its own does."""
    await asyncio.to_thread(backend_of(url).migrate, url, lambda connection: connection.execute(statement))


async def test_a_closed_agent_is_open_again_with_its_next_call(store: Store, url: str) -> None:
    await store.commit(Batch(sessions=[session()], calls=[paid("c1", 1)]))
    await write(url, sa.update(schema.AGENT_SESSIONS).values(status="closed", closed_at=NOON + timedelta(hours=1)))
    await store.commit(Batch(sessions=[session()], calls=[paid("c0", 0)]))
    assert [row.status for row in await store.agent_sessions()] == ["closed"]
    await store.commit(Batch(sessions=[session()], calls=[paid("c2", 2)]))
    assert [(row.status, row.closed_at) for row in await store.agent_sessions()] == [("idle", None)]


async def test_the_configuration_is_that_of_the_newest_main_call_that_was_answered(store: Store) -> None:
    answered = {"message_id": "m1", "prompt_hash": "p"}
    await store.commit(Batch(sessions=[session()], calls=[paid("c1", 1, **answered)]))
    assert [row.config_hash for row in await store.agent_sessions()] == [config_hash("m", "p")]
    later = [
        paid("c2", 2, **{**answered, "prompt_hash": "other", "model": "m2"}),
        paid("c3", 3, prompt_hash="failed", status=500, error="x"),
        paid("c4", 4, kind="title", message_id="m2", prompt_hash="title"),
    ]
    await store.commit(Batch(calls=later))
    assert [row.config_hash for row in await store.agent_sessions()] == [config_hash("m2", "other")]


def change(id: str, status: Any = "pending", **fields: Any) -> PendingChange:
    known: dict[str, Any] = {
        "session_id": "s1", "file_event_id": "e1", "path": "/w/a", "operation": "edit", "agent": "claude-code",
        "ordinal": 0, "created_at": NOON, "updated_at": NOON,
    }  # fmt: skip
    return PendingChange(id=id, status=status, **{**known, **fields})


def with_event(*changes: PendingChange) -> Batch:
    return Batch(
        sessions=[session()], messages=[message("m1")], file_events=[event("e1")], pending_changes=list(changes)
    )


async def test_a_change_takes_its_outcome_but_stays_reverted(store: Store, url: str) -> None:
    await store.commit(with_event(change("p1", diff="old")))
    await store.commit(with_event(change("p1", "applied", diff="new")))
    assert [(row.status, row.diff) for row in await store.pending_changes()] == [("applied", "new")]
    await write(url, sa.update(schema.PENDING_CHANGES).values(status="reverted"))
    await store.commit(with_event(change("p1", "applied", diff="new")))
    assert [row.status for row in await store.pending_changes("s1")] == ["reverted"]


async def test_changes_are_found_by_session_status_and_run_in_their_order(store: Store) -> None:
    await store.commit(Batch(sessions=[session("s2")], calls=[run_of(paid("c1", session_id="s2"), "r")]))
    await store.commit(
        with_event(
            change("p1", "applied", ordinal=1),
            change("p2", ordinal=0),
            change("p3", session_id="s2", created_at=NOON + timedelta(hours=1), task_id=task_id("r")),
        )
    )
    assert [row.id for row in await store.pending_changes()] == ["p2", "p1", "p3"]
    assert [row.id for row in await store.pending_changes(limit=2)] == ["p1", "p3"]
    assert [row.id for row in await store.pending_changes("s1")] == ["p2", "p1"]
    assert [row.id for row in await store.pending_changes(status="pending")] == ["p2", "p3"]
    assert [row.id for row in await store.pending_changes(task_id=task_id("r"))] == ["p3"]


@pytest.mark.parametrize(
    "wrong",
    [
        change("p1", "lost"),
        change("p1", operation="rename"),
        change("p1", file_event_id="nobody"),
        change("p1", session_id="nobody"),
        change("p1", task_id="nobody"),
    ],
    ids=lambda row: f"{row.status} {row.operation} {row.file_event_id} {row.session_id} {row.task_id}",
)
async def test_states_that_do_not_exist_and_rows_of_nobody_are_refused(store: Store, wrong: PendingChange) -> None:
    with pytest.raises(StoreRefused):
        await store.commit(with_event(wrong))
    assert await store.pending_changes() == []


async def test_what_belongs_to_a_session_goes_with_it_and_runs_and_folders_stay(store: Store, url: str) -> None:
    folder = Worktree("w1", "/w", "w", NOON, NOON)
    calls = [run_of(paid("c1"), "r")]
    batch = with_event(change("p1", task_id=task_id("r")))
    batch.calls, batch.worktrees, batch.sessions = calls, [folder], [session(run="r")]
    await store.commit(batch)
    (task,) = await store.tasks()
    assert (task.session_id, task.worktree_id) == ("s1", "w1")

    def delete(connection: sa.Connection) -> None:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for table in (schema.FILE_EVENTS, schema.MESSAGES, schema.SESSIONS):
            connection.execute(sa.delete(table))

    await in_store(store, delete)
    assert (await store.agent_sessions(), await store.pending_changes()) == ([], [])
    (task,) = await store.tasks()
    assert (task.session_id, task.worktree_id, task.calls) == (None, "w1", 1)
    assert await store.worktrees() == [folder]


async def in_store(store: Any, action: Any) -> None:
    """With the store's own connection: SQLite checks foreign keys only where that is switched on."""
    await store.transact(action, writes=True)


async def test_a_folder_has_one_active_row_with_the_branch_that_was_told_last(store: Store) -> None:
    later = NOON + timedelta(hours=1)
    seen = [
        Worktree("w1", "/w", "w", NOON, NOON, base_commit="abc123"),
        Worktree("w1", "/w", "w", NOON, later, branch="main", base_commit="def456"),
        Worktree("w1", "/w", "w", NOON - timedelta(hours=1), NOON, branch="old"),
    ]
    for one in (*seen, *seen):
        await store.commit(Batch(worktrees=[one]))
    together = Worktree("w1", "/w", "w", NOON - timedelta(hours=1), later, branch="main", base_commit="abc123")
    assert await store.worktrees() == [together]


async def test_an_archived_folder_stays_so_and_another_row_may_have_its_path(store: Store, url: str) -> None:
    seen = Worktree("w1", "/w", "w", NOON, NOON)
    await store.commit(Batch(worktrees=[seen]))
    await write(url, sa.update(schema.WORKTREES).values(status="archived"))
    await store.commit(Batch(worktrees=[seen]))
    assert [row.status for row in await store.worktrees()] == ["archived"]
    await store.commit(Batch(worktrees=[Worktree("w2", "/w", "w", NOON, NOON)]))
    await store.commit(Batch(worktrees=[Worktree("w3", "/w", "w", NOON, NOON, branch="b")]))
    assert [(row.id, row.status, row.branch) for row in await store.worktrees()] == [
        ("w1", "archived", None), ("w2", "active", "b"),
    ]  # fmt: skip


async def test_a_program_has_all_models_that_it_asked_for_and_what_was_told_last(store: Store, url: str) -> None:
    later = NOON + timedelta(hours=1)
    seen = [
        AvailableAgent("pi", version="2", models=["b\0"], transport="http", first_seen_at=later, last_seen_at=later),
        AvailableAgent("pi", version="1", models=["a"], label="pi", first_seen_at=NOON, last_seen_at=NOON),
    ]
    await store.commit(Batch(available_agents=seen[:1]))
    await write(url, sa.update(schema.AVAILABLE_AGENTS).values(install_path="/bin/pi", last_probed_at=NOON))
    for one in (*seen, *seen):
        await store.commit(Batch(available_agents=[one]))
    assert await store.available_agents() == [
        AvailableAgent(
            "pi", version="2", models=["a", "b\ufffd"], label="pi", transport="http", install_path="/bin/pi",
            first_seen_at=NOON, last_seen_at=later, last_probed_at=NOON,
        )
    ]  # fmt: skip


async def test_names_of_any_length_and_kind_lead_to_their_rows(store: Store) -> None:
    """Of agents, runs and folders, which users and clients choose."""
    for odd in ("ä" * 5_000, "a\0b \ud800"):
        calls = [run_of(paid(f"c{n}-{len(odd)}", agent_name=odd, session_id=f"s-{len(odd)}"), odd) for n in range(2)]
        row: SessionRow = session(f"s-{len(odd)}", run=odd, workdir=f"/{odd}")
        for one in calls:
            await store.commit(
                Batch(sessions=[row], calls=[one], worktrees=[Worktree(f"w-{len(odd)}", row.workdir, "x", NOON, NOON)])
            )
    assert [row.calls for row in await store.agent_sessions()] == [2, 2]
    assert {(task.calls, task.worktree_id) for task in await store.tasks()} == {(2, "w-5"), (2, None)}
    assert len(await store.worktrees()) == 2
