"""What all SQL databases share: rows to tables and back, in one class over SQLAlchemy Core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from ocproxy.errors import StoreBusy, StoreMoved
from ocproxy.model import (
    Batch,
    CallRow,
    FileEvent,
    GapRow,
    IngestPosition,
    IngestTurn,
    MessageRow,
    SessionRow,
)
from ocproxy.store import costs, lookups, schema
from ocproxy.store.accounts import Accounts
from ocproxy.store.base import (
    Bell,
    CallCost,
    Change,
    Changes,
    HistoryMatch,
    SessionSummary,
    Spending,
    Unpriced,
    UsageBy,
)
from ocproxy.store.columns import shorten
from ocproxy.store.costs import set_costs
from ocproxy.store.rows import from_row, to_dict
from ocproxy.store.search import Searching
from ocproxy.store.sightings import Remembered, Sightings
from ocproxy.store.sql_prompts import SqlPrompts
from ocproxy.store.sql_removal import SqlRemovals
from ocproxy.store.sql_sizes import SqlSizes
from ocproxy.store.transactions import Result, Work
from ocproxy.store.undisturbed import undisturbed
from ocproxy.store.upserts import Update, changes, upserts
from ocproxy.store.worklist import Worklist

# How many ids go into one IN (…): far below every database's limit on parameters (SQLite before 3.32: 999).
_IDS_AT_ONCE = 500

# The changes kept for those who follow (`tail`): a follower that falls further behind is told how many it missed.
_CHANGES_KEPT = 20_000

# Waits of a follower while the database is locked or away.
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


class SqlStore(Searching, Worklist, SqlPrompts, SqlRemovals, SqlSizes):
    """A `Store` over connections of SQLAlchemy."""

    is_shared = False

    def __init__(self) -> None:
        self._statements: dict[str, Any] = {}  # upserts, by table: making one costs more than running it
        self._remembered = Remembered()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await undisturbed(self.close())

    # --- what a kind of database does in its own way

    @staticmethod
    def insert(table: sa.Table) -> Any:
        """The dialect's INSERT with ON CONFLICT."""
        raise NotImplementedError

    async def transact(self, work: Work[Result], *, writes: bool) -> Result:
        """Do `work` on a connection, to its end whoever is cancelled meanwhile: in one transaction if it writes, else
        each statement may see what was committed meanwhile. It may be done again where the connection was lost in it,
        and nothing stored. Database errors leave as ours, by whose fault they are."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def forget(self) -> None:
        """Remember nothing: the database may be another one now."""
        self._remembered = Remembered()

    def begin_writing(self, connection: sa.Connection) -> None:
        """Let nobody else store until this transaction ends. SQLite's transactions that write do so by themselves."""

    def bell(self) -> AbstractAsyncContextManager[Bell]:
        """Something to wait with until anything may have changed."""
        raise NotImplementedError

    def turn_bell(self) -> AbstractAsyncContextManager[Bell]:
        return self.bell()

    async def ready(self) -> None:
        """Raises StoreBusy or StoreError unless the database can be used."""
        await self.transact(lambda _: None, writes=False)

    # --- writing

    async def commit(self, batch: Batch, after: Mapping[str, int] | None = None, removals: int | None = None) -> None:
        remembered = self._remembered
        work = partial(self._commit, batch=batch, after=after, removals=removals)
        remembered.take(await self.transact(work, writes=True))

    def _commit(
        self, connection: sa.Connection, batch: Batch, after: Mapping[str, int] | None, removals: int | None
    ) -> Remembered:
        noted = changes(batch)
        if noted or after is not None or removals is not None:
            self.begin_writing(connection)
        known: set[str] = set()
        if removals is not None and self.require_unremoved(connection, removals, batch) == 0:
            known = self._remembered.prompts_at(removals)
        if after is not None:
            self._require_unmoved(connection, batch, after)
        accounts = Accounts(connection, self.insert, batch)
        sightings = Sightings(connection, self.insert, batch, self._remembered)
        accounts.begin()
        for table, rows, updates in upserts(batch, known):
            connection.execute(self._statement(table, updates), [to_dict(row) for row in rows])
        sightings.store()
        accounts.settle()
        if noted:
            self._note_changes(connection, noted)
        if removals is not None:
            sightings.stored.prompts, sightings.stored.removals = known | {row.hash for row in batch.prompts}, removals
        return sightings.stored

    def _statement(self, table: sa.Table, updates: Callable[[], dict[str, Update]]) -> Any:
        if (statement := self._statements.get(table.name)) is None:
            statement = self._statements[table.name] = self._upsert(table, updates())
        return statement

    def _upsert(self, table: sa.Table, updates: Mapping[str, Update]) -> Any:
        statement = self.insert(table)
        keys = [column.name for column in table.primary_key]
        if not updates:
            return statement.on_conflict_do_nothing(index_elements=keys)
        values = {name: value(statement.excluded) for name, value in updates.items()}
        return statement.on_conflict_do_update(index_elements=keys, set_=values)

    def _require_unmoved(self, connection: sa.Connection, batch: Batch, after: Mapping[str, int]) -> None:
        own = {turn.journal for turn in batch.turns}
        rows = connection.execute(sa.select(schema.TURNS.c.journal, schema.TURNS.c.commits))
        now = {row.journal: row.commits for row in rows if row.journal not in own}
        if any(count != after.get(journal, 0) for journal, count in now.items()):
            raise StoreMoved("another process stored calls meanwhile")

    def _note_changes(self, connection: sa.Connection, noted: list[dict[str, Any]]) -> None:
        """Number them without a gap, in the order of the commits: a sequence of the database would do neither."""
        newest = connection.execute(lookups.NEWEST_CHANGE).scalar() or 0
        for number, row in enumerate(noted, newest + 1):
            row["seq"] = number
        connection.execute(lookups.NOTE_CHANGES, noted)
        last = newest + len(noted) - _CHANGES_KEPT
        if last > 0:
            connection.execute(lookups.DROP_CHANGES, {"last": last})

    async def leave_behind(self, turn: IngestTurn) -> None:
        turns = schema.TURNS.c
        same = turns.journal == turn.journal, turns.beat_ns == turn.beat_ns
        update = sa.update(schema.TURNS).where(*same).values(is_away=True)
        await self.transact(lambda connection: connection.execute(update), writes=True)

    # --- reading

    async def summaries(self, *, limit: int | None = None, parent_id: str | None = None) -> list[SessionSummary]:
        where = sa.true() if parent_id is None else schema.SESSIONS.c.parent_id == parent_id
        return await self._summaries(where, limit)

    async def summary(self, session_id: str) -> SessionSummary | None:
        found = await self._summaries(schema.SESSIONS.c.id == session_id, 1)
        return found[0] if found else None

    async def _summaries(self, where: sa.ColumnElement[bool], limit: int | None) -> list[SessionSummary]:
        session = schema.SESSIONS
        chosen = sa.select(session).where(where).order_by(session.c.updated_at.desc(), session.c.id).limit(limit)
        part = chosen.subquery("chosen")

        def totals(table: sa.Table, *sums: sa.ColumnElement[Any]) -> sa.Subquery:
            columns = [sa.func.sum(column).label(column.name) for column in sums]
            query = sa.select(table.c.session_id, sa.func.count().label("rows"), *columns)
            return query.where(table.c.session_id.in_(sa.select(part.c.id))).group_by(table.c.session_id).subquery()

        unpriced = sa.case((costs.is_unpriced(), 1)).label("unpriced")
        calls = totals(schema.CALLS, *[schema.CALLS.c[name] for name in (*_TOKENS, "cost")], unpriced)
        messages, events = totals(schema.MESSAGES), totals(schema.FILE_EVENTS)
        counts = [calls.c.rows.label("n_calls"), messages.c.rows.label("n_messages"), events.c.rows.label("n_events")]
        query = sa.select(part, *counts, *[calls.c[name] for name in (*_TOKENS, "cost", "unpriced")])
        for other in (calls, messages, events):
            query = query.outerjoin(other, other.c.session_id == part.c.id)
        rows = await self._all(query.order_by(part.c.updated_at.desc(), part.c.id))
        return [
            SessionSummary(
                from_row(row, SessionRow), row["n_calls"] or 0, row["n_messages"] or 0, row["n_events"] or 0,
                {name: int(row[name] or 0) for name in _TOKENS},
                None if row["cost"] is None else int(row["cost"]), int(row["unpriced"] or 0),
            )
            for row in rows
        ]  # fmt: skip

    async def find_sessions(self, prefix: str) -> list[str]:
        session, size = schema.SESSIONS.c, len(prefix)
        exact = sa.select(session.id).where((session.id == prefix) | (session.opencode_id == prefix))
        found = [row["id"] for row in await self._all(exact)]
        if found:
            return found
        # Not LIKE: whether it minds capitals depends on the database.
        begins = sa.or_(*[sa.func.substr(column, 1, size) == prefix for column in (session.id, session.opencode_id)])
        return [
            row["id"] for row in await self._all(sa.select(session.id).where(begins).order_by(session.id).limit(20))
        ]

    async def messages(self, session_id: str) -> list[MessageRow]:
        table = schema.MESSAGES
        query = sa.select(table).where(table.c.session_id == session_id).order_by(table.c.seq, table.c.created_at)
        return [from_row(row, MessageRow) for row in await self._all(query)]

    async def file_events(self, session_id: str | None = None) -> list[FileEvent]:
        table = schema.FILE_EVENTS
        query = sa.select(table).order_by(table.c.created_at, table.c.session_id, table.c.ordinal)
        if session_id is not None:
            query = sa.select(table).where(table.c.session_id == session_id).order_by(table.c.ordinal)
        return [from_row(row, FileEvent) for row in await self._all(query)]

    async def calls(self, session_id: str | None = None, *, limit: int | None = None) -> list[CallRow]:
        table = schema.CALLS
        query = sa.select(table).order_by(table.c.started_at.desc(), table.c.id.desc()).limit(limit)
        if session_id is not None:
            query = query.where(table.c.session_id == session_id)
        return [from_row(row, CallRow) for row in reversed(await self._all(query))]

    async def spending(
        self, by: UsageBy | None, since: datetime | None = None, until: datetime | None = None
    ) -> list[Spending]:
        return [costs.read_spending(row) for row in await self._all(costs.spending(by, since, until))]

    async def unpriced(self, since: datetime | None = None, until: datetime | None = None) -> list[Unpriced]:
        return [costs.read_unpriced(row) for row in await self._all(costs.unpriced(since, until))]

    async def calls_to_price(
        self, after: str, *, since: datetime | None = None, model: str | None = None, limit: int
    ) -> list[CallRow]:
        return [from_row(row, CallRow) for row in await self._all(costs.to_price(after, since, model, limit))]

    async def set_costs(self, costs: Sequence[CallCost]) -> None:
        if costs:
            await self.transact(partial(self._set_costs, costs=costs), writes=True)

    def _set_costs(self, connection: sa.Connection, costs: Sequence[CallCost]) -> None:
        self.begin_writing(connection)
        Accounts(connection, self.insert, Batch()).reprice(costs)
        statement, rows = set_costs(costs)
        connection.execute(statement, rows)

    async def calls_of_reply(self, reply_id: str) -> list[CallRow]:
        return [from_row(row, CallRow) for row in await self._all(lookups.REPLY, id=reply_id)]

    async def calls_of_summaries(self, keys: Sequence[str], agent: str, run: str | None) -> list[CallRow]:
        rows = await self._by_ids(lookups.SUMMARIES, keys, agent=agent, run=run)
        return sorted((from_row(row, CallRow) for row in rows), key=lambda call: (call.started_at, call.id))

    async def gaps(self) -> list[GapRow]:
        query = sa.select(schema.GAPS).order_by(schema.GAPS.c.created_at, schema.GAPS.c.id)
        return [from_row(row, GapRow) for row in await self._all(query)]

    async def positions(self) -> dict[str, IngestPosition]:
        return {row["journal"]: from_row(row, IngestPosition) for row in await self._all(sa.select(schema.POSITIONS))}

    async def turns(self) -> dict[str, IngestTurn]:
        return {row["journal"]: from_row(row, IngestTurn) for row in await self._all(lookups.TURNS)}

    async def ends(self, ids: Sequence[str]) -> dict[str, tuple[SessionRow, int]]:
        rows = await self._by_ids(lookups.ENDS, ids)
        return {
            row["id"]: (from_row(row, SessionRow), -1 if row["last_seq"] is None else row["last_seq"]) for row in rows
        }

    async def sessions_of_tool_uses(self, ids: Sequence[str], agent: str, run: str | None) -> dict[str, set[str]]:
        rows = await self._by_ids(lookups.TOOL_USES, ids, agent=agent, run=run)
        found = {row["tool_use_id"]: {row["first"], row["last"]} for row in rows}
        return {id: found[key] for id in ids if (key := shorten(id)) in found}

    async def begun_with(self, prompt: str, agent: str, run: str | None) -> list[SessionRow]:
        rows = await self._all(lookups.BEGUN, prompt=prompt, agent=agent, run=run)
        return [from_row(row, SessionRow) for row in rows]

    async def calls_about(self, prompt: str, agent: str, run: str | None) -> list[CallRow]:
        rows = await self._all(lookups.ABOUT, prompt=prompt, agent=agent, run=run)
        return [from_row(row, CallRow) for row in rows]

    async def delegators(self, keys: Sequence[str], agent: str, run: str | None) -> list[str]:
        rows = await self._by_ids(lookups.DELEGATORS, keys, agent=agent, run=run)
        rows.sort(key=lambda row: (row["created_at"], row["session_id"]))
        return [row["session_id"] for row in rows]

    async def matches_of_histories(self, histories: Sequence[str]) -> list[HistoryMatch]:
        rows = await self._by_ids(lookups.HISTORIES, histories)
        return [HistoryMatch(*row.values()) for row in rows]

    async def changes(self, after: int | None) -> Changes:
        change = schema.CHANGES.c
        if after is None:
            rows = await self._all(sa.select(sa.func.max(change.seq).label("newest")))
            return Changes([], rows[0]["newest"] or 0, 0)
        rows = await self._all(sa.select(schema.CHANGES).where(change.seq > after).order_by(change.seq))
        found = [Change(row["seq"], row["what"], row["row_id"]) for row in rows]
        if not found:  # the newest are always kept
            return Changes([], after, 0)
        return Changes(found, found[-1].seq, found[0].seq - after - 1)

    async def follow(self, after: int | None) -> AsyncIterator[Changes]:
        wait, cursor = _FIRST_WAIT, after
        while True:
            try:
                async with self.bell() as bell:  # from now on nothing is missed
                    while True:
                        found = await self.changes(cursor)
                        wait, cursor = _FIRST_WAIT, found.cursor
                        if found.found:
                            yield found
                        else:
                            await bell()
            except StoreBusy:
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)

    async def rows_of(self, what: str, ids: Sequence[str]) -> dict[str, Any]:
        query, kind = lookups.KINDS[what]
        return {row["id"]: from_row(row, kind) for row in await self._by_ids(query, ids)}

    # --- statements

    async def _by_ids(self, query: sa.Select[Any], ids: Sequence[str], **given: Any) -> list[sa.RowMapping]:
        """The rows for the `ids` that the query asks for, some at a time."""
        rows: list[sa.RowMapping] = []
        for start in range(0, len(ids), _IDS_AT_ONCE):
            rows += await self._all(query, ids=ids[start : start + _IDS_AT_ONCE], **given)
        return rows

    async def _all(self, query: sa.Select[Any], **given: Any) -> list[sa.RowMapping]:
        return await self.transact(lambda connection: list(connection.execute(query, given).mappings()), writes=False)
