"""Takes sessions out of a SQL database: `ocproxy.store.removal`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from ocproxy.errors import StoreMoved
from ocproxy.exchange import call_id
from ocproxy.model import Batch
from ocproxy.store import lookups, schema
from ocproxy.store.belongings import blanks, content_bytes, doomed, run_blanks
from ocproxy.store.removal import Aged, Exchanges, Extent, Removal, Tie, by_journal
from ocproxy.store.transactions import Result, Work

# Ids in one IN (…): as in `ocproxy.store.sql`.
_AT_ONCE = 500
# How a part says that another session's program did it (`ocproxy.ingest.forks`), as it stands in stored JSON.
_INHERITED = '%"other session"%'
_COUNTED = {schema.SESSIONS: "sessions", schema.MESSAGES: "messages", schema.FILE_EVENTS: "file_events"}


class SqlRemovals:
    """`Removals` over the connections of a `SqlStore`."""

    async def transact(self, work: Work[Result], *, writes: bool) -> Result:
        raise NotImplementedError

    async def _all(self, query: sa.Select[Any], **given: Any) -> list[sa.RowMapping]:
        raise NotImplementedError

    def begin_writing(self, connection: sa.Connection) -> None:
        raise NotImplementedError

    @staticmethod
    def insert(table: sa.Table) -> Any:
        raise NotImplementedError

    def prepare_removing(self, connection: sa.Connection) -> None:
        """Let the database wipe what the transaction removes, where it can."""

    async def settle(self, *, compact: bool) -> bool:
        raise NotImplementedError

    # --- what hangs on what

    async def ties(self, ids: Sequence[str]) -> list[Tie]:
        session = schema.SESSIONS.c
        query = sa.select(session.id, session.parent_id).where(session.parent_id.is_not(None))
        rows = await self._each(query, session.id, ids) + await self._each(query, session.parent_id, ids)
        found = {Tie("subagent", row["parent_id"], row["id"]) for row in rows}
        one, other = schema.MESSAGES.alias("one"), schema.MESSAGES.alias("other")
        first, second = sa.func.min(one.c.created_at), sa.func.min(other.c.created_at)
        shared = (
            sa.select(one.c.session_id, other.c.session_id.label("other_id"), first.label("a"), second.label("b"))
            .join_from(one, other, one.c.history == other.c.history)
            .where(one.c.role == "assistant", one.c.history != "", other.c.session_id != one.c.session_id)
            .group_by(one.c.session_id, other.c.session_id)
        )
        pairs = set()
        for row in await self._each(shared, one.c.session_id, ids):
            here, there = (row["a"], row["session_id"]), (row["b"], row["other_id"])
            pairs.add((here[1], there[1]) if here < there else (there[1], here[1]))
        forks = await self._inheritors(sorted({later for _, later in pairs}))
        return sorted(found | {Tie("fork" if later in forks else "twin", of, later) for of, later in pairs})

    async def _inheritors(self, ids: Sequence[str]) -> set[str]:
        message = schema.MESSAGES.c
        query = sa.select(message.session_id).distinct().where(sa.cast(message.parts, sa.Text).like(_INHERITED))
        return {row["session_id"] for row in await self._each(query, message.session_id, ids)}

    async def old_sessions(self, before: datetime, *, keep_usage: bool, after: Aged | None, limit: int) -> list[Aged]:
        session, pruned = schema.SESSIONS.c, schema.PRUNED.c
        query = sa.select(session.id, session.updated_at).where(session.updated_at < before)
        if keep_usage:
            query = query.outerjoin(schema.PRUNED, pruned.session_id == session.id)
            query = query.where(pruned.at.is_(None) | (pruned.at < session.updated_at))
        if after is not None:
            later = (session.updated_at == after.updated_at) & (session.id > after.id)
            query = query.where((session.updated_at > after.updated_at) | later)
        rows = await self._all(query.order_by(session.updated_at, session.id).limit(limit))
        return [Aged(row["id"], row["updated_at"]) for row in rows]

    async def old_strays(self, before: datetime, *, keep_usage: bool, after: str, limit: int) -> list[str]:
        call = schema.CALLS.c
        query = sa.select(call.id).where(call.session_id.is_(None), call.ended_at < before, call.id > after)
        if keep_usage:
            query = query.where(call.position != "")
        return [row["id"] for row in await self._all(query.order_by(call.id).limit(limit))]

    # --- how much it is

    async def extent(self, ids: Sequence[str], strays: Sequence[str] = (), *, keep_usage: bool = False) -> Extent:
        total = Extent()
        for some, calls in _pieces(ids, strays):
            work = partial(_measure, ids=some, strays=calls, keep_usage=keep_usage)
            total += await self.transact(work, writes=False)
        return total

    # --- taking it away

    async def remove(
        self, ids: Sequence[str], strays: Sequence[str] = (), *, keep_usage: bool = False, reason: str
    ) -> Extent:
        work = partial(self._remove, ids=ids, strays=strays, keep_usage=keep_usage, reason=reason)
        return await self.transact(work, writes=True)

    def _remove(
        self, connection: sa.Connection, *, ids: Sequence[str], strays: Sequence[str], keep_usage: bool, reason: str
    ) -> Extent:
        total, at = Extent(), datetime.now(UTC)
        self.prepare_removing(connection)
        self.begin_writing(connection)
        for some, calls in _pieces(ids, strays):
            total += _measure(connection, some, calls, keep_usage=keep_usage)
            prompts = self._note_erasures(connection, some, calls)
            connection.execute(run_blanks(some))
            for rows in doomed(some, calls, keep_usage=keep_usage):
                connection.execute(sa.delete(rows.table).where(rows.where))
            if keep_usage:
                for update in blanks(some, calls):
                    connection.execute(update)
                self._mark_pruned(connection, some, at)
            _drop_prompts(connection, sorted(prompts))
        newest = connection.execute(sa.select(sa.func.max(schema.REMOVALS.c.seq))).scalar() or 0
        counts = {"sessions": len(ids), "messages": total.messages, "calls": total.calls}
        connection.execute(
            sa.insert(schema.REMOVALS).values(seq=newest + 1, at=at, reason=reason, session_ids=list(ids), **counts)
        )
        return total

    def _note_erasures(self, connection: sa.Connection, ids: Sequence[str], strays: Sequence[str]) -> set[str]:
        """Returns the prompts of the calls."""
        call = schema.CALLS.c
        columns = call.id, call.journal, call.exchange, call.position, call.prompt_hash
        notes: dict[tuple[str, int], str | None] = {}
        prompts = set()
        for where in (call.session_id.in_(ids), call.id.in_(strays)):
            for row in connection.execute(sa.select(*columns).where(where)):
                if row.prompt_hash is not None:
                    prompts.add(row.prompt_hash)
                if row.position:
                    is_whole = row.id == call_id(row.journal, row.exchange)
                    notes[row.journal, row.exchange] = row.position if is_whole else None
        if notes:
            statement = self.insert(schema.ERASURES).on_conflict_do_nothing()
            rows = [{"journal": one, "exchange": two, "position": place} for (one, two), place in notes.items()]
            connection.execute(statement, rows)
        return prompts

    def _mark_pruned(self, connection: sa.Connection, ids: Sequence[str], at: datetime) -> None:
        if not ids:
            return
        statement = self.insert(schema.PRUNED)
        statement = statement.on_conflict_do_update(index_elements=["session_id"], set_={"at": statement.excluded.at})
        connection.execute(statement, [{"session_id": id, "at": at} for id in ids])

    # --- what is known of it afterwards

    async def removed_since(self, count: int | None) -> tuple[int, set[str]]:
        removal = schema.REMOVALS.c
        if count is None:
            rows = await self._all(sa.select(sa.func.max(removal.seq).label("newest")))
            return rows[0]["newest"] or 0, set()
        rows = await self._all(lookups.REMOVED, count=count)
        return max((row["seq"] for row in rows), default=count), {id for row in rows for id in row["session_ids"]}

    def require_unremoved(self, connection: sa.Connection, removals: int, batch: Batch) -> int:
        """How many removals there were since that was their count. Raises StoreMoved when a session that the batch adds
        to went with one. For a transaction that stores."""
        later = connection.execute(lookups.REMOVED, {"count": removals}).all()
        gone = {id for row in later for id in row.session_ids}
        touched: set[str | None] = {*(row.id for row in batch.sessions), *(row.session_id for row in batch.messages)}
        touched.update(row.session_id for row in batch.file_events)
        touched.update(row.session_id for row in batch.calls)
        if gone & touched:
            raise StoreMoved("a session was removed meanwhile")
        return len(later)

    async def removals(self, limit: int) -> list[Removal]:
        columns = [schema.REMOVALS.c[name] for name in Removal._fields]
        query = sa.select(*columns).order_by(schema.REMOVALS.c.seq.desc()).limit(limit)
        return [Removal(**row) for row in await self._all(query)]

    async def pruned(self, ids: Sequence[str]) -> dict[str, datetime]:
        rows = await self._each(sa.select(schema.PRUNED), schema.PRUNED.c.session_id, ids)
        return {row["session_id"]: row["at"] for row in rows}

    async def erasures(self, journals: Collection[str] | None = None) -> dict[str, Exchanges]:
        query = sa.select(schema.ERASURES)
        if journals is not None:
            query = query.where(schema.ERASURES.c.journal.in_(sorted(journals)))
        rows = await self._all(query)
        return by_journal({(row["journal"], row["exchange"]): row["position"] for row in rows})

    async def count_erasures(self) -> dict[str, int]:
        journal = schema.ERASURES.c.journal
        rows = await self._all(sa.select(journal, sa.func.count().label("waiting")).group_by(journal))
        return {row["journal"]: row["waiting"] for row in rows}

    async def forget_erasures(self, journal: str, exchanges: Collection[int]) -> None:
        work = partial(_forget_erasures, journal=journal, exchanges=sorted(exchanges))
        await self.transact(work, writes=True)

    async def _each(
        self, query: sa.Select[Any], column: sa.ColumnElement[Any], ids: Sequence[str]
    ) -> list[sa.RowMapping]:
        rows: list[sa.RowMapping] = []
        for start in range(0, len(ids), _AT_ONCE):
            rows += await self._all(query.where(column.in_(ids[start : start + _AT_ONCE])))
        return rows


def _pieces(ids: Sequence[str], strays: Sequence[str]) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    for start in range(0, max(len(ids), len(strays)), _AT_ONCE):
        yield ids[start : start + _AT_ONCE], strays[start : start + _AT_ONCE]


def _measure(connection: sa.Connection, ids: Sequence[str], strays: Sequence[str], *, keep_usage: bool) -> Extent:
    counts = dict.fromkeys(Extent._fields, 0)
    for rows in doomed(ids, strays, keep_usage=keep_usage):
        # Another way finds rows of the same sessions once more; of calls each way finds others.
        if not rows.is_first and rows.table is not schema.CALLS:
            continue
        query = sa.select(sa.func.count(), sa.func.sum(content_bytes(rows.table))).where(rows.where)
        count, size = connection.execute(query.select_from(rows.table)).one()
        counts["rows"] += count
        counts["content_bytes"] += int(size or 0)
        if name := _COUNTED.get(rows.table):
            counts[name] += count
    call = schema.CALLS.c
    wire = sa.func.sum(call.request_bytes + call.response_bytes)
    if keep_usage:
        counts["sessions"] = len(ids)
    for where in (call.session_id.in_(ids), call.id.in_(strays)):
        count, size = connection.execute(sa.select(sa.func.count(), wire).where(where)).one()
        counts["calls"] += count
        counts["wire_bytes"] += int(size or 0)
    counts["shared_calls"] = _count_shared(connection, ids)
    return Extent(**counts)


def _count_shared(connection: sa.Connection, ids: Sequence[str]) -> int:
    """Calls of other sessions over connections that calls of these sessions went over, too."""
    call = schema.CALLS.c
    columns = call.id, call.journal, call.exchange, call.session_id
    own = connection.execute(sa.select(*columns).where(call.session_id.in_(ids)))
    lines = {(row.journal, row.exchange) for row in own if row.id != call_id(row.journal, row.exchange)}
    if not lines:
        return 0
    numbers = sa.select(*columns).where(call.exchange.in_({exchange for _, exchange in lines}))
    found = connection.execute(numbers).all()
    return sum((row.journal, row.exchange) in lines and row.session_id not in ids for row in found)


def _forget_erasures(connection: sa.Connection, journal: str, exchanges: Sequence[int]) -> None:
    erasure = schema.ERASURES.c
    for start in range(0, len(exchanges), _AT_ONCE):
        some = exchanges[start : start + _AT_ONCE]
        connection.execute(sa.delete(schema.ERASURES).where(erasure.journal == journal, erasure.exchange.in_(some)))


def _drop_prompts(connection: sa.Connection, hashes: Sequence[str]) -> None:
    """Those that no call needs any more, and what only they held."""
    prompt, blob, call = schema.PROMPTS.c, schema.BLOBS.c, schema.CALLS.c
    for start in range(0, len(hashes), _AT_ONCE):
        query = sa.select(schema.PROMPTS).where(prompt.hash.in_(hashes[start : start + _AT_ONCE]))
        unneeded = query.where(~sa.exists().where(call.prompt_hash == prompt.hash))
        for row in (connection.execute(unneeded)).all():
            connection.execute(sa.delete(schema.PROMPTS).where(prompt.hash == row.hash))
            for hash in (row.system_hash, row.tools_hash):
                needed = sa.exists().where((prompt.system_hash == hash) | (prompt.tools_hash == hash))
                connection.execute(sa.delete(schema.BLOBS).where(blob.hash == hash, ~needed))
