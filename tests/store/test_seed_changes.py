"""Rows that code made for the seed tables inserts by itself reach those who follow."""

from __future__ import annotations

import asyncio
import uuid

import asyncpg
import pytest
import sqlalchemy as sa

from ocproxy.model import Batch
from ocproxy.store.base import Change, Store, backend_of, open_store
from tests.support import postgres
from tests.support.rows import message, session

pytestmark = pytest.mark.anyio

_MOMENT = "'2026-04-13 12:00:00'"


def statements(name: str) -> list[str]:
    return [
        "INSERT INTO opencode_sessions (id, opencode_id, agent_name, workdir, created_at, updated_at)"
        f" VALUES ('s{name}', 'ses_{name}', 'coder', '/w', {_MOMENT}, {_MOMENT})",
        "INSERT INTO opencode_messages (id, session_id, role, content, parts, created_at)"
        f" VALUES ('m{name}', 's{name}', 'user', 'hi', '[]', {_MOMENT})",
        "INSERT INTO opencode_file_events (id, session_id, message_id, event_type, created_at)"
        f" VALUES ('e{name}', 's{name}', 'm{name}', 'edit', {_MOMENT})",
    ]


def insert(url: str, *names: str) -> None:
    def action(connection: sa.Connection) -> None:
        for name in names:
            for statement in statements(name):
                connection.exec_driver_sql(statement)

    backend_of(url).migrate(url, action)


async def test_they_are_told_once_among_ours_and_numbered_without_a_gap(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(Batch(sessions=[session("ours")], messages=[message("mine", "ours")]))
        await asyncio.to_thread(insert, url, "1", "2")
        await store.commit(Batch(messages=[message("mine too", "ours", seq=1)]))
        found = await store.changes(0)
    assert [change.seq for change in found.found] == list(range(1, len(found.found) + 1))
    told = [(change.what, change.id) for change in found.found]
    assert told == [
        ("session", "ours"), ("message", "mine"),
        ("session", "s1"), ("message", "m1"), ("file_event", "e1"),
        ("session", "s2"), ("message", "m2"), ("file_event", "e2"),
        ("message", "mine too"),
    ]  # fmt: skip


async def test_a_follower_is_woken_by_them_and_can_read_them(url: str) -> None:
    async with await open_store(url) as store, asyncio.timeout(30):
        told: list[Change] = []

        async def follow() -> None:
            async for changes in store.follow(0):
                told.extend(changes.found)
                if len(told) == 3:
                    return

        following = asyncio.create_task(follow())
        await asyncio.to_thread(insert, url, "1")
        await following
        for change in told:
            assert (await store.rows_of(change.what, [change.id]))[change.id].id == change.id


async def test_a_transaction_of_theirs_that_stays_open_holds_up_nobody() -> None:
    """Only where several may write at once: PostgreSQL."""
    database = postgres.make_database(migrated=True)
    try:
        async with await open_store(database.url) as store, asyncio.timeout(30):
            theirs = await asyncpg.connect(database.url)
            transaction = theirs.transaction(isolation="repeatable_read")
            await transaction.start()
            for statement in statements(uuid.uuid4().hex):
                await theirs.execute(statement)
            await store.commit(Batch(sessions=[session("ours")]))
            await transaction.commit()  # its snapshot does not know of ours, so it cannot be told; it is stored
            await theirs.close()
            assert [change.id for change in (await store.changes(0)).found] == ["ours"]
            assert len(await _sessions(store)) == 2
    finally:
        postgres.drop_database(database)


async def _sessions(store: Store) -> list[str]:
    return [summary.row.id for summary in await store.summaries()]
