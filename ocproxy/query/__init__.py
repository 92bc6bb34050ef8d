"""Answers about what is stored, for people and programs: plain JSON data with fixed keys.

Times are ISO 8601 strings in UTC. Ids may be given as a unique prefix. Raises NotFound when nothing matches, Ambiguous
when more than one session does, StoreBusy and StoreError as the store does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal, NamedTuple, cast

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.agents.catalog import agent_named
from ocproxy.errors import Ambiguous, NotFound, StoreBusy
from ocproxy.files.folding import ledger_of, part_of, parts_of
from ocproxy.model import CallKind, CallRow, FileEvent, Json, Message, MessageRow, Opaque, SessionRow, Text
from ocproxy.store import base as store_base
from ocproxy.store.base import SLOT_SECONDS, SessionSummary, Spending, Store
from ocproxy.work import AgentSession, AgentStatus, ChangeStatus, TaskState, Totals

JsonObject = dict[str, Any]
By = Literal["day", "model", "agent", "session", "workdir"]

# A follower reads rows again that a database which is locked or away did not give.
_AGAIN_SECONDS = 0.3

# An agent that was heard of so lately is at work: between two calls stand the user's reading and typing, tools, and the
# waits of tries after an error, which are shorter in most cases.
_ACTIVE = timedelta(minutes=5)


class SessionDiff(NamedTuple):
    """What a session did to files: one unified diff a file, and what could not be put into it."""

    text: str
    notes: list[str]


class Changes(NamedTuple):
    """What `changes_since` a cursor were stored."""

    rows: list[JsonObject]  # oldest first, each as {what: session|message|file_event|call, …its row}
    cursor: int  # the new one
    missed: int  # how many more changes there were before them, which are no longer kept


async def sessions(store: Store, *, limit: int | None = None) -> list[JsonObject]:
    """All sessions with their totals, newest first. For `status` see `show`."""
    return await _sessions(store, await store.summaries(limit=limit))


async def session(store: Store, session_id: str) -> JsonObject:
    """One session with its totals."""
    (one,) = await _sessions(store, [await find_session(store, session_id)])
    return one


async def show(store: Store, session_id: str) -> JsonObject:
    """One session whole: {session, agents, messages, file_events, calls, subagents}, the subagents' own ones included.
    The session also has `pruned_at`: when its content was removed and its usage stayed (ISO 8601; None: it was not).

    `agents` are those that were heard in it, with their totals and `status`: `active` for minutes after the last call;
    then `crashed` where the newest main call failed or broke off, else `idle`; `closed` where it was told that nothing
    more comes. The session has the status of the one heard last, None where no call is recorded.
    A message also has `spoken`: its own text without what the agent's program attached to it and without tool results;
    None where nothing is left."""
    summary = await find_session(store, session_id)
    id = summary.row.id
    agent, pruned = agent_of(summary.row), (await store.pruned([id])).get(id)
    heard = await store.agent_sessions([id])
    return {
        "session": {**_listed(summary, heard), "pruned_at": pruned.isoformat() if pruned else None},
        "agents": [_agent(one) for one in heard],
        "messages": [{**_message(row), "spoken": _spoken(row, agent)} for row in await store.messages(id)],
        "file_events": [as_json(row) for row in await store.file_events(id)],
        "calls": [as_json(row) for row in await store.calls(id)],
        "subagents": await _sessions(store, await _descendants(store, id)),
    }


async def _descendants(store: Store, session_id: str) -> list[SessionSummary]:
    """The subagents of a session and theirs, oldest first under each."""
    found: dict[str, SessionSummary] = {}
    waiting = [session_id]
    while waiting:
        for child in reversed(await store.summaries(parent_id=waiting.pop())):
            if child.row.id not in found and child.row.id != session_id:
                found[child.row.id] = child
                waiting.append(child.row.id)
    return list(found.values())


async def files(store: Store, session_id: str | None = None) -> list[JsonObject]:
    """File events of one session, or of all, in the order of the calls."""
    id = (await find_session(store, session_id)).row.id if session_id is not None else None
    return [as_json(row) for row in await store.file_events(id)]


async def pending_changes(
    store: Store, session_id: str | None = None, *, status: ChangeStatus | None = None, limit: int | None = None
) -> list[JsonObject]:
    """Changes of files of one session, or of all, oldest first; with `limit` the newest ones.

    Beside the row: `tool_name`, `event_status`, `certainty` and `note` of the file event that it comes from."""
    id = (await find_session(store, session_id)).row.id if session_id is not None else None
    found = await store.pending_changes(id, status=status, limit=limit)
    events = await store.rows_of("file_event", [change.file_event_id for change in found])
    return [{**as_json(change), **_origin(events.get(change.file_event_id))} for change in found]


def _origin(event: FileEvent | None) -> JsonObject:
    if event is None:
        return dict.fromkeys(("tool_name", "event_status", "certainty", "note"))
    told = {"tool_name": event.tool_name, "event_status": event.status.value}
    return {**told, "certainty": event.certainty, "note": event.note}


async def tasks(store: Store, *, state: TaskState | None = None, limit: int | None = None) -> list[JsonObject]:
    """Runs with their totals, newest first."""
    return [_totals(task) for task in await store.tasks(state=state, limit=limit)]


async def inbox(store: Store) -> list[JsonObject]:
    """The runs that need a person, and why; those that wait longest first."""
    return [as_json(item) for item in await store.inbox()]


async def calls(store: Store, session_id: str | None = None, *, limit: int | None = None) -> list[JsonObject]:
    """Calls of one session, or of all, oldest first; with `limit` the newest ones."""
    id = (await find_session(store, session_id)).row.id if session_id is not None else None
    return [as_json(row) for row in await store.calls(id, limit=limit)]


async def diff(store: Store, session_id: str) -> SessionDiff:
    """The session's applied changes, to apply with `git apply` on its working folder as it was when it began."""
    row = (await find_session(store, session_id)).row
    found = ledger_of(row, agent_of(row), await store.messages(row.id)).session_diff()
    return SessionDiff(found.text, list(found.notes))


