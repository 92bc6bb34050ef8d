"""Answers about what is stored, for people and programs: plain JSON data with fixed keys.

Times are ISO 8601 strings in UTC. Ids may be given as a unique prefix. Raises NotFound when nothing matches, Ambiguous
when more than one session does, StoreBusy and StoreError as the store does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.agents.catalog import agent_named
from ocproxy.errors import Ambiguous, NotFound, StoreBusy
from ocproxy.files.derive import FileLedger
from ocproxy.model import Json, MessageRow, Part, SessionRow
from ocproxy.store import base as store_base
from ocproxy.store.base import SessionSummary, Store

JsonObject = dict[str, Any]

# A follower reads rows again that a database which is locked or away did not give.
_AGAIN_SECONDS = 0.3


class SessionDiff(NamedTuple):
    """What a session did to files: one unified diff a file, and what could not be put into it."""

    text: str
    notes: list[str]


class Changes(NamedTuple):
    """What `changes_since` a cursor were stored."""

    rows: list[JsonObject]  # oldest first, each as {what: session|message|file_event|call, …its row}
    cursor: int  # the new one
    missed: int  # how many more changes there were before them, which are no longer kept


async def sessions(store: Store, *, limit: int | None = None) -> list[JsonObject]:
    """All sessions with their totals, newest first."""
    return [_session(summary) for summary in await store.summaries(limit=limit)]


async def show(store: Store, session_id: str) -> JsonObject:
    """One session whole: {session, messages, file_events, calls, subagents}, the subagents' own ones included.

    A message also has `spoken`: its own text without what the agent's program attached to it and without tool results;
    None where nothing is left."""
    summary = await _find(store, session_id)
    id = summary.row.id
    agent = _agent_of(summary.row)
    return {
        "session": _session(summary),
        "messages": [{**_message(row), "spoken": _spoken(row, agent)} for row in await store.messages(id)],
        "file_events": [_json(row) for row in await store.file_events(id)],
        "calls": [_json(row) for row in await store.calls(id)],
        "subagents": [_session(child) for child in await _descendants(store, id)],
    }


async def _descendants(store: Store, session_id: str) -> list[SessionSummary]:
    """The subagents of a session and theirs, oldest first under each."""
    found: dict[str, SessionSummary] = {}
    waiting = [session_id]
    while waiting:
        for child in reversed(await store.summaries(parent_id=waiting.pop())):
            if child.row.id not in found and child.row.id != session_id:
                found[child.row.id] = child
                waiting.append(child.row.id)
    return list(found.values())


async def files(store: Store, session_id: str | None = None) -> list[JsonObject]:
    """File events of one session, or of all, in the order of the calls."""
    id = (await _find(store, session_id)).row.id if session_id is not None else None
    return [_json(row) for row in await store.file_events(id)]


async def calls(store: Store, session_id: str | None = None, *, limit: int | None = None) -> list[JsonObject]:
    """Calls of one session, or of all, oldest first; with `limit` the newest ones."""
    id = (await _find(store, session_id)).row.id if session_id is not None else None
    return [_json(row) for row in await store.calls(id, limit=limit)]


async def diff(store: Store, session_id: str) -> SessionDiff:
    """The session's applied changes, to apply with `git apply` on its working folder as it was when it began."""
    row = (await _find(store, session_id)).row
    ledger = FileLedger(row.id, row.workdir, _agent_of(row))
    for message in await store.messages(row.id):
        parts = msgspec.convert(message.parts, list[Part], strict=False)
        ledger.take(message.role, parts, message.id, message.created_at)
    found = ledger.session_diff()
    return SessionDiff(found.text, list(found.notes))


async def cursor(store: Store) -> int:
    """The place of the newest change."""
    return (await store.changes(None)).cursor


async def follow(store: Store, after: int) -> AsyncIterator[Changes]:
    """What is stored after the cursor `after` (0: the beginning), as it comes, for ever; and how much of it can no
    longer be told: the newest are kept. It waits for a database that is away."""
    async for found in store.follow(after):
        while True:
            try:
                changes = await _rows_of(store, found)
            except StoreBusy:
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                break
        yield changes


async def changes_since(store: Store, cursor: int) -> Changes:
    """What was stored after `cursor`, as `follow` tells it, up to now."""
    return await _rows_of(store, await store.changes(cursor))


async def _rows_of(store: Store, changes: store_base.Changes) -> Changes:
    """A row that changed twice comes once, as it is now."""
    by_kind: dict[str, list[str]] = {}
    for change in changes.found:
        by_kind.setdefault(change.what, []).append(change.id)
    rows = {what: await store.rows_of(what, list(dict.fromkeys(ids))) for what, ids in by_kind.items()}
    told: dict[tuple[str, str], JsonObject] = {}
    for change in changes.found:
        row = rows[change.what].get(change.id)
        if row is not None:
            shaped = _message(row) if change.what == "message" else _json(row)
            told.setdefault((change.what, change.id), {"what": change.what, **shaped})
    return Changes(list(told.values()), changes.cursor, changes.missed)


async def positions(store: Store) -> dict[str, Any]:
    """How far each journal is in the database, by journal id."""
    return dict(await store.positions())


async def gaps(store: Store) -> list[JsonObject]:
    """What could not be recorded or read."""
    return [_json(gap) for gap in await store.gaps()]


async def _find(store: Store, prefix: str) -> SessionSummary:
    ids = await store.find_sessions(prefix)
    if not ids:
        raise NotFound(f"no session begins with {prefix!r}", hint="ocproxy sessions lists them")
    if len(ids) > 1:
        some = ", ".join(ids[:3])
        raise Ambiguous(f"{prefix!r} is the beginning of more than one session: {some}", hint="give more of the id")
    summary = await store.summary(ids[0])
    if summary is None:
        raise NotFound(f"the session {ids[0]} is gone")
    return summary


def _agent_of(row: SessionRow) -> Agent:
    return agent_named(row.plugin or row.agent_name)


def _spoken(row: MessageRow, agent: Agent) -> str | None:
    texts = [agent.spoken(part["text"]) for part in row.parts if part.get("type") == "text"]
    return "\n".join(text for text in texts if text) or None


def _session(summary: SessionSummary) -> JsonObject:
    counts = {"calls": summary.calls, "messages": summary.messages, "file_events": summary.file_events}
    return {**_json(summary.row), **counts, **summary.tokens}


def _message(row: MessageRow) -> JsonObject:
    fields = _json(row)
    return {
        name: fields[name]
        for name in ("id", "role", "content", "parts", "created_at", "parent_id", "call_id", "session_id")
    }


def _json(row: msgspec.Struct) -> JsonObject:
    fields: dict[str, Json] = {name: getattr(row, name) for name in row.__struct_fields__}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
