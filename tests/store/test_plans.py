"""The queries of large tables find their rows by an index, on both engines: told by the plans that they make."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ocproxy.model import Batch
from ocproxy.store.base import open_store
from tests.support.engines import Engine
from tests.support.rows import NOON, call, event, message, session

pytestmark = pytest.mark.anyio

Ask = Callable[[Any], Awaitable[object]]
SINCE = NOON - timedelta(days=1)
QUESTIONS: dict[str, tuple[Ask, set[str]]] = {
    "the list of sessions": (
        lambda store: store.summaries(limit=20),
        {
            "ix_opencode_sessions_updated_at",
            "ix_calls_session_started",
            "ix_opencode_messages_session_seq",
            "ix_opencode_file_events_session_ordinal",
        },
    ),
    "the agents of listed sessions": (lambda store: store.agent_sessions(["s1", "s2"]), {"agent_sessions"}),
    "the messages of a session": (lambda store: store.messages("s1"), {"ix_opencode_messages_session_seq"}),
    "the file events of a session": (
        lambda store: store.file_events("s1"),
        {"ix_opencode_file_events_session_ordinal"},
    ),
    "the calls of a session": (lambda store: store.calls("s1"), {"ix_calls_session_started"}),
    "usage by day": (lambda store: store.spending("slot", SINCE, SINCE + timedelta(days=2)), {"ix_calls_started_at"}),
    "the changes of a session": (lambda store: store.pending_changes("s1"), {"ix_pending_changes_session_ordinal"}),
    "the newest pending changes": (
        lambda store: store.pending_changes(status="pending", limit=20),
        {"ix_pending_changes_status_created"},
    ),
    "the newest changes": (lambda store: store.pending_changes(limit=20), {"ix_pending_changes_created_at"}),
    "the newest tasks": (lambda store: store.tasks(limit=20), {"ix_tasks_created_at"}),
    "the blocked tasks": (lambda store: store.tasks(state="blocked", limit=20), {"ix_tasks_state_created"}),
    "a call with tool uses that is stored": (
        lambda store: store.commit(Batch(calls=[call("new", message_id="m1")])),
        {"ix_tool_uses_message_id"},
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_large_table_is_asked_by_its_index(engine: Engine, question: str) -> None:
    ask, wanted = QUESTIONS[question]
    async with await open_store(engine.fresh()) as store:
        await store.commit(
            Batch(sessions=[session()], messages=[message("m1")], file_events=[event("e1")], calls=[call("c1")])
        )
        plans = "\n".join(await explained(store, ask))
        if engine.name == "postgres":
            wanted = {name if name.startswith("ix_") else f"{name}_pkey" for name in wanted}
        missing = {name for name in wanted if name not in plans}
        assert not missing, plans


async def explained(store: Any, ask: Ask) -> list[str]:
    """The plans of all that is read while the store is asked."""
    read: list[tuple[str, Any]] = []
    with listening(getattr(store._engine, "sync_engine", store._engine), read):
        await asyncio.wait_for(ask(store), 30)

    def explain_all(connection: sa.Connection) -> list[str]:
        plans: list[str] = []
        ways: list[tuple[str, list[str]]] = [("EXPLAIN QUERY PLAN", [])]
        if connection.dialect.name == "postgresql":  # a table with few rows needs no index, and is sorted for nothing
            ways = [("EXPLAIN", ["enable_seqscan"]), ("EXPLAIN", ["enable_seqscan", "enable_sort"])]
        for explain, switched_off in ways:
            for name in switched_off:
                connection.exec_driver_sql(f"SET LOCAL {name} = off")
            for statement, given in read:
                plans += [str(tuple(row)) for row in connection.exec_driver_sql(f"{explain} {statement}", given)]
        return plans

    found: list[str] = await store.transact(explain_all, writes=True)
    return found


@contextmanager
def listening(engine: sa.Engine, read: list[tuple[str, Any]]) -> Iterator[None]:
    def note(_connection: Any, _cursor: Any, statement: str, given: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("SELECT") and "pg_advisory" not in statement:
            read.append((statement, given))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


async def test_a_question_without_an_index_is_told_apart(engine: Engine) -> None:
    """So the test above can fail: nothing finds messages by their role."""
    async with await open_store(engine.fresh()) as store:

        async def ask(store: Any) -> None:
            await store._all(sa.select(sa.text("id FROM opencode_messages WHERE role = 'user'")))

        assert "ix_" not in "\n".join(await explained(store, ask))
