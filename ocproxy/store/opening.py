"""Opens a database that may be away, or refuse us: for as long as that takes, saying what is wrong since when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from ocproxy.errors import OcproxyError, StoreBusy, StoreError
from ocproxy.store.base import Store, open_store

# Waits between tries: quick at first, for a passing lock or a restart; at most 5 s, so that what was written meanwhile
# is stored soon after the database is back.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
# What refuses us (a wrong password, no such database, a newer revision) waits for a person. It is tried on, because
# most of that is mended over there, without a word to us; seldom, because servers lock out who tries too often.
LONGEST_REFUSED_WAIT = 30.0


class Trouble(NamedTuple):
    """Why something that should be done is not."""

    what: str
    hint: str | None  # what to do
    since: datetime  # UTC

    def lasting(self, error: OcproxyError) -> Trouble:
        """The same trouble, as the newest try saw it."""
        return Trouble(str(error), error.hint, self.since)


def trouble_of(error: OcproxyError) -> Trouble:
    """A trouble that begins now."""
    return Trouble(str(error), error.hint, datetime.now(UTC).replace(microsecond=0))


class Opening:
    """One database on its way to be open. `tell` hears of the first refusal, and of each that has another reason."""

    def __init__(self, url: str, tell: Callable[[StoreError], None]) -> None:
        self.trouble: Trouble | None = None
        self.refused = asyncio.Event()  # set when `trouble` is there for the first time
        self.is_late = False  # others went on without it
        self._url = url
        self._tell = tell

    async def store(self) -> Store:
        """The open store, migrated to the newest revision, when that can be had."""
        wait = FIRST_WAIT
        while True:
            try:
                return await open_store(self._url)
            except StoreError as error:
                self.note(error)
                longest = LONGEST_WAIT if isinstance(error, StoreBusy) else LONGEST_REFUSED_WAIT
            await asyncio.sleep(min(wait, longest))
            wait = min(wait * 2, longest)

    def note(self, error: StoreError) -> None:
        """What the newest try ended with."""
        before, self.trouble = self.trouble, self.trouble.lasting(error) if self.trouble else trouble_of(error)
        self.refused.set()
        if before is None or before.what != self.trouble.what:
            self._tell(error)
