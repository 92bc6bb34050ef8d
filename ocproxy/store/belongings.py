"""Which rows belong to a session, worked out from the foreign keys: a new table is taken in by having one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from ocproxy.store import schema

# Tables that say what was used, not what was said: they stay where usage is kept. By name, so that one is known before
# it is there.
USAGE = frozenset({"opencode_sessions", "calls", "agent_sessions", "pruned_sessions"})

# What of a call quotes somebody, or names what is gone.
_CALL_BLANKS: dict[str, Any] = {
    **dict.fromkeys(("title", "about", "summary_key", "prompt_hash", "message_id", "reply_id")),
    "error": sa.case((schema.CALLS.c.error.is_not(None), "")),  # that it failed is part of the usage
    "problems": [],
    "detail": "",
    "position": "",  # its bytes are no longer in the journal
}


class Doomed(NamedTuple):
    """Rows of one table that go, by one way to find them."""

    table: sa.Table
    where: sa.ColumnElement[bool]
    is_first: bool  # the way that finds all that were stored together with the session


def doomed(ids: Sequence[str], strays: Sequence[str], *, keep_usage: bool) -> list[Doomed]:
    """What goes with these sessions and calls, in an order that satisfies the foreign keys."""
    session = schema.SESSIONS.c.id.in_(ids)
    call = schema.CALLS.c
    roots: dict[sa.Table, list[sa.ColumnElement[bool]]] = {schema.SESSIONS: [session]}
    if not keep_usage:
        roots[schema.CALLS] = [call.session_id.in_(ids), *([call.id.in_(strays)] if strays else [])]
    found: dict[sa.Table, list[sa.ColumnElement[bool]]] = {}
    for table in schema.METADATA.sorted_tables:
        if keep_usage and table.name in USAGE - {schema.SESSIONS.name}:
            continue
        ways = [*roots.get(table, []), *_ways(table, found, ids)]
        if ways:
            found[table] = ways
    if keep_usage:
        del found[schema.SESSIONS]
    return [Doomed(table, where, where is ways[0]) for table, ways in reversed(list(found.items())) for where in ways]


def _ways(
    table: sa.Table, found: dict[sa.Table, list[sa.ColumnElement[bool]]], ids: Sequence[str]
) -> Iterator[sa.ColumnElement[bool]]:
    """The rows that point at something that goes; those with SET NULL or SET DEFAULT are the database's to change."""
    for key in sorted(table.foreign_keys, key=lambda key: (key.column.table is not schema.SESSIONS, key.parent.name)):
        target = key.column.table
        if target is table or target not in found or (key.ondelete or "").upper().startswith("SET"):
            continue
        if target is schema.SESSIONS:
            yield key.parent.in_(ids)
        else:
            yield from (key.parent.in_(sa.select(key.column).where(where)) for where in found[target])


def blanks(ids: Sequence[str], strays: Sequence[str]) -> list[sa.Update]:
    """What takes the words out of sessions and calls whose usage stays."""
    session, call = schema.SESSIONS, schema.CALLS
    which = [call.c.session_id.in_(ids), *([call.c.id.in_(strays)] if strays else [])]
    return [
        sa.update(session).where(session.c.id.in_(ids)).values(title=None, prompt=None),
        *[sa.update(call).where(where).values(_CALL_BLANKS) for where in which],
    ]


def run_blanks(ids: Sequence[str]) -> sa.Update:
    """What takes the words of sessions out of the runs that they belong to. A run outlives its sessions."""
    session, task = schema.SESSIONS.c, schema.TASKS.c
    runs = sa.select(session.run).where(session.id.in_(ids), session.run.is_not(None))
    words = dict.fromkeys(("title", "input", "output_summary", "reason"))
    return sa.update(schema.TASKS).where(task.session_id.in_(ids) | task.run.in_(runs)).values(words)


def content_bytes(table: sa.Table) -> sa.ColumnElement[int]:
    """The bytes of a row's texts and JSON, in UTF-8."""
    texts = [column for column in table.columns if isinstance(column.type, sa.JSON | sa.Text) or _is_text(column)]
    total: sa.ColumnElement[int] = sa.literal_column("0")
    for column in texts:
        total = total + sa.func.coalesce(Octets(column), 0)
    return total


def _is_text(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.types.TypeDecorator) and isinstance(column.type.impl_instance, sa.JSON | sa.Text)


class Octets(sa.sql.functions.GenericFunction[int]):
    """The bytes of a text or JSON value as UTF-8. No function of all databases counts them."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(Octets)
def _octets(element: Octets, compiler: Any, **options: Any) -> str:
    return f"OCTET_LENGTH(CAST({compiler.process(element.clauses, **options)} AS TEXT))"


@compiles(Octets, "sqlite")
def _octets_of_sqlite(element: Octets, compiler: Any, **options: Any) -> str:
    return f"LENGTH(CAST({compiler.process(element.clauses, **options)} AS BLOB))"
