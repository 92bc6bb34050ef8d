"""Follows all journals of a data folder and stores what they mean: exactly once, whatever dies.

Rows and the positions they came from commit together. A restart reads each journal again from `resume` (the oldest
exchange then open) and passes over what ended at or before `position`: that is stored. A database that is locked or
away is waited for; the journals keep what comes meanwhile.

Calls of one session may lie in several journals. They are recorded in the order in which they ended, also when journals
that several workers wrote together are read again much later: nobody's calls are recorded before all journals were read
up to that time. Journals of other replicas on the same database count as well (`ingest.turns`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from ocproxy.config import Price
from ocproxy.errors import JournalError, OcproxyError, StoreError, StoreMoved, StoreRefused
from ocproxy.exchange import Exchange, Position
from ocproxy.ingest.assemble import Budget, FoundGap
from ocproxy.ingest.follower import Follower
from ocproxy.ingest.interpret import Interpretation, interpret
from ocproxy.ingest.recorder import Recorder
from ocproxy.ingest.rows import moment
from ocproxy.ingest.turns import Turns
from ocproxy.journal import JournalReader, list_journals
from ocproxy.model import Batch, GapRow, IngestTurn, Problem, digest
from ocproxy.pricing.bills import priced
from ocproxy.pricing.book import PriceBook
from ocproxy.store.base import Store
from ocproxy.store.opening import FIRST_WAIT, LONGEST_WAIT, Trouble, trouble_of
from ocproxy.store.undisturbed import undisturbed

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# Journal bytes read before their exchanges are stored: bounds the memory of a long catch-up.
_BYTES_AT_ONCE = 32 * 1024 * 1024

# Positions without rows (a long stream is under way) are stored this often at most.
_IDLE_POSITIONS_SECONDS = 1.0


class Ingest:
    """The loop. `trouble` says what it is waiting for since when, for `doctor`; None when all is well."""

    def __init__(
        self,
        store: Store,
        journal_root: Path,
        *,
        batch_calls: int = 50,
        poll_ms: int = 100,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self.trouble: Trouble | None = None
        self._store = store
        self._root = journal_root
        self._batch_calls = batch_calls
        self._poll = poll_ms / 1000
        self._recorder = Recorder(store)
        self._prices = PriceBook(prices)
        self._turns = Turns(store)
        self._ahead: dict[str, Interpretation] = {}  # of calls whose turn it is not yet
        self._removals: int | None = None  # what the recorder holds was there after so many
        self._budget = Budget()
        self._journals: dict[Path, Follower] = {}
        self._unreadable: dict[Path, JournalError] = {}
        self._positions_at = 0.0
        self._stored = 0  # exchanges and gaps
        self._stopping = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop` is set, and then store what is there. Waits for a database that is away."""
        self._stopping = stop
        try:
            while not stop.is_set():
                if not await self._patiently(self._cycle):
                    try:
                        await asyncio.wait_for(stop.wait(), self._poll)
                    except TimeoutError:
                        continue
            await self.catch_up()
            await self.leave()
        finally:
            self._turns.close()

    async def leave(self) -> None:
        """Tell other replicas that they need not wait for us: our journals are stored, and nobody writes them."""
        if turns := self._turns.farewell(await self._store.turns()):
            await self._store.commit(Batch(turns=turns))

    async def catch_up(self, goals: Mapping[str, Position] | None = None) -> int:
        """Store everything up to the live ends of the journals, or up to `goals` (by journal id), which an end that
        moves on cannot put off. Returns how many exchanges and gaps that were.

        Raises StoreBusy or StoreError when the database cannot take it, JournalError when a journal cannot be read
        (the others are stored nevertheless); calling again goes on.
        """
        before = self._stored
        self._positions_at = 0.0  # the positions are part of "everything"
        try:
            while await self._cycle():
                if goals is not None and self._has(goals):
                    break
        finally:
            self._restart()
            self._turns.close()
        for error in self._unreadable.values():
            raise error
        return self._stored - before

    def _has(self, goals: Mapping[str, Position]) -> bool:
        stored = {journal.reader.id: Position.parse(journal.position.position) for journal in self._journals.values()}
        return all(stored.get(id, Position(0, 0)) >= goal for id, goal in goals.items())

    async def _patiently(self, action: Callable[[], Awaitable[int]]) -> int:
        """Do it, and again with growing waits for as long as the database does not take it, or until stopped."""
        wait = FIRST_WAIT
        while True:
            try:
                count = await action()
                unreadable = list(self._unreadable.values())
                said = "; ".join(str(error) for error in unreadable)
                self._tell(JournalError(said, hint=unreadable[0].hint) if unreadable else None)
                return count
            except StoreError as error:
                self._tell(error)
                self._restart()
            if self._stopping.is_set():
                return 0
            try:
                await asyncio.wait_for(self._stopping.wait(), wait)
            except TimeoutError:
                wait = min(wait * 2, LONGEST_WAIT)

    def _tell(self, error: OcproxyError | None) -> None:
        before = self.trouble
        if error is None:
            if before is not None:
                log.warning("the ingest goes on, after waiting since %s", before.since.isoformat())
            self.trouble = None
            return
        self.trouble = before.lasting(error) if before else trouble_of(error)
        if before is None or before.what != self.trouble.what:
            log.warning("the ingest waits: %s%s", error, f"\n  {error.hint}" if error.hint else "")

    def _restart(self) -> None:
        """Forget what is ahead of the store: the positions there say where to read again."""
        self._recorder.forget()
        self._ahead.clear()
        self._removals = None
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()

    async def _cycle(self) -> int:
        """`_advance`, again where another replica came between."""
        try:
            return await self._advance()
        except StoreMoved:
            self._restart()
            return 1

    async def _advance(self) -> int:
        """Read a piece of every journal and store what is due. Returns 0 when there is nothing more to do for now."""
        await self._find_journals()
        journals = list(self._journals.values())
        if await self._turns.look({journal.reader.id for journal in journals}):
            await self._recorder.refresh()
        looked_ns = time.time_ns()
        for journal in journals:
            await self._read(journal, max(_BYTES_AT_ONCE // len(journals), 1))
        until = min((journal.read_ns for journal in journals if not journal.is_at_end), default=math.inf)
        found = [t for j in journals for t in j.take(min(until, self._turns.until(j.reader.id)))]
        found.sort(key=lambda told: told[:2])
        waits = self._turns.note_waiting(journals)
        if found:
            turns = self._turns.told(journals, looked_ns, stored={told.journal for told in found})
            await self._store_items([told.item for told in found], turns)
        else:
            is_due = self._turns.is_due(journals, looked_ns)
            await self._store_positions(self._turns.told(journals, looked_ns) if is_due else [])
            if waits:
                await self._interpret_ahead(journals)
                await self._turns.wait()
        return len(found) or int(waits or not all(journal.is_at_end for journal in journals))

    async def _interpret_ahead(self, journals: list[Follower]) -> None:
        """What is stored next, once it is our turn: others wait while it is."""
        items = [item for journal in journals if isinstance(item := journal.next_item, Exchange)]
        known = self._ahead
        self._ahead = {item.call_id: known[item.call_id] for item in items if item.call_id in known}
        for item in items:
            if item.call_id not in self._ahead:
                self._ahead[item.call_id] = await asyncio.to_thread(interpret, item)

    async def _read(self, journal: Follower, limit: int) -> None:
        """Read a piece of one journal. One that cannot be read is noted and does not hold up the others."""
        try:
            await undisturbed(asyncio.to_thread(journal.read, limit, self._batch_calls))
        except (JournalError, OSError) as error:
            self._unreadable[journal.reader.folder] = (
                error if isinstance(error, JournalError) else JournalError(f"{journal.reader.folder}: {error}")
            )
        else:
            self._unreadable.pop(journal.reader.folder, None)

    async def _find_journals(self) -> None:
        folders = [folder for folder in list_journals(self._root) if folder not in self._journals]
        if folders:
            stored = await self._store.positions()
            for folder in folders:
                try:
                    reader = JournalReader(folder)
                except JournalError as error:
                    self._unreadable[folder] = error
                else:
                    self._journals[folder] = Follower(reader, stored.get(reader.id), self._budget)

    async def _store_items(self, items: list[Exchange | FoundGap], turns: list[IngestTurn]) -> None:
        """Record the items and commit them with the positions they came from: one transaction, whatever fails."""
        self._removals, removed = await self._store.removed_since(self._removals)
        self._recorder.drop(removed)
        failed: dict[str, Exception] = {}
        try:
            await self._commit_items(items, turns, failed)
        except StoreRefused:
            await self._find_refused([item for item in items if isinstance(item, Exchange)], failed)
            await self._commit_items(items, turns, failed)
        self._ahead.clear()
        self._recorder.committed()
        self._turns.committed(turns)
        self._stored += len(items)
        self._note_positions()

    async def _commit_items(
        self, items: list[Exchange | FoundGap], turns: list[IngestTurn], failed: dict[str, Exception]
    ) -> None:
        exchanges = [item for item in items if isinstance(item, Exchange)]
        while (batch := await self._record(exchanges, failed)) is None:
            self._recorder.forget()
        batch.gaps += [_gap_row(item) for item in items if isinstance(item, FoundGap)]
        batch.positions += [journal.position for journal in self._journals.values()]
        batch.turns = turns
        await self._store.commit(batch, self._turns.commits, self._removals)

    async def _find_refused(self, exchanges: list[Exchange], failed: dict[str, Exception]) -> None:
        """Store them one by one, to find whose rows the database does not take: they are in `failed` then. Positions
        stay: what is stored here is stored again with them, and twice is once."""
        for exchange in exchanges:
            self._recorder.forget()
            try:
                if (batch := await self._record([exchange], failed)) is not None:
                    await self._store.commit(batch, None, self._removals)
            except StoreRefused as error:
                log.error("the rows of the call %s were refused: %s", exchange.call_id, error)
                failed[exchange.call_id] = error
        self._recorder.forget()

    async def _record(self, exchanges: list[Exchange], failed: dict[str, Exception]) -> Batch | None:
        """The rows of these exchanges; of those in `failed` (by call id) the call alone. None when one more cannot be
        recorded: it is in `failed` now, and the recorder in the middle of it."""
        batch = Batch()
        for exchange in exchanges:
            if (meaning := self._ahead.get(exchange.call_id)) is None:
                meaning = await asyncio.to_thread(interpret, exchange)
            if error := failed.get(exchange.call_id):
                self._recorder.record_bare(_with_problem(meaning, error), batch)
                continue
            try:
                await self._recorder.record(meaning, batch)
            except StoreError:
                raise
            except Exception as error:  # a mistake of ours with one call must not stop the others
                log.exception("the call %s could not be recorded", exchange.call_id)
                failed[exchange.call_id] = error
                return None
        batch.calls = [priced(call, self._prices) for call in batch.calls]
        return batch

    async def _store_positions(self, turns: list[IngestTurn]) -> None:
        moved = [journal for journal in self._journals.values() if journal.position != journal.stored]
        is_due = moved and time.monotonic() - self._positions_at >= _IDLE_POSITIONS_SECONDS
        if not is_due and not turns:
            return
        await self._store.commit(Batch(positions=[journal.position for journal in moved], turns=turns))
        self._note_positions()

    def _note_positions(self) -> None:
        self._positions_at = time.monotonic()
        for journal in self._journals.values():
            journal.stored = journal.position


def _with_problem(item: Interpretation, error: Exception) -> Interpretation:
    problem = Problem("internal_error", f"recording this call failed: {type(error).__name__}: {error}")
    return msgspec.structs.replace(item, problems=(*item.problems, problem))


def _gap_row(item: FoundGap) -> GapRow:
    gap, journal = item.gap, item.journal
    return GapRow(
        id=digest("gap", journal, str(item.position)),
        journal=journal,
        position=str(item.position),
        reason=gap.reason,
        records=gap.records,
        bytes=gap.bytes,
        created_at=moment(gap.since_ns or item.wall_ns),
    )
