"""Removes sessions for commands: one for good, or all that are old. With a server running, and without one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ocproxy import query
from ocproxy.ageing.erasing import Erased, erase_removed
from ocproxy.ageing.families import Family, descend
from ocproxy.ageing.pruning import Pruned, measure, prune
from ocproxy.config import Config
from ocproxy.errors import ServerError
from ocproxy.exchange import call_id
from ocproxy.journal import find_open, list_journals
from ocproxy.journal.folder import read_id
from ocproxy.service.answers import open_for_reading
from ocproxy.service.flush import flush
from ocproxy.store.base import Store, backend_of
from ocproxy.store.removal import Exchanges, Extent

# How long what was recorded last may take to be in the database.
_FLUSH_SECONDS = 60.0
# An agent that was heard of so lately may well go on.
_LATELY = timedelta(minutes=10)
_SIDE_FILES = ("-wal", "-shm")


class Deletion(NamedTuple):
    """What deleting a session takes away, or took."""

    session: dict[str, Any]  # as `query.session` has it
    family: Family
    others: dict[str, dict[str, Any]]  # the sessions that the family names, by id
    extent: Extent
    is_lively: bool  # one of them was active a moment ago
    copies: list[str]  # old databases beside this one, which may hold it as well
    erased: Erased | None = None  # None: nothing was done
    is_settled: bool = True


class Pruning(NamedTuple):
    """What pruning takes away, or took."""

    before: datetime
    pruned: Pruned
    erased: Erased | None = None  # None: nothing was done
    is_settled: bool = True


async def plan_deletion(config: Config, prefix: str, *, forks: bool = True, twins: bool = False) -> Deletion:
    """What `delete` would take away: what was recorded up to now is looked at. Raises NotFound, Ambiguous, and
    ServerError when not everything recorded can be had."""
    await flush(config, _FLUSH_SECONDS)
    async with await open_for_reading(config) as store:
        session = await query.session(store, prefix)
        family = await descend(store, session["id"], forks=forks, twins=twins)
        named = [*family.sessions, *family.staying, *family.origins]
        others = {id: await query.session(store, id) for id in named}
        now = datetime.now(UTC)
        lively = any(now - datetime.fromisoformat(others[id]["updated_at"]) < _LATELY for id in family.sessions)
        extent = await store.extent(family.sessions, family.strays)
        return Deletion(session, family, others, extent, lively, _copies(config))


async def delete(config: Config, planned: Deletion, *, forks: bool = True, twins: bool = False) -> Deletion:
    """Take away what was planned, for good: rows, what the files of the database still hold of them, and their bytes in
    the journals here. Journals elsewhere are erased by whoever has them.

    Interrupted once the rows are gone, it is finished by the server or by the next such command. Raises ServerError,
    with nothing done, when there is more than was planned or an agent is connected.
    """
    async with await open_for_reading(config) as store:
        family = await descend(store, planned.session["id"], forks=forks, twins=twins)
        if family.sessions != planned.family.sessions:
            raise ServerError(
                "meanwhile there is more that would go with it than was said", hint="nothing was deleted; look again"
            )
        await _require_over(store, config.journal_path, family.sessions)
        extent = await store.remove(family.sessions, family.strays, reason="deleted by hand")
        erased = await erase_removed(store, config.journal_path)
        return planned._replace(extent=extent, erased=erased, is_settled=await store.settle(compact=True))


async def prune_old(config: Config, age: timedelta, *, keep_usage: bool, do: bool, compact: bool = False) -> Pruning:
    """Take away what is older, or with `do` False say what that would be. With `compact` the database also gives the
    room back to the disk; without, it uses it for what comes."""
    before = datetime.now(UTC) - age
    async with await open_for_reading(config) as store:
        if not do:
            return Pruning(before, await measure(store, before, keep_usage=keep_usage))
        reason = f"pruned by hand: last call before {before:%Y-%m-%d %H:%M} UTC"
        done = await prune(store, before, keep_usage=keep_usage, reason=reason)
        erased = await erase_removed(store, config.journal_path)
        return Pruning(before, done, erased, await store.settle(compact=compact))


async def compact(config: Config) -> bool:
    """Give the unused room of the database back to the disk, and wipe what removed rows left in it. Returns whether all
    was done: not, where somebody kept reading."""
    async with await open_for_reading(config) as store:
        return await store.settle(compact=True)


async def _require_over(store: Store, root: Path, ids: list[str]) -> None:
    """Raises ServerError when a connection with calls of these sessions goes on: it cannot be taken out of the journal
    while it is written."""
    lines: dict[str, Exchanges] = {}
    for id in ids:
        for call in await store.calls(id):
            if call.position and call.id != call_id(call.journal, call.exchange):
                lines.setdefault(call.journal, {})[call.exchange] = None
    for folder in list_journals(root) if lines else ():
        mine = lines.get(read_id(folder), {})
        if await asyncio.to_thread(find_open, folder, mine):
            raise ServerError(
                "an agent of this session is still connected", hint="nothing was deleted; end the agent first"
            )


def _copies(config: Config) -> list[str]:
    """Old databases that `rebuild` put aside."""
    file = backend_of(config.store_url).file(config.store_url)
    if file is None:
        return []
    own = {file.name, *(file.name + end for end in _SIDE_FILES)}
    return sorted(str(path) for path in file.parent.glob(file.name + "*") if path.name not in own)
