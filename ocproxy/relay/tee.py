"""Written before forwarded, with one system call for all that came at once.

Whatever arrives in a turn of the event loop is appended to the journal and its forwarding is queued here. When the
turn is over (with many streams: sooner) the journal writes once; then the queue is worked off in its order. In strict
mode an entry may ask to wait for the sync of everything appended before it: requests do, and the end of each response.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, Protocol

from ocproxy import config
from ocproxy.exchange import Kind

# Members of an Enum cost a call at each look in Python 3.11; these are looked at for each chunk.
OPENED: Final = Kind.OPENED
REQUEST_BYTES: Final = Kind.REQUEST_BYTES
RESPONSE_HEAD: Final = Kind.RESPONSE_HEAD
RESPONSE_BYTES: Final = Kind.RESPONSE_BYTES
CLIENT_BYTES: Final = Kind.CLIENT_BYTES
SERVER_BYTES: Final = Kind.SERVER_BYTES
ENDED: Final = Kind.ENDED

Payload = bytes | bytearray | memoryview
# So many pieces of streams are written and forwarded at once; with hundreds of streams the first event of a turn would
# wait for the reading of all others. Measured at 500 streams, nginx 0.10 ms added at 17.3 us of CPU for an event:
#     at once                  1       2       4       8     all of a turn
#     added p50, ms         0.19    0.13    0.12    0.13              0.15
#     us for an event       21.3    19.8    18.5    18.1              18.3
# Whole messages wait for the end of the turn: with 64 clients writing them 4 at a time costs a tenth more.
AT_ONCE: Final = 4


class Journal(Protocol):
    """What the relay needs of `ocproxy.journal.writer.JournalWriter`; the contract stands there."""

    full: bool

    def next_exchange(self) -> int: ...

    def append(self, kind: Kind, exchange: int, payload: Payload) -> None: ...

    def commit(self) -> bool: ...

    def lost_bytes(self, exchange: int) -> int: ...

    def sync(self) -> asyncio.Future[None]: ...

    def close(self) -> None: ...


class Party(Protocol):
    """Who queues: an exchange. Told when its bytes could not be journalled and the user chose to refuse then."""

    @property
    def number(self) -> int:
        """Of the exchange; 0: it is not journalled, so the journal is nothing to it."""
        ...

    def refuse_unrecorded(self) -> None: ...

    def fail(self) -> None: ...


Entry = tuple[Party, Callable[[Any], None], Any]


class Tee:
    """The journal and the forwards of the running loop turn."""

    def __init__(self, journal: Journal, settings: config.Journal, loop: asyncio.AbstractEventLoop) -> None:
        self.journal = journal
        self.append: Callable[[Kind, int, Payload], None] = journal.append
        self.strict = settings.mode == "strict"
        self.refuse = settings.on_full == "refuse"
        self._loop = loop
        self._scheduled = False
        self._queue: list[Entry] = []
        self._synced: list[Entry] = []  # of this turn, to be held until the sync
        self._held: list[tuple[asyncio.Future[None], list[Entry]]] = []  # oldest first; one for each turn

    @property
    def full(self) -> bool:
        """Whether new requests have to be refused because they could not be recorded."""
        return self.refuse and self.journal.full

    def forward(self, party: Party, action: Callable[[Any], None], data: Any) -> None:
        """Call `action(data)` at the end of this turn, after the journal was written."""
        self._queue.append((party, action, data))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def forward_soon(self, party: Party, action: Callable[[Any], None], data: Any) -> None:
        """The same for a piece of a stream: it does not wait for the end of the turn when AT_ONCE have queued up. For
        use as the last thing that is done with what came."""
        queue = self._queue
        queue.append((party, action, data))
        if len(queue) >= AT_ONCE:
            self._work_off()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def forward_synced(self, party: Party, action: Callable[[Any], None], data: Any) -> None:
        """The same, and in strict mode only after the journal was synced. The order among such entries is kept."""
        (self._synced if self.strict and party.number else self._queue).append((party, action, data))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def wake(self) -> None:
        """See to it that what was appended is written at the end of this turn."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """The end of a turn."""
        self._scheduled = False
        self._work_off()

    def _work_off(self) -> None:
        queue, self._queue = self._queue, []
        synced, self._synced = self._synced, []
        written = self.journal.commit()
        if not written and self.refuse:
            self._refuse(queue + synced)
            return
        self._perform(queue)
        if synced:
            done = self.journal.sync()
            self._held.append((done, synced))
            done.add_done_callback(self._release)

    def _release(self, _: asyncio.Future[None]) -> None:
        while self._held and self._held[0][0].done():
            done, entries = self._held.pop(0)
            if done.cancelled() or done.exception() is not None:
                if self.refuse:
                    self._refuse(entries)
                    continue
            self._perform(entries)

    def _refuse(self, entries: list[Entry]) -> None:
        self._perform([entry for entry in entries if not entry[0].number])
        for party in {id(entry[0]): entry[0] for entry in entries if entry[0].number}.values():
            party.refuse_unrecorded()

    def _perform(self, entries: list[Entry]) -> None:
        for party, action, data in entries:
            try:
                action(data)
            except Exception:
                report_fault("forwarding")
                party.fail()


def report_fault(doing: str) -> None:
    """A fault of our own costs one exchange. It is told on standard error, where the supervisor collects it."""
    sys.stderr.write(f"ocproxy relay: a fault while {doing}; that exchange is broken off\n{traceback.format_exc()}")
    sys.stderr.flush()