async def cursor(store: Store) -> int:
    """The place of the newest change."""
    return (await store.changes(None)).cursor


async def follow(store: Store, after: int) -> AsyncIterator[Changes]:
    """What is stored after the cursor `after` (0: the beginning), as it comes, for ever; and how much of it can no
    longer be told: the newest are kept. It waits for a database that is away."""
    async for found in store.follow(after):
        while True:
            try:
                changes = await _rows_of(store, found)
            except StoreBusy:
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                break
        yield changes


async def changes_since(store: Store, cursor: int) -> Changes:
    """What was stored after `cursor`, as `follow` tells it, up to now."""
    return await _rows_of(store, await store.changes(cursor))


async def _rows_of(store: Store, changes: store_base.Changes) -> Changes:
    """A row that changed twice comes once, as it is now."""
    by_kind: dict[str, list[str]] = {}
    for change in changes.found:
        by_kind.setdefault(change.what, []).append(change.id)
    rows = {what: await store.rows_of(what, list(dict.fromkeys(ids))) for what, ids in by_kind.items()}
    told: dict[tuple[str, str], JsonObject] = {}
    for change in changes.found:
        row = rows[change.what].get(change.id)
        if row is not None:
            shaped = _message(row) if change.what == "message" else as_json(row)
            told.setdefault((change.what, change.id), {"what": change.what, **shaped})
    return Changes(list(told.values()), changes.cursor, changes.missed)


async def usage(
    store: Store,
    by: By,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    zone: tzinfo | None = None,
) -> JsonObject:
    """Tokens and money of the calls that began in that time: {by, timezone, rows, total, unpriced}.

    `rows` have `key`: the day (ISO 8601, in `zone`; None: this machine's), model, agent, session id or folder; of
    sessions also `title`. Side calls count, and are told apart: `calls` is all, `side_calls` those outside of any
    conversation. `cost_usd` is the sum of what has a cost (`cost_nanos`: exactly), None where nothing has; what
    has none is counted in `unpriced` and named in the list of that name. Days come in their order, the
    rest by what it cost."""
    found = await store.spending("slot" if by == "day" else by, since, until)
    groups: dict[Any, list[Spending]] = {}
    for part in found:
        groups.setdefault(_day(part.key, zone) if by == "day" else part.key, []).append(part)
    rows: list[JsonObject] = [{"key": key, **_sums(parts)} for key, parts in groups.items()]
    if by == "session":
        titles = await store.rows_of("session", [key for key in groups if key is not None])
        for row in rows:
            session = titles.get(row["key"])
            row["title"] = (session.title or session.prompt) if session else None
    rows.sort(key=lambda row: str(row["key"]))
    if by != "day":
        rows.sort(key=lambda row: (-(row["cost_nanos"] or 0), -row["output_tokens"]))
    unpriced = [one._asdict() for one in await store.unpriced(since, until)]
    where = str(zone) if zone is not None else datetime.now().astimezone().tzname()
    return {"by": by, "timezone": where, "rows": rows, "total": _sums(found), "unpriced": unpriced}


