"""The questions that the ingest asks for each call, made once: making a statement costs more than running it.

What is asked for is given by name with each execution; `ids` are many values.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from ocproxy.model import CallRow, FileEvent, MessageRow, SessionRow
from ocproxy.store import schema

_use, _session, _message, _call = schema.TOOL_USES.c, schema.SESSIONS.c, schema.MESSAGES.c, schema.CALLS.c
_removal = schema.REMOVALS.c


def among(query: sa.Select[Any], column: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """The rows of the query that have one of `ids` in this column."""
    return query.where(column.in_(sa.bindparam("ids", expanding=True)))


def _given(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    return column == sa.bindparam(name, type_=column.type)


def _same(table: Any) -> list[sa.ColumnElement[bool]]:
    """Of the same agent and the same run, which may be none."""
    return [
        _given(table.agent_name, "agent"),
        table.run.is_not_distinct_from(sa.bindparam("run", type_=table.run.type)),
    ]


def _ends() -> sa.Select[Any]:
    last = sa.select(sa.func.max(_message.seq)).where(_message.session_id == _session.id).scalar_subquery()
    return among(sa.select(schema.SESSIONS, last.label("last_seq")), _session.id)


def _tool_uses() -> sa.Select[Any]:
    first, last = sa.func.min(_use.session_id).label("first"), sa.func.max(_use.session_id).label("last")
    query = sa.select(_use.tool_use_id, first, last)
    query = query.join_from(schema.TOOL_USES, schema.SESSIONS, _session.id == _use.session_id)
    return among(query.where(*_same(_session)).group_by(_use.tool_use_id), _use.tool_use_id)


def _delegators() -> sa.Select[Any]:
    query = sa.select(_use.session_id, _message.created_at)
    query = query.join_from(schema.TOOL_USES, schema.SESSIONS, _session.id == _use.session_id)
    query = query.join(schema.MESSAGES, _message.id == _use.message_id)
    return among(query.where(*_same(_session)), _use.delegated)


def _histories() -> sa.Select[Any]:
    after = schema.MESSAGES.alias("after")
    # What follows is stored later, mostly next: `seq` makes that the first row looked at, not one of thousands.
    answered = sa.exists().where(
        after.c.session_id == _message.session_id, after.c.seq > _message.seq, after.c.parent_id == _message.id
    )
    columns = _message.history, _message.session_id, _message.id, answered, _message.created_at
    return among(sa.select(*columns), _message.history)


KINDS: dict[str, tuple[sa.Select[Any], type[msgspec.Struct]]] = {
    what: (among(sa.select(table), table.c.id), kind)
    for what, table, kind in (
        ("session", schema.SESSIONS, SessionRow),
        ("message", schema.MESSAGES, MessageRow),
        ("file_event", schema.FILE_EVENTS, FileEvent),
        ("call", schema.CALLS, CallRow),
    )
}
ENDS, TOOL_USES, DELEGATORS, HISTORIES = _ends(), _tool_uses(), _delegators(), _histories()
TURNS = sa.select(schema.TURNS)
REPLY = sa.select(schema.CALLS).where(_given(_call.reply_id, "id")).order_by(_call.started_at, _call.id)
SUMMARIES = among(sa.select(schema.CALLS).where(*_same(_call)), _call.summary_key)
BEGUN = sa.select(schema.SESSIONS).where(_given(_session.prompt, "prompt"), *_same(_session))
ABOUT = (
    sa.select(schema.CALLS)
    .where(_given(_call.about, "prompt"), *_same(_call), _call.session_id.is_(None))
    .order_by(_call.started_at, _call.id)
)
REMOVED = sa.select(_removal.seq, _removal.session_ids).where(
    _removal.seq > sa.bindparam("count", type_=_removal.seq.type)
)
NEWEST_CHANGE = sa.select(sa.func.max(schema.CHANGES.c.seq))
NOTE_CHANGES = sa.insert(schema.CHANGES)
DROP_CHANGES = sa.delete(schema.CHANGES).where(
    schema.CHANGES.c.seq <= sa.bindparam("last", type_=schema.CHANGES.c.seq.type)
)
