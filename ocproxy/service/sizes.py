"""Where the bytes are: journals, database, and whose they are. With a server running, and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from ocproxy import query
from ocproxy.config import Config
from ocproxy.journal import list_journals, summarize
from ocproxy.service.answers import open_for_reading
from ocproxy.store.base import Store
from ocproxy.store.sizes import SessionSize

JsonObject = dict[str, Any]


async def measure(config: Config, biggest: int) -> JsonObject:
    """Plain JSON data: {journals, database, agents, months, sessions}. Sizes are bytes; `biggest` sessions are told.

    journals    one each: {id, live, finished, compressed, plain}: as they lie on the disk; `plain` is all of it before
                compression
    database    {bytes, free, log, is_estimate, tables: [{name, bytes, index_bytes, rows}]}
    agents, months   {key, sessions, calls, content, wire}, largest first, months in their order
    sessions    {id, title, agent_name, updated_at, calls, content, wire}, largest first

    `content` are the texts in the database, `wire` is what the calls sent and got, before compression. Calls of no
    session have the key "".
    """
    journals = await asyncio.to_thread(lambda: [_journal(folder) for folder in list_journals(config.journal_path)])
    async with await open_for_reading(config) as store:
        size, sizes = await store.size(), await store.session_sizes()
        tables = [table._asdict() for table in size.tables]
        by_agent = _groups(sizes, lambda one: one.agent_name)
        by_month = _groups(sizes, lambda one: f"{one.updated_at:%Y-%m}" if one.id else "")
        return {
            "journals": journals,
            "database": {
                "bytes": size.bytes, "free": size.free_bytes, "log": size.log_bytes, "is_estimate": size.is_estimate,
                "tables": tables,
            },
            "agents": sorted(by_agent, key=lambda group: (-group["content"], group["key"])),
            "months": sorted(by_month, key=lambda group: str(group["key"])),
            "sessions": await _biggest(store, sizes, biggest),
        }  # fmt: skip


def _journal(folder: Any) -> JsonObject:
    found = summarize(folder)

    def stored(live: bool, compressed: bool) -> int:
        some = (one for one in found.segments if one.live is live and (live or one.compressed is compressed))
        return sum(one.stored_bytes for one in some)

    return {
        "id": found.id,
        "live": stored(True, False),
        "finished": stored(False, False),
        "compressed": stored(False, True),
        "plain": sum(one.plain_bytes for one in found.segments),
    }


def _groups(sizes: Iterable[SessionSize], key: Callable[[SessionSize], str]) -> list[JsonObject]:
    groups: dict[str, JsonObject] = {}
    for one in sizes:
        empty: JsonObject = {"key": key(one), "sessions": 0, "calls": 0, "content": 0, "wire": 0}
        group = groups.setdefault(key(one), empty)
        group["sessions"] += bool(one.id)
        group["calls"] += one.calls
        group["content"] += one.content_bytes
        group["wire"] += one.wire_bytes
    return list(groups.values())


async def _biggest(store: Store, sizes: Iterable[SessionSize], count: int) -> list[JsonObject]:
    ordered = sorted((one for one in sizes if one.id), key=lambda one: (-one.content_bytes, -one.wire_bytes, one.id))
    rows = []
    for one in ordered[:count]:
        session = await query.session(store, one.id)
        names = ("id", "title", "prompt", "agent_name", "updated_at", "calls")
        rows.append({name: session[name] for name in names} | {"content": one.content_bytes, "wire": one.wire_bytes})
    return rows