def _day(slot: int, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(slot * SLOT_SECONDS, zone).date().isoformat()


def _sums(parts: Sequence[Spending]) -> JsonObject:
    columns = zip(*parts, strict=True) if parts else [()] * len(Spending._fields)
    values = dict(zip(Spending._fields, columns, strict=True))
    sums = {name: sum(values[name]) for name in Spending._fields[2:] if name != "cost"}
    side = sum(part.calls for part in parts if part.kind != CallKind.MAIN)
    costs = [part.cost for part in parts if part.cost is not None]
    cost = sum(costs) if costs else None
    return {"calls": sums.pop("calls"), "side_calls": side, **sums, "cost_usd": _dollars(cost), "cost_nanos": cost}


async def positions(store: Store) -> dict[str, Any]:
    """How far each journal is in the database, by journal id."""
    return dict(await store.positions())


async def gaps(store: Store) -> list[JsonObject]:
    """What could not be recorded or read."""
    return [as_json(gap) for gap in await store.gaps()]


async def removals(store: Store) -> JsonObject:
    """What was removed: {last, waiting}. `last` is the newest removal, None where there was none; `waiting` says by
    journal id how many exchanges are still to be erased from it."""
    newest = [{**one._asdict(), "at": one.at.isoformat()} for one in await store.removals(1)]
    return {"last": newest[0] if newest else None, "waiting": await store.count_erasures()}


async def find_session(store: Store, prefix: str) -> SessionSummary:
    ids = await store.find_sessions(prefix)
    if not ids:
        raise NotFound(f"no session begins with {prefix!r}", hint="ocproxy sessions lists them")
    if len(ids) > 1:
        some = ", ".join(ids[:3])
        raise Ambiguous(f"{prefix!r} is the beginning of more than one session: {some}", hint="give more of the id")
    summary = await store.summary(ids[0])
    if summary is None:
        raise NotFound(f"the session {ids[0]} is gone")
    return summary


def agent_of(row: SessionRow) -> Agent:
    return agent_named(row.plugin or row.agent_name)


def _spoken(row: MessageRow, agent: Agent) -> str | None:
    parts, role = parts_of(row), cast(Any, row.role)  # programs store other roles, too
    if agent.aside(Message(role, tuple(parts))) is not None:
        return None
    texts = [agent.spoken(part.text) for part in parts if isinstance(part, Text)]
    return "\n".join(text for text in texts if text) or None


async def _sessions(store: Store, summaries: Sequence[SessionSummary]) -> list[JsonObject]:
    agents: dict[str, list[AgentSession]] = {}
    for agent in await store.agent_sessions([summary.row.id for summary in summaries]):
        agents.setdefault(agent.session_id, []).append(agent)
    return [_listed(summary, agents.get(summary.row.id, ())) for summary in summaries]


def _listed(summary: SessionSummary, agents: Sequence[AgentSession]) -> JsonObject:
    return {**_session(summary), "status": _last_status(agents)}


def _last_status(agents: Sequence[AgentSession]) -> AgentStatus | None:
    heard = [agent for agent in agents if agent.last_call_at is not None]
    return _status(max(heard, key=lambda agent: (agent.last_call_at, agent.agent))) if heard else None


def _agent(agent: AgentSession) -> JsonObject:
    return {**_totals(agent), "status": _status(agent)}


def _status(agent: AgentSession) -> AgentStatus:
    """What the record knows of the last call, and how long ago that was."""
    if agent.status == "closed":
        return "closed"
    if agent.last_call_at is not None and datetime.now(UTC) - agent.last_call_at < _ACTIVE:
        return "active"
    return "idle" if agent.status == "active" else agent.status


def _totals(row: Totals) -> JsonObject:
    fields = as_json(row)
    cost = fields.pop("cost")
    return {**fields, "cost_usd": _dollars(cost if row.priced_calls else None)}


def _session(summary: SessionSummary) -> JsonObject:
    counts = {"calls": summary.calls, "messages": summary.messages, "file_events": summary.file_events}
    money = {"cost_usd": _dollars(summary.cost), "unpriced_calls": summary.unpriced}
    return {**as_json(summary.row), **counts, **summary.tokens, **money}


def _message(row: MessageRow) -> JsonObject:
    fields = as_json(row)
    fields["parts"] = [raw if part_of(raw) is not None else _opaque(raw) for raw in row.parts]
    return {
        name: fields[name]
        for name in ("id", "role", "content", "parts", "created_at", "parent_id", "call_id", "session_id")
    }


def _opaque(raw: Json) -> Json:
    kind = raw.get("type") if isinstance(raw, dict) else None
    return msgspec.to_builtins(Opaque(str(kind or "part"), raw))


def as_json(row: msgspec.Struct) -> JsonObject:
    """A row of the database as plain JSON data."""
    fields: dict[str, Json] = {name: getattr(row, name) for name in row.__struct_fields__}
    if isinstance(row, CallRow):
        fields["cost_usd"] = _dollars(fields.pop("cost"))
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}


def _dollars(nanos: int | None) -> float | None:
    return None if nanos is None else nanos / 1e9
