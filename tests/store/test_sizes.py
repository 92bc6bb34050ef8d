"""Where the bytes of a database are, on each kind of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ocproxy.model import Batch
from ocproxy.store import sql_sizes
from ocproxy.store.base import open_store
from tests.support.rows import NOON, call, message, session

pytestmark = pytest.mark.anyio

BATCH = Batch(
    sessions=[session("s1"), session("s2", NOON + timedelta(days=40), agent_name="codex")],
    messages=[
        *[message(f"m{n}", seq=n, content=None, parts=[{"text": "x" * 5_000}]) for n in range(100)],
        message("other", "s2", content="ä", parts=[]),
    ],
    calls=[call("c1"), call("c2"), call("c3", None)],
)


async def test_a_table_is_as_large_as_what_was_put_into_it(url: str) -> None:
    async with await open_store(url) as store:
        before = await store.size()
        await store.commit(BATCH)
        after = await store.size()
        assert not after.is_estimate
        assert after.bytes >= sum(table.bytes for table in after.tables)
        messages = {table.name: table for table in after.tables}["opencode_messages"]
        assert messages.rows == 101 and messages.index_bytes > 0
        if not url.startswith("postgres"):  # whose TOAST compresses
            assert messages.bytes > 500_000 and after.tables[0] is messages
        empty = {table.name: table for table in before.tables}["opencode_messages"]
        assert empty.rows == 0 and empty.bytes < messages.bytes
        await store.remove(["s1"], reason="delete")
        if url.startswith("sqlite"):
            assert (await store.size()).free_bytes > 400_000 and after.log_bytes > 0
            await store.settle(compact=True)
            assert (await store.size()).free_bytes == 0


async def test_sessions_are_as_large_as_their_texts(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(BATCH)
        sizes = {one.id: one for one in await store.session_sizes()}
        assert set(sizes) == {"s1", "s2", ""}
        assert 500_000 < sizes["s1"].content_bytes < 520_000
        assert (sizes["s1"].calls, sizes["s1"].wire_bytes, sizes[""].calls) == (2, 6, 1)
        # id, session, role, content (two bytes), parts, key, history and call of one message
        assert sizes["s2"].content_bytes == len("others2user") + 2 + len("[]kh-otherc1")
        assert sizes["s2"].agent_name == "codex"


async def test_a_sqlite_that_cannot_tell_says_that_it_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_sizes, "_DBSTAT", "no such option")
    async with await open_store("memory:estimating") as store:
        await store.commit(BATCH)
        found = await store.size()
        assert found.is_estimate
        assert 500_000 < {table.name: table.bytes for table in found.tables}["opencode_messages"] < 520_000
