"""System prompts and tool lists are stored once each, and come back as they were."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ocproxy.model import Batch, PromptRow
from ocproxy.store import migrations, schema
from ocproxy.store.base import backend_of, open_store
from tests.support.engines import Engine
from tests.support.rows import call, session

pytestmark = pytest.mark.anyio

TOOLS: list[Any] = [{"name": f"tool{n}", "z": 1, "a": [1e2, None], "text": "words of it " * 300} for n in range(20)]
STRANGE: list[Any] = [{"text": "\0 \ud800 ä 😀", "b": True}]


def prompts(count: int) -> list[PromptRow]:
    return [PromptRow(f"p{number}", [f"You are number {number}."], TOOLS) for number in range(count)]


def sizes(url: str) -> list[tuple[int, int]]:
    query = sa.select(schema.BLOBS.c.plain_bytes, sa.func.length(schema.BLOBS.c.data))
    found = backend_of(url).read(url, lambda connection: [tuple(row) for row in connection.execute(query)])
    return sorted(found or [], reverse=True)


async def test_the_same_tools_of_many_prompts_are_stored_once_and_compressed(url: str) -> None:
    async with await open_store(url) as store:
        for _ in range(2):  # twice is once
            await store.commit(Batch(prompts=[*prompts(30), *prompts(30)]))
        for number in (0, 29):
            assert await store.prompt(f"p{number}") == prompts(30)[number]
        assert await store.prompt("p30") is None
    found = await asyncio.to_thread(sizes, url)
    assert len(found) == 31
    assert found[0][0] > 60_000 and found[0][1] < 2_000


async def test_a_prompt_that_was_removed_with_its_calls_is_stored_with_the_next(url: str) -> None:
    """Who stores remembers the prompts that are there: other processes remove them."""
    asked = Batch(sessions=[session()], calls=[call("c1", prompt_hash="p0")], prompts=prompts(1))
    again = Batch(sessions=[session("s2")], calls=[call("c2", "s2", prompt_hash="p0")], prompts=prompts(1))
    async with await open_store(url) as store, await open_store(url) as other:
        count, _ = await store.removed_since(None)
        await store.commit(asked, None, count)
        await store.commit(asked, None, count)
        await other.remove(["s1"], reason="a test")
        assert await store.prompt("p0") is None
        await store.commit(again, None, count)  # of a session that was not removed
        assert await store.prompt("p0") == prompts(1)[0]
        await other.remove(["s2"], reason="a test")
        count, _ = await store.removed_since(count)
        await store.commit(msgspec.structs.replace(again, sessions=[], calls=[]), None, count)
        assert await store.prompt("p0") == prompts(1)[0]


async def test_what_databases_refuse_in_text_comes_back_as_it_was(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(Batch(prompts=[PromptRow("p", STRANGE, STRANGE), PromptRow("none", [], [])]))
        assert await store.prompt("p") == PromptRow("p", STRANGE, STRANGE)
        assert await store.prompt("none") == PromptRow("none", [], [])


async def test_prompts_that_were_stored_before_are_moved_and_back_again(engine: Engine) -> None:
    url = engine.empty()
    before = "20261130_add_removals"

    def fill(connection: sa.Connection) -> None:
        for number in range(5):
            insert = "INSERT INTO prompts (hash, system, tools) VALUES"
            tools = '[{"z": 1, "a": "\\u0000 \\ud800"}]'
            connection.exec_driver_sql(f"{insert} ('p{number}', '[\"system {number}\"]', '{tools}')")

    def look(connection: sa.Connection) -> list[Any]:
        rows = connection.exec_driver_sql("SELECT hash, CAST(system AS TEXT), CAST(tools AS TEXT) FROM prompts")
        return sorted(tuple(row) for row in rows)

    await asyncio.to_thread(migrations.upgrade, url, before)
    await asyncio.to_thread(backend_of(url).migrate, url, fill)
    stored = await asyncio.to_thread(backend_of(url).read, url, look)
    async with await open_store(url) as store:
        assert await store.prompt("p3") == PromptRow("p3", ["system 3"], [{"z": 1, "a": "\0 \ud800"}])
        # What comes again finds itself.
        again = await store.prompt("p3")
        assert again is not None
        await store.commit(Batch(prompts=[again]))
    assert len(await asyncio.to_thread(sizes, url)) == 6
    await asyncio.to_thread(migrations.downgrade, url, before)
    assert await asyncio.to_thread(backend_of(url).read, url, look) == stored and len(stored or []) == 5
