"""Whose calls are stored next, where several replicas store into one database: those that ended first.

Each replica reads its own journals only. For every journal the database says up to which time all its calls are
stored (`IngestTurn.told_ns`); a replica promises that anew with each commit, and some times a second besides. A call is
stored when that time has passed it in every journal of every other replica. So at each moment only the call that ended
first of all may be stored: the database sees the calls of all replicas in the one order in which a single ingester,
reading all these journals, would record them, and at each call it holds exactly what it would hold there. That gives
equal rows.

A commit also says of which commits of others it knows, and is refused when there were more (StoreMoved): so even
where the order cannot be kept, nothing is derived from what is no longer so.

It cannot be kept for ever. Who is not heard of for long (its machine died) is left behind; what it stores when it is
back comes late. Clocks may differ: who is at the ends of its journals, and was heard of twice since a call waits for
it, has stored all that ended before, whatever its clock says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping

import msgspec

from ocproxy.errors import StoreError, StoreMoved
from ocproxy.ingest.follower import Follower
from ocproxy.model import IngestTurn
from ocproxy.store.base import Store

log = logging.getLogger(__name__)

# The relay stamps a record when its loop turn begins, and has written it when that ends: tens of milliseconds at most.
# A promise about the ends of journals is that much older than the look at them.
_MARGIN_NS = 250_000_000
# How often a replica is heard of: by others that may wait for it, and while it knows of none.
_BEAT_SECONDS, _ALONE_SECONDS = 0.2, 1.0
# Who is not heard of for so long while others wait is left behind. Longer than a restart of the control process, or a
# statement that waits for a lock.
_PATIENCE_SECONDS = 30.0
# A look that comes later than this after the last one says nothing of the time between: the database was away.
_LONGEST_LOOK_SECONDS = 1.0
# How soon it is looked again whether the turn is ours: when the database rings as others go on, and when it does not. A
# replica is heard of every `_BEAT_SECONDS`, so the first must be shorter.
_RUNG_SECONDS, _UNRUNG_SECONDS = 0.1, 0.01
# When it is listened to again, after the connection was lost.
_LISTEN_AGAIN_SECONDS = 5.0
# How long a call waits for a journal that is read to its end. Only a clock that is wrong by more makes it wait longer.
_SKEW_SECONDS = 5.0


class _Other(msgspec.Struct):
    """What we saw of a journal of another replica."""

    turn: IngestTurn
    silent: float = 0.0  # seconds that we looked and heard nothing
    beats: int = 0  # how often it was heard of since one of our calls waits for it
    waited: float = 0.0  # seconds that one of our calls waits for it


class Turns:
    """The turns of one replica. Does nothing where a store is not shared."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._others: dict[str, _Other] = {}
        self._own: set[str] = set()
        self._kept: dict[str, int] = {}  # own journal -> commits that the store has
        self._told: dict[str, int] = {}  # own journal -> what was promised last
        self._looked = self._beaten = 0.0
        self._rang = asyncio.Event()
        self._hears = False  # the bell
        self._listening: asyncio.Task[None] | None = None
        self.commits: dict[str, int] | None = None  # of all journals but those that are read here, at the last look

    async def look(self, own: Collection[str]) -> bool:
        """See how far the others are. Returns whether one of them has stored calls since we looked last."""
        if not self._store.is_shared:
            return False
        if not self._own >= set(own):
            self._own |= set(own)
            self._beaten = 0.0  # others should know of a new journal before its first call ends
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, _LONGEST_LOOK_SECONDS), now
        turns = await self._store.turns()
        self._require_kept(turns, own)
        for id, turn in turns.items():
            if id in self._own:
                continue
            other = self._others.setdefault(id, _Other(turn))
            if turn.beat_ns != other.turn.beat_ns:
                other.beats, other.silent = other.beats + 1, 0.0
            else:
                other.silent += passed
            other.waited += passed
            other.turn = turn
            if other.silent > _PATIENCE_SECONDS and not turn.is_away:
                await self._store.leave_behind(turn)
        before, self.commits = self.commits, {id: turn.commits for id, turn in turns.items() if id not in own}
        return before != self.commits

    def _require_kept(self, turns: Mapping[str, IngestTurn], own: Collection[str]) -> None:
        """Raises StoreMoved when the database no longer has what it took from us: it is another server now, which took
        over without the last commits, or the same after a crash that did not keep them."""
        now = {id: turns[id].commits if id in turns else 0 for id in own}
        lost = any(count < self._kept.get(id, 0) for id, count in now.items())
        self._kept = now
        if lost:
            raise StoreMoved("the database has lost commits; they are made again from the journal")

    def committed(self, turns: Collection[IngestTurn]) -> None:
        """The batch with these turns is in the store."""
        for turn in turns:
            self._kept[turn.journal] = self._kept.get(turn.journal, 0) + turn.commits

    def until(self, journal: str) -> float:
        """Up to which time calls of this journal of ours may be stored, as far as the others go."""
        bounds = [
            # At the very same time the id of the journal decides, as it does among the journals of one replica.
            other.turn.told_ns + (id > journal)
            for id, other in self._others.items()
            if not self._is_done(other)
        ]
        return min(bounds, default=float("inf"))

    def note_waiting(self, journals: Collection[Follower]) -> bool:
        """Whether a call of ours waits for others now."""
        first = min((journal.waiting_since for journal in journals if journal.waiting_since is not None), default=None)
        for other in self._others.values():
            if first is None or other.turn.told_ns >= first:
                other.waited, other.beats = 0.0, 0
        return first is not None and bool(self._others)

    async def wait(self) -> None:
        """Until the others may have gone on, or time has: in moments. From the first time on the database's bell is
        listened to, until `close`."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        try:
            await asyncio.wait_for(self._rang.wait(), _RUNG_SECONDS if self._hears else _UNRUNG_SECONDS)
        except TimeoutError:
            return
        self._rang.clear()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._store.turn_bell() as bell:
                    self._hears = True
                    while True:
                        await bell()
                        self._rang.set()
            except StoreError as error:
                log.debug("the database cannot be listened to: %s", error)
            finally:
                self._hears = False
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    def close(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def told(self, journals: Collection[Follower], looked_ns: int, *, stored: Collection[str] = ()) -> list[IngestTurn]:
        """What we promise of our journals when all that was taken of them is stored. `looked_ns` is the time before
        they were read, `stored` those whose calls are in this batch. Empty where there is nothing to promise."""
        if not self._store.is_shared:
            return []
        self._beaten = time.monotonic()
        beat = time.time_ns()
        self._told = {journal.reader.id: journal.stored_until(looked_ns - _MARGIN_NS) for journal in journals}
        return [
            IngestTurn(
                journal.reader.id,
                self._told[journal.reader.id],
                beat,
                is_waiting=journal.waiting_since is not None,
                commits=int(journal.reader.id in stored),
            )
            for journal in journals
        ]

    def is_due(self, journals: Collection[Follower], looked_ns: int) -> bool:
        """Whether it is time to be heard of, or a call of another replica waits for what can be promised now."""
        if not self._store.is_shared:
            return False
        every = _BEAT_SECONDS if any(not other.turn.is_away for other in self._others.values()) else _ALONE_SECONDS
        return time.monotonic() - self._beaten >= every or any(
            self._told.get(journal.reader.id, 0) + is_behind
            <= other.turn.told_ns
            < journal.stored_until(looked_ns - _MARGIN_NS) + is_behind
            for journal in journals
            for id, other in self._others.items()
            if other.turn.is_waiting and not other.turn.is_away
            for is_behind in (journal.reader.id > id,)
        )

    def farewell(self, turns: Mapping[str, IngestTurn]) -> list[IngestTurn]:
        """Our turns for a batch that says that nobody need wait for us: all is stored, and nothing more comes."""
        return [
            msgspec.structs.replace(turn, is_away=True, beat_ns=time.time_ns(), commits=0)
            for id, turn in turns.items()
            if id in self._own
        ]

    def _is_done(self, other: _Other) -> bool:
        """Whether nobody need wait for it."""
        at_end = not other.turn.is_waiting and other.beats >= 2 and other.waited > _SKEW_SECONDS
        return other.turn.is_away or at_end
