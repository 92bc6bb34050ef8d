"""What a server does about age by itself: nothing, unless it is configured; and then it says each time what it did.

Erasing from the journals here what was removed, by whomever, is no matter of age: every server does it.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from ocproxy import config
from ocproxy.ageing.erasing import Erased, erase_removed
from ocproxy.ageing.pruning import Pruned, prune
from ocproxy.store.base import Store

# How often old sessions are looked for. Ages are of hours at least.
_EVERY_SECONDS = 3600.0


class Retention:
    """The retention of one data folder and its database."""

    def __init__(self, settings: config.Config, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._next = 0.0

    async def tend(self, stop: asyncio.Event) -> list[str]:
        """Do what is due. Returns sentences of what was done; none when there was nothing. May be called as often as
        wanted. Raises StoreBusy, StoreError, JournalError; what was not done is done by the next call."""
        said = []
        rules = self._settings.retention
        age = config.age(rules.older_than)
        if age is not None and time.monotonic() >= self._next:
            reason = f"retention: older than {rules.older_than}"
            before = datetime.now(UTC) - age
            done = await prune(self._store, before, keep_usage=rules.keep_usage, reason=reason, stop=stop)
            self._next = time.monotonic() + _EVERY_SECONDS
            if done.extent.rows or done.extent.calls:
                await self._store.settle(compact=False)
                said.append(f"{reason}: {tell_pruned(done, keep_usage=rules.keep_usage)}")
        erased = await erase_removed(self._store, self._settings.journal_path, stop=stop.is_set)
        if erased.records or erased.removed:
            said.append(f"erased from the journal what was removed from the database: {tell_erased(erased)}")
        return said


def tell_pruned(done: Pruned, *, keep_usage: bool) -> str:
    """What went, in words."""
    gone = done.extent
    calls = f"of {gone.calls} calls only tokens and cost stay" if keep_usage else f"{gone.calls} calls"
    held = f"; {done.held} old sessions stay with younger ones that came of them" if done.held else ""
    return f"{gone.sessions} sessions, {gone.messages} messages, {gone.file_events} file events, {calls}{held}"


def tell_erased(done: Erased) -> str:
    """What was erased from journals, in words."""
    return f"{done.records} records ({done.payload_bytes} bytes), {done.removed} whole segments"
