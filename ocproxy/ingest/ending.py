"""End the exchanges that dead relays left open, when no relay comes to do it: nobody else would ever tell of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ocproxy import config
from ocproxy.journal import JournalReader, end_life, list_journals
from ocproxy.store.base import Store
from ocproxy.store.undisturbed import undisturbed


async def end_left_open(store: Store, root: Path, settings: config.Journal) -> int:
    """End them in all journals under `root` that hold any, as far as the store has read, and that no living writer
    holds. Returns in how many; a further `Ingest.catch_up` then stores them. Raises JournalError, StoreError."""
    positions = await store.positions()
    ended = 0
    for folder in list_journals(root):
        with JournalReader(folder) as reader:
            place = positions.get(reader.id)
        if place is not None and place.resume != place.position:
            ended += await undisturbed(asyncio.to_thread(end_life, folder, settings))
    return ended
