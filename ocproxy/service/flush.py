"""Waits until the database has what the journal has, or brings it there."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

from ocproxy import instance, query
from ocproxy.config import Config
from ocproxy.errors import ServerError, StoreBusy, StoreError
from ocproxy.exchange import Position
from ocproxy.ingest.ending import end_left_open
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalReader, list_journals
from ocproxy.service.answers import refuse_memory
from ocproxy.service.doctor import ask_server
from ocproxy.store.base import Store, open_store

# How often it looks: the ingest itself looks every 100 ms (ingest.poll_ms).
_LOOK_SECONDS = 0.05
# How long the reason of a delay is looked for when the time is over: whoever gave two seconds does not wait for twenty.
_EXPLAIN_SECONDS = 1.0


class Flushed(NamedTuple):
    """What `flush` did."""

    calls: int | None  # stored by us; None: the running server did it
    seconds: float


async def flush(config: Config, seconds: float) -> Flushed:
    """Return once every exchange that had ended when this was called is in the database.

    Without a running server it is done here. Raises NotFound where only the server can look, ServerError when `seconds`
    were not enough, saying why.
    """
    refuse_memory(config)
    started = time.monotonic()
    goals = await asyncio.to_thread(ends, config.journal_path)
    if not goals:
        return Flushed(0, time.monotonic() - started)
    try:
        if seconds <= 0:  # only look: work begun now would be left half done
            raise TimeoutError
        async with asyncio.timeout(seconds):
            return Flushed(await _reach(config, goals), time.monotonic() - started)
    except TimeoutError:
        reasons = await _explain_delay(config, goals)
    if reasons is None:
        return Flushed(None, time.monotonic() - started)
    raise ServerError(
        f"not everything is in the database after {seconds:g} s: {'; '.join(reasons) or 'the ingest is not done yet'}",
        hint="the journal has it all; try again, with a longer --timeout, or see `ocproxy doctor`",
    )


def ends(root: Path) -> dict[str, Position]:
    """Where each journal ends now, by its id. Raises JournalError."""
    found = {}
    for folder in list_journals(root):
        with JournalReader(folder) as reader:
            found[reader.id] = reader.end()
    return found


async def _reach(config: Config, goals: dict[str, Position]) -> int | None:
    while True:
        if (lock := instance.Lock.take(config.data_path / instance.INGEST_LOCK)) is not None:
            with lock:
                return await _store_here(config, goals)
        try:
            async with await open_store(config.store_url, migrate=False) as store:
                while await behind(store, goals):
                    if not instance.held(config.data_path / instance.INGEST_LOCK):
                        break  # whoever stored has gone: do it here
                    await asyncio.sleep(_LOOK_SECONDS)
                else:
                    return None
        except StoreError:  # locked, or the server that starts is still making or migrating it
            await asyncio.sleep(_LOOK_SECONDS)


async def behind(store: Store, goals: dict[str, Position]) -> dict[str, Position]:
    """Those of the goals that the database has not reached, with where it is."""
    reached = {journal: Position.parse(row.position) for journal, row in (await query.positions(store)).items()}
    places = {journal: reached.get(journal, Position(0, 0)) for journal in goals}
    return {journal: place for journal, place in places.items() if place < goals[journal]}


async def _store_here(config: Config, goals: dict[str, Position]) -> int:
    async with await open_store(config.store_url) as store:
        ingest = Ingest(
            store,
            config.journal_path,
            batch_calls=config.ingest.batch_calls,
            poll_ms=config.ingest.poll_ms,
            prices=config.prices,
        )
        while True:
            try:
                stored = await ingest.catch_up(goals)
                if await end_left_open(store, config.journal_path, config.journal):
                    stored += await ingest.catch_up()
                await ingest.leave()
                return stored
            except StoreBusy:  # until the time is over
                await asyncio.sleep(_LOOK_SECONDS)


async def _explain_delay(config: Config, goals: dict[str, Position]) -> list[str] | None:
    """Why it took too long, in a moment; None: everything is stored by now, or was already when there was no time."""
    reasons = []
    try:
        async with await open_store(config.store_url, migrate=False) as store:
            missing = await behind(store, goals)
            if not missing:
                return None
            for journal, place in missing.items():
                reasons.append(f"journal {journal[:8]} is stored up to {place} of {goals[journal]}")
    except StoreError as error:
        reasons.append(str(error))
    running = instance.running(config.data_path)
    live = await ask_server(config, running, _EXPLAIN_SECONDS) if running else None
    if running and live is None:
        reasons.append("the control process, which stores, does not answer")
    elif live and live["ingest"]["trouble"]:
        reasons.append(live["ingest"]["trouble"])
    return reasons
