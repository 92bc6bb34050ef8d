"""Take out what is older than a time: whole families of sessions, as old as the last call of any of them.

In pieces, each one transaction: an ingest that stores meanwhile waits for one at most, and does its own in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

from ocproxy.ageing.families import group
from ocproxy.store.base import Store
from ocproxy.store.removal import Aged, Extent

# Sessions looked at at once, and sessions and calls removed in one transaction: some ten thousand rows of coding
# agents, which take a fraction of a second.
_LOOKED_AT, _AT_ONCE, _CALLS_AT_ONCE = 200, 25, 500
# Whoever waits for the database gets it between two pieces.
_PAUSE_SECONDS = 0.05


class Piece(NamedTuple):
    """What goes in one transaction."""

    sessions: list[str]
    strays: list[str]  # calls of no session


class Pruned(NamedTuple):
    """What goes or went, and how many sessions are old themselves but stay with a younger one."""

    extent: Extent
    held: int


async def measure(store: Store, before: datetime, *, keep_usage: bool) -> Pruned:
    """What `prune` would take out."""
    total, held = Extent(), 0
    async for piece, staying in _pieces(store, before, keep_usage=keep_usage):
        held += staying
        if piece.sessions or piece.strays:
            total += await store.extent(piece.sessions, piece.strays, keep_usage=keep_usage)
    return Pruned(total, held)


async def prune(
    store: Store, before: datetime, *, keep_usage: bool, reason: str, stop: asyncio.Event | None = None
) -> Pruned:
    """Remove every session whose family had its last call before then, and calls of no session that ended before.

    With `keep_usage` calls, their tokens and their cost stay, and the sessions without a word of what was said.
    What is to go from journals is noted: see `ocproxy.ageing.erasing`. Stopped or interrupted, it can be done again.
    """
    total, held = Extent(), 0
    async for piece, staying in _pieces(store, before, keep_usage=keep_usage):
        held += staying
        if stop is not None and stop.is_set():
            break
        if piece.sessions or piece.strays:
            total += await store.remove(piece.sessions, piece.strays, keep_usage=keep_usage, reason=reason)
            await asyncio.sleep(_PAUSE_SECONDS)
    return Pruned(total, held)


async def _pieces(store: Store, before: datetime, *, keep_usage: bool) -> AsyncIterator[tuple[Piece, int]]:
    """Pieces, with how many old sessions were found beside them that stay."""
    after: Aged | None = None
    seen: set[str] = set()
    while aged := await store.old_sessions(before, keep_usage=keep_usage, after=after, limit=_LOOKED_AT):
        after = aged[-1]
        due, held = await _due(store, [one.id for one in aged if one.id not in seen], before, seen)
        yield Piece([], []), held
        for start in range(0, len(due), _AT_ONCE):
            yield Piece([id for family in due[start : start + _AT_ONCE] for id in family], []), 0
    last = ""
    while strays := await store.old_strays(before, keep_usage=keep_usage, after=last, limit=_CALLS_AT_ONCE):
        last = strays[-1]
        yield Piece([], strays), 0


async def _due(store: Store, ids: list[str], before: datetime, seen: set[str]) -> tuple[list[list[str]], int]:
    """The families of these sessions that are old as a whole, and how many of the sessions are in others."""
    due: list[list[str]] = []
    held = 0
    for family in await group(store, ids):
        seen.update(family)
        rows = await store.rows_of("session", family)
        if all(row.updated_at < before for row in rows.values()):
            due.append(family)
        else:
            held += sum(row.updated_at < before for row in rows.values())
    return due, held
