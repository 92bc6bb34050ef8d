"""Where the bytes of a SQL database are: `ocproxy.store.sizes`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ocproxy.store import schema
from ocproxy.store.belongings import content_bytes
from ocproxy.store.sizes import SessionSize, StoreSize, TableSize
from ocproxy.store.undisturbed import undisturbed

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
# Where what was said and done is, by session.
_CONTENT = (schema.MESSAGES, schema.FILE_EVENTS, schema.TOOL_USES)


class SqlSizes:
    """`Sizes` over the connections of a `SqlStore`."""

    def _connect(self, *, writes: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        raise NotImplementedError

    async def _all(self, query: sa.Select[Any]) -> list[sa.RowMapping]:
        raise NotImplementedError

    async def measure(self, connection: AsyncConnection) -> StoreSize:
        """What `size` returns, in the way of the kind of database."""
        raise NotImplementedError

    async def size(self) -> StoreSize:
        return await undisturbed(self._size())

    async def _size(self) -> StoreSize:
        async with self._connect(writes=False) as connection:
            found = await self.measure(connection)
        return found._replace(tables=sorted(found.tables, key=lambda table: -table.bytes - table.index_bytes))

    async def session_sizes(self) -> list[SessionSize]:
        content: dict[str, int] = {}
        for table in _CONTENT:
            total = sa.func.sum(content_bytes(table)).label("bytes")
            for row in await self._all(sa.select(table.c.session_id, total).group_by(table.c.session_id)):
                content[row["session_id"]] = content.get(row["session_id"], 0) + int(row["bytes"] or 0)
        call = schema.CALLS.c
        wire = sa.func.sum(call.request_bytes + call.response_bytes).label("bytes")
        sums = sa.select(call.session_id, wire, sa.func.count().label("calls")).group_by(call.session_id)
        used = {row["session_id"] or "": row for row in await self._all(sums)}
        session = schema.SESSIONS.c
        rows = await self._all(sa.select(session.id, session.agent_name, session.updated_at))
        known = {row["id"]: (row["agent_name"], row["updated_at"]) for row in rows}
        if "" in used:
            known[""] = ("", _NEVER)
        return [
            SessionSize(
                id, *about, content.get(id, 0), int(used[id]["bytes"]) if id in used else 0,
                used[id]["calls"] if id in used else 0,
            )
            for id, about in known.items()
        ]  # fmt: skip


_DBSTAT = "ENABLE_DBSTAT_VTAB"


async def count_rows(connection: AsyncConnection, name: str) -> int:
    """How many rows a table has."""
    return (await connection.execute(sa.select(sa.func.count()).select_from(sa.table(name)))).scalar() or 0


async def measure_sqlite(connection: AsyncConnection) -> StoreSize:
    """By the table-valued `dbstat` where this SQLite has it (https://www.sqlite.org/dbstat.html), else by the texts."""

    async def pragma(name: str) -> int:
        return int((await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() or 0)

    page = await pragma("page_size")
    whole, free = page * await pragma("page_count"), page * await pragma("freelist_count")
    listed = await connection.exec_driver_sql("SELECT type, name, tbl_name FROM sqlite_master WHERE rootpage > 0")
    places = [tuple(row) for row in listed]
    names = [name for kind, name, _ in places if kind == "table"]
    options = {row[0] for row in await connection.exec_driver_sql("PRAGMA compile_options")}
    if _DBSTAT not in options:
        tables = [
            TableSize(table.name, await _sum_texts(connection, table), 0, await count_rows(connection, table.name))
            for table in schema.METADATA.sorted_tables
        ]
        return StoreSize(whole, free, 0, tables, is_estimate=True)
    found = await connection.exec_driver_sql("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE")
    pages = {row.name: row.pgsize for row in found}
    tables = [
        TableSize(
            name,
            pages.get(name, 0),
            sum(pages.get(index, 0) for kind, index, of in places if kind == "index" and of == name),
            await count_rows(connection, name),
        )
        for name in names
    ]
    return StoreSize(whole, free, 0, tables, is_estimate=False)


async def _sum_texts(connection: AsyncConnection, table: sa.Table) -> int:
    total = await connection.execute(sa.select(sa.func.sum(content_bytes(table))).select_from(table))
    return int(total.scalar() or 0)


# Of the schema that our tables are in.
_TABLES = sa.text(
    "SELECT c.relname AS name, pg_table_size(c.oid) AS bytes, pg_indexes_size(c.oid) AS index_bytes"
    " FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace ="
    " (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('calls'))"
)


async def measure_postgres(connection: AsyncConnection) -> StoreSize:
    """By the server's own functions: https://www.postgresql.org/docs/current/functions-admin.html"""
    tables = [
        TableSize(row.name, row.bytes, row.index_bytes, await count_rows(connection, row.name))
        for row in await connection.execute(_TABLES)
    ]
    whole = (await connection.execute(sa.text("SELECT pg_database_size(current_database())"))).scalar() or 0
    return StoreSize(whole, 0, 0, tables, is_estimate=False)
