"""Erase from the journals of one data folder what was removed from the database: by whoever has the folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ocproxy.errors import JournalLocked
from ocproxy.exchange import Position
from ocproxy.journal import Erasure, erase, list_journals
from ocproxy.journal.folder import read_id
from ocproxy.store.base import Store
from ocproxy.store.removal import Exchanges

# Another keeper compresses a segment in a second, and has the lock for as long as there are some.
_LOCK_SECONDS, _LOCK_PAUSE = 60.0, 0.2


class Erased(NamedTuple):
    """What was erased from journals here."""

    records: int = 0
    payload_bytes: int = 0
    segments: int = 0  # in which something was erased
    removed: int = 0  # segments that went whole, because nothing was left in them
    damaged_bytes: int = 0  # in the segments that were read: of nobody knows whom
    waiting: int = 0  # exchanges that are still to be erased here, because they go on
    elsewhere: int = 0  # exchanges that are to be erased by whoever has their journal


async def erase_removed(store: Store, root: Path, *, stop: Callable[[], bool] = lambda: False) -> Erased:
    """Erase what is noted as removed, from every journal under `root`, and take the notes away.

    Any process may do it, beside a server, too. Raises StoreBusy, StoreError, JournalLocked, JournalError; done again
    it goes on.
    """
    folders = {read_id(folder): folder for folder in list_journals(root)}
    waiting = await store.erasures()
    total = Erased(elsewhere=sum(len(some) for journal, some in waiting.items() if journal not in folders))
    if not waiting.keys() & folders.keys():
        return total
    resumes = {journal: Position.parse(row.resume) for journal, row in (await store.positions()).items()}
    for journal, exchanges in waiting.items():
        if (folder := folders.get(journal)) is None:
            continue
        done = await asyncio.to_thread(_erase, folder, exchanges, resumes.get(journal, Position(0, 0)), stop)
        await store.forget_erasures(journal, exchanges.keys() - set(done.left))
        total = Erased(
            total.records + done.records,
            total.payload_bytes + done.payload_bytes,
            total.segments + done.segments,
            total.removed + done.removed,
            total.damaged_bytes + done.damaged_bytes,
            total.waiting + len(done.left),
            total.elsewhere,
        )
    return total


def _erase(folder: Path, exchanges: Exchanges, resume: Position, stop: Callable[[], bool]) -> Erasure:
    began = time.monotonic()
    while True:
        try:
            return erase(folder, exchanges, ingested_up_to=resume, stop=stop)
        except JournalLocked:
            if stop() or time.monotonic() - began > _LOCK_SECONDS:
                raise
        time.sleep(_LOCK_PAUSE)
