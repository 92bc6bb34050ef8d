"""What a batch becomes: rows for tables, and what a row that is there already takes over from one that comes again."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ocproxy.model import Batch
from ocproxy.store import schema
from ocproxy.store.blobs import pack

Update = Callable[[Any], Any]  # the row that would have been inserted -> the value of a column


class Upsert(NamedTuple):
    """Rows of one table. What `updates()` does not name, stays as it was first stored."""

    table: sa.Table
    rows: Sequence[Any]
    updates: Callable[[], dict[str, Update]]


def upserts(batch: Batch, stored: Container[str] = ()) -> list[Upsert]:
    """In an order that satisfies the foreign keys. Rows of runs are there before (`store.accounts`), and prompts with
    these hashes."""
    blobs, prompts = pack([prompt for prompt in batch.prompts if prompt.hash not in stored])
    found = [
        # A hash says all that there is to a row, so one that is stored need not be looked at.
        Upsert(schema.BLOBS, blobs, dict),
        Upsert(schema.PROMPTS, prompts, dict),
        Upsert(schema.SESSIONS, batch.sessions, _session_updates),
        Upsert(schema.MESSAGES, batch.messages, _message_updates),
        Upsert(schema.TOOL_USES, batch.tool_uses, dict),
        Upsert(schema.FILE_EVENTS, batch.file_events, _event_updates),
        Upsert(schema.PENDING_CHANGES, batch.pending_changes, _change_updates),
        Upsert(schema.CALLS, batch.calls, _call_updates),
        Upsert(schema.GAPS, batch.gaps, dict),
        Upsert(schema.POSITIONS, batch.positions, _position_updates),
        Upsert(schema.TURNS, batch.turns, _turn_updates),
    ]
    return [upsert for upsert in found if upsert.rows]


def changes(batch: Batch) -> list[dict[str, Any]]:
    """The rows of the feed."""
    rows = [{"what": "session", "row_id": row.id} for row in batch.sessions]
    rows += [{"what": "message", "row_id": row.id} for row in batch.messages]
    rows += [{"what": "file_event", "row_id": row.id} for row in batch.file_events]
    return rows + [{"what": "call", "row_id": row.id} for row in batch.calls]


def _session_updates() -> dict[str, Update]:
    session = schema.SESSIONS.c
    begun, ended = session.created_at, session.updated_at
    kept = ("title", "abi_thread_id", "parent_id", "parent_certainty", "run", "prompt", "plugin")
    return {
        "created_at": lambda new: sa.case((new.created_at < begun, new.created_at), else_=begun),
        "updated_at": lambda new: sa.case((new.updated_at > ended, new.updated_at), else_=ended),
        **{name: _first_known(session[name]) for name in kept},
        **{name: _last_known(session[name]) for name in ("protocol", "model", "agent_version")},
        "workdir": lambda new: sa.case((session.workdir == "", new.workdir), else_=session.workdir),
    }


def _message_updates() -> dict[str, Update]:
    # Columns that a downgrade dropped are filled again by the journal.
    places = ("parent_id", "depth", "key", "history", "call_id", "seq")
    return {name: _first_known(schema.MESSAGES.c[name]) for name in places}


def _event_updates() -> dict[str, Update]:
    event = schema.FILE_EVENTS.c
    outcome = ("status", "certainty", "diff", "exit_code", "output_bytes", "note", "updated_at", "destination")
    named = {name: _first_known(event[name]) for name in ("tool_use_id", "tool_name", "ordinal")}
    return {**named, **{name: _taken(name) for name in outcome}}


def _change_updates() -> dict[str, Update]:
    change = schema.PENDING_CHANGES.c
    told = {name: _taken(name) for name in ("diff", "destination", "updated_at")}
    # What a person took back stays so, however often the journal tells that it was made.
    status: Update = lambda new: sa.case((change.status == "reverted", change.status), else_=new.status)  # noqa: E731
    return {**told, "status": status, "task_id": _first_known(change.task_id)}


def _call_updates() -> dict[str, Update]:
    told_later = ("session_id", "summary_key")
    return {name: _first_known(schema.CALLS.c[name]) for name in told_later}


def _position_updates() -> dict[str, Update]:
    return {name: _taken(name) for name in ("position", "resume")}


def _turn_updates() -> dict[str, Update]:
    turn = schema.TURNS.c
    taken = {name: _taken(name) for name in ("told_ns", "beat_ns", "is_waiting", "is_away")}
    return {**taken, "commits": lambda new: turn.commits + new.commits}


def _first_known(column: sa.Column[Any]) -> Update:
    return lambda new: sa.func.coalesce(column, new[column.name])


def _last_known(column: sa.Column[Any]) -> Update:
    return lambda new: sa.func.coalesce(new[column.name], column)


def _taken(name: str) -> Update:
    return lambda new: new[name]
