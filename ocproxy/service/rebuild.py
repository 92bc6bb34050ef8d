"""Makes the database anew from the journal: beside the old one, checked, then put in its place."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path
from typing import NamedTuple

from ocproxy import instance, query
from ocproxy.ageing.erasing import erase_removed
from ocproxy.config import Config
from ocproxy.errors import NotFound, StoreBusy, StoreError
from ocproxy.ingest.ending import end_left_open
from ocproxy.ingest.loop import Ingest
from ocproxy.service.flush import behind, ends
from ocproxy.store import migrations
from ocproxy.store.base import Store, backend_of, mask, open_store

_SIDE_FILES = ("", "-wal", "-shm")  # what one SQLite database consists of


class Rebuilt(NamedTuple):
    """How many rows the new database has, and where it is."""

    url: str
    sessions: int
    messages: int
    file_events: int
    calls: int
    kept: str | None = None  # where a database that could not be read was put


async def rebuild(config: Config, into: str | None = None, *, forget: bool = False) -> Rebuilt:
    """Fill an empty database from the whole journal. Without `into` it then replaces the configured one (SQLite only).

    Raises ServerError while a server runs, and StoreError when the new database would lack what the old one has: calls
    whose segments are no longer kept, rows that others wrote; `forget` replaces it all the same. An old one that cannot
    be read is put aside and kept.
    """
    data = config.data_path
    if not data.exists():
        raise NotFound(f"there is no data folder {data}", hint="name the folder with --data-dir")
    with instance.claim_ingest(data):
        await _finish_erasing(config)
        if into is not None:
            return await _fill(config, into)
        return await _replace(config, forget=forget)


async def _finish_erasing(config: Config) -> None:
    """What was removed must not come back: only the old database knows what is still to be erased from the journal."""
    file = backend_of(config.store_url).file(config.store_url)
    if file is not None and not file.exists():
        return
    try:
        async with await open_store(config.store_url) as store:
            await erase_removed(store, config.journal_path)
    except StoreError:  # it cannot be read, which is why it is made anew; what can be told of it is told later
        return


async def _replace(config: Config, *, forget: bool) -> Rebuilt:
    old = backend_of(config.store_url).file(config.store_url)
    if old is None:
        raise StoreError(
            f"only a SQLite file is replaced, and {mask(config.store_url)} may hold what others recorded",
            hint="give database_url an empty database, on all replicas: they fill it together from their journals when"
            " they start; or, for this data folder alone, rebuild --into one",
        )
    new = old.with_name(old.name + ".rebuild")
    _remove(new)  # what an interrupted one left
    try:
        rebuilt = await _fill(config, f"sqlite:///{new}")
        readable = not old.exists() or forget or await _compare(config.store_url, rebuilt.url)
        aside = old.with_name(old.name + ".before") if readable else _free_name(old)
        _swap(old, new, aside)
        if readable:
            _remove(aside)
    except BaseException:
        _remove(new)
        raise
    return rebuilt._replace(url=config.store_url, kept=None if readable else str(aside))


async def _fill(config: Config, url: str) -> Rebuilt:
    if await asyncio.to_thread(migrations.current, url) is not None:
        raise StoreError(f"the database {mask(url)} is not empty", hint="give a new one")
    async with await open_store(url) as store:
        goals = ends(config.journal_path)
        ingest = Ingest(
            store,
            config.journal_path,
            batch_calls=config.ingest.batch_calls,
            poll_ms=config.ingest.poll_ms,
            prices=config.prices,
        )
        await ingest.catch_up()
        if await end_left_open(store, config.journal_path, config.journal):
            await ingest.catch_up()
        await ingest.leave()
        if missing := await behind(store, goals):
            raise StoreError(f"the new database did not reach the end of {len(missing)} journals")
        return await _count(store, url)


async def _count(store: Store, url: str) -> Rebuilt:
    sessions = await query.sessions(store)
    return Rebuilt(
        url=mask(url),
        sessions=len(sessions),
        messages=sum(session["messages"] for session in sessions),
        file_events=sum(session["file_events"] for session in sessions),
        calls=len(await query.calls(store)),
    )


async def _compare(old: str, new: str) -> bool:
    """Whether the old database can be read. Raises StoreError when it has rows that the new one lacks."""
    try:
        async with await open_store(old) as before, await open_store(new, migrate=False) as after:
            lost = await _find_lost(before, after)
    except StoreBusy:
        raise
    except StoreError:
        return False
    if lost:
        raise StoreError(
            f"{' and '.join(lost)}; a new one would not have them",
            hint="keep the old one, rebuild --into another, or give --forget",
        )
    return True


async def _find_lost(before: Store, after: Store) -> list[str]:
    """What `before` has that is neither in `after` nor made of a call that is: a newer version may read the same calls
    otherwise, and give its rows other ids. Sentences, with counts."""
    calls = await query.calls(before)
    kept = {call["id"] for call in await query.calls(after)}
    gone = [call for call in calls if call["id"] not in kept]
    sessions, messages, events = 0, 0, 0
    for session in await before.summaries():
        id = session.row.id
        sessions += not session.calls and await after.summary(id) is None
        rows = await before.messages(id)
        derived = {row.id for row in rows if row.call_id in kept}
        messages += await _count_missing(after, "message", [row.id for row in rows if row.id not in derived])
        others = [event.id for event in await before.file_events(id) if event.message_id not in derived]
        events += await _count_missing(after, "file_event", others)
    said = []
    if gone:
        oldest = gone[0]["started_at"]
        said.append(f"{len(gone)} calls of the old database are no longer in the journal, the oldest of {oldest}")
    if sessions or messages or events:
        said.append(
            f"{sessions} sessions, {messages} messages and {events} file events of the old database do not come from"
            " the journal as it is"
        )
    launched = sum(task.is_launched for task in await before.tasks())
    reverted = len(await before.pending_changes(status="reverted"))
    if launched or reverted:
        said.append(f"{launched} runs and {reverted} reverted changes are told by the old database alone")
    return said


async def _count_missing(store: Store, what: str, ids: list[str]) -> int:
    return len(ids) - len(await store.rows_of(what, ids)) if ids else 0


def _free_name(old: Path) -> Path:
    """Where a damaged database is put: the first of `.damaged`, `.damaged-2`, … that is not taken by an earlier one."""
    names = (f"{old.name}.damaged{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
    places = (old.with_name(name) for name in names)
    return next(p for p in places if not any(p.with_name(p.name + end).exists() for end in _SIDE_FILES))


def _swap(old: Path, new: Path, aside: Path) -> None:
    """Put `new` where `old` is, and `old` aside. The old files go first: a write-ahead log left beside a database that
    is not its own would be played into it. Interrupted in between, nothing is lost: the next start makes the database
    from the journal, as a rebuild does."""
    _remove(aside)
    _move(old, aside)
    _move(new, old)


def _move(file: Path, to: Path) -> None:
    for end in _SIDE_FILES:
        if (part := file.with_name(file.name + end)).exists():
            os.replace(part, to.with_name(to.name + end))


def _remove(file: Path) -> None:
    for end in _SIDE_FILES:
        file.with_name(file.name + end).unlink(missing_ok=True)
