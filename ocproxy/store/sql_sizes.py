"""Where the bytes of a SQL database are: `ocproxy.store.sizes`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ocproxy.store import schema
from ocproxy.store.belongings import content_bytes
from ocproxy.store.sizes import SessionSize, StoreSize, TableSize
from ocproxy.store.transactions import Result, Work

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
# Where what was said and done is, by session.
_CONTENT = (schema.MESSAGES, schema.FILE_EVENTS, schema.TOOL_USES)


class SqlSizes:
    """`Sizes` over the connections of a `SqlStore`."""

    async def transact(self, work: Work[Result], *, writes: bool) -> Result:
        raise NotImplementedError

    async def _all(self, query: sa.Select[Any], **given: Any) -> list[sa.RowMapping]:
        raise NotImplementedError

    def measure(self, connection: sa.Connection) -> StoreSize:
        """What `size` returns, in the way of the kind of database."""
        raise NotImplementedError

    async def size(self) -> StoreSize:
        found = await self.transact(self.measure, writes=False)
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


def count_rows(connection: sa.Connection, name: str) -> int:
    """How many rows a table has."""
    return connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar() or 0


def measure_sqlite(connection: sa.Connection) -> StoreSize:
    """By the table-valued `dbstat` where this SQLite has it (https://www.sqlite.org/dbstat.html), else by the texts."""

    def pragma(name: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)

    page = pragma("page_size")
    whole, free = page * pragma("page_count"), page * pragma("freelist_count")
    listed = connection.exec_driver_sql("SELECT type, name, tbl_name FROM sqlite_master WHERE rootpage > 0")
    places = [tuple(row) for row in listed]
    names = [name for kind, name, _ in places if kind == "table"]
    options = {row[0] for row in connection.exec_driver_sql("PRAGMA compile_options")}
    if _DBSTAT not in options:
        tables = [
            TableSize(table.name, _sum_texts(connection, table), 0, count_rows(connection, table.name))
            for table in schema.METADATA.sorted_tables
        ]
        return StoreSize(whole, free, 0, tables, is_estimate=True)
    found = connection.exec_driver_sql("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE")
    pages = {row.name: row.pgsize for row in found}
    tables = [
        TableSize(
            name,
            pages.get(name, 0),
            sum(pages.get(index, 0) for kind, index, of in places if kind == "index" and of == name),
            count_rows(connection, name),
        )
        for name in names
    ]
    return StoreSize(whole, free, 0, tables, is_estimate=False)


def _sum_texts(connection: sa.Connection, table: sa.Table) -> int:
    total = connection.execute(sa.select(sa.func.sum(content_bytes(table))).select_from(table))
    return int(total.scalar() or 0)


# Of the schema that our tables are in.
_TABLES = sa.text(
    "SELECT c.relname AS name, pg_table_size(c.oid) AS bytes, pg_indexes_size(c.oid) AS index_bytes"
    " FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace ="
    " (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('calls'))"
)


def measure_postgres(connection: sa.Connection) -> StoreSize:
    """By the server's own functions: https://www.postgresql.org/docs/current/functions-admin.html"""
    tables = [
        TableSize(row.name, row.bytes, row.index_bytes, count_rows(connection, row.name))
        for row in connection.execute(_TABLES)
    ]
    whole = connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar() or 0
    return StoreSize(whole, 0, 0, tables, is_estimate=False)
