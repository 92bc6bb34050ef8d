"""What is known of agents in sessions and of runs, kept in the transaction that stores their calls.

Sums are running totals: those of the calls that the transaction stores, or newly gives to a session, are added, each
once, because the rows that were there before are looked up first and nobody else stores meanwhile. So they outlive the
calls. Status and state come from the newest main call, by the time when it ended:

    its answer asks for tools                        active    running
    it was answered whole, without                   idle      completed
    it was answered with an error, or broke off      crashed   failed; blocked, where it is a matter of quota or rights

Of a run the sessions count that are no subagents. Where a program lives with the run (`Task.is_launched`), its calls
only tell running from blocked. No clock is asked, so a replay gives the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa

from ocproxy.exchange import Outcome
from ocproxy.model import Batch, CallKind
from ocproxy.store import schema
from ocproxy.store.base import CallCost
from ocproxy.store.columns import shorten
from ocproxy.store.costs import TOKENS
from ocproxy.store.lookups import among
from ocproxy.work import config_hash, task_id

Key = tuple[str, ...]  # of the primary key of a table of sums
Facts = sa.RowMapping  # a call with what its session says

_LARGEST = 2**63 - 1  # what a column holds. Sums beyond it, of providers that tell nonsense, stay there
_COUNTED = tuple(f"{name}_tokens" for name in TOKENS)
_SUMS = ("calls", *_COUNTED, "cost", "priced_calls", "unpriced_calls")
_USED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_IDS_AT_ONCE = 500
# HTTP: no credentials or not good ones, no credit, not allowed, too many requests or no quota left.
_BLOCKING = {401, 402, 403, 429}
_REASON_CHARACTERS, _SUMMARY_CHARACTERS = 500, 400

_TOLD_OF_TASKS = (
    *(*_SUMS, "started_at", "last_call_at", "turn_at", "turn_call_id", "cost_tokens", "created_at", "updated_at"),
    *("session_id", "agent", "model", "input", "worktree_id", "output_summary", "state", "reason", "ended_at"),
)

_task = schema.TASKS.c
_call, _session = schema.CALLS.c, schema.SESSIONS.c
_use, _message, _tree = schema.TOOL_USES.c, schema.MESSAGES.c, schema.WORKTREES.c
_AGENT = sa.func.coalesce(_call.agent_name, _session.agent_name).label("agent")
_ANSWER = (
    sa.select(sa.func.substr(_message.content, 1, _SUMMARY_CHARACTERS))
    .where(_message.id == _call.message_id)
    .scalar_subquery()
)
_FOLDER = (
    sa.select(sa.func.min(_tree.id))
    .where(_tree.path == _session.workdir, _tree.status == "active", _tree.machine == "")
    .correlate(schema.SESSIONS)
    .scalar_subquery()
)
_STORED = among(sa.select(_call.id, _call.session_id), _call.id)
_FACTS = sa.select(
    *[_call[name] for name in ("id", "session_id", "run", "kind", "status", "outcome", "detail", "error", "model")],
    *[_call[name] for name in ("started_at", "ended_at", "message_id", "prompt_hash", *_COUNTED, "cost")],
    *[_session[name] for name in ("plugin", "parent_id", "prompt", "workdir")],
    _AGENT,
    sa.exists().where(_use.message_id == _call.message_id).label("asks"),
    # Of runs alone. A call is stored behind its message and the folder of its session.
    sa.case((_call.run.is_not(None), _ANSWER)).label("said"),
    sa.case((_call.run.is_not(None), _FOLDER)).label("worktree"),
).join_from(schema.CALLS, schema.SESSIONS, _session.id == _call.session_id, isouter=True)
_FACTS = among(_FACTS, _call.id)


class Accounts:
    """Of one transaction: `begin` before the calls of its batch are stored, `settle` behind."""

    def __init__(self, connection: sa.Connection, insert: Callable[[sa.Table], Any], batch: Batch) -> None:
        self._connection = connection
        self._insert = insert
        self._batch = batch
        self._before: dict[str, str | None] = {}  # the sessions of those calls of the batch that are stored
        self._tasks: dict[Key, dict[str, Any]] = {}  # the runs of the batch

    def begin(self) -> None:
        """Look at what is there, and make the rows of runs that are not."""
        ids = list(dict.fromkeys(call.id for call in self._batch.calls))
        for row in self._all(_STORED, ids):
            self._before[row["id"]] = row["session_id"]
        begun: dict[str, Any] = {}
        told = [(call.run, call.started_at) for call in self._batch.calls]
        for run, at in [*told, *[(row.run, row.created_at) for row in self._batch.sessions]]:
            if run is not None:
                begun[run] = min(begun.get(run, at), at)
        if not begun:
            return
        keys: list[Key] = [(task_id(run),) for run in begun]
        self._tasks = self._known(schema.TASKS, keys)
        empty = {"state": "pending", "is_launched": False, "cost_tokens": 0, **dict.fromkeys(_SUMS, 0)}
        rows = [
            {"id": key[0], "run": run, "created_at": at, "updated_at": at, **empty}
            for key, (run, at) in zip(keys, begun.items(), strict=True)
            if key not in self._tasks
        ]
        if rows:
            self._connection.execute(self._insert(schema.TASKS).on_conflict_do_nothing(), rows)
            self._tasks = self._known(schema.TASKS, keys)

    def settle(self) -> None:
        """Add what is new."""
        ids = [id for id in dict.fromkeys(call.id for call in self._batch.calls) if self._before.get(id) is None]
        facts = sorted(self._all(_FACTS, ids), key=lambda call: (call["ended_at"], call["id"]))
        of_agents: defaultdict[Key, list[Facts]] = defaultdict(list)
        of_tasks: defaultdict[Key, list[Facts]] = defaultdict(list)
        for call in facts:
            for account, key in _accounts_of(call):
                if account is schema.AGENT_SESSIONS:
                    of_agents[key].append(call)
                elif call["id"] not in self._before:  # else it counts there since it was stored
                    of_tasks[key].append(call)
        if of_agents:
            self._settle_agents(of_agents)
        if of_tasks:
            self._settle_tasks(of_tasks)

    def _settle_agents(self, found: Mapping[Key, list[Facts]]) -> None:
        known = self._known(schema.AGENT_SESSIONS, found)
        new: list[dict[str, Any]] = []
        old: list[dict[str, Any]] = []
        for key, calls in found.items():
            before = known.get(key, {"status": "idle"})
            row = {**_added(before, calls), **dict(zip(("session_id", "agent"), key, strict=True))}
            row |= {name: before.get(name) for name in ("config_hash", "closed_at", "turn_at", "turn_call_id")}
            row["backend"] = calls[-1]["plugin"] or before.get("backend")
            row["status"] = before["status"]
            turns = [call for call in _turns(calls) if _is_newer(call, before)]
            if turns:
                row |= {"turn_at": turns[-1]["ended_at"], "turn_call_id": turns[-1]["id"], "closed_at": None}
                row["status"] = _STATUSES[_judge(turns[-1])]
            for call in turns:
                if call["message_id"] and call["prompt_hash"] and not _failed(call):
                    row["config_hash"] = config_hash(call["model"], call["prompt_hash"])
            (old if key in known else new).append(row)
        self._store(schema.AGENT_SESSIONS, new, old)

    def _settle_tasks(self, found: Mapping[Key, list[Facts]]) -> None:
        rows = []
        for key, calls in found.items():
            before = self._tasks[key]
            row = {**before, **_added(before, calls)}
            row["cost_tokens"] = _bounded(sum(row[name] for name in _USED))
            if row["is_launched"]:
                row["updated_at"] = max(before["updated_at"], row["last_call_at"])
            else:
                row |= {"created_at": row["started_at"], "updated_at": row["last_call_at"]}
            for call in _root_turns(calls):
                if row["session_id"] is None:
                    row |= {"session_id": call["session_id"], "agent": row["agent"] or call["agent"]}
                if call["session_id"] == row["session_id"]:
                    row["input"] = row["input"] or call["prompt"]
                    row["worktree_id"] = row["worktree_id"] or call["worktree"]
                if _is_newer(call, row):
                    row |= _outcome_of(call, row)
                    row["output_summary"] = call["said"] or row["output_summary"]
            rows.append({name: row[name] for name in ("id", *_TOLD_OF_TASKS)})
        self._store(schema.TASKS, [], rows)

    def reprice(self, costs: Sequence[CallCost]) -> None:
        """Take what other costs of stored calls change in the sums. Call it before the calls are given them."""
        new = {cost.id: cost for cost in costs}
        moved: dict[sa.Table, dict[Key, list[int]]] = {schema.AGENT_SESSIONS: {}, schema.TASKS: {}}
        for call in self._all(_FACTS, list(new)):
            was, now = _money(call, call["cost"]), _money(call, new[call["id"]].cost)
            difference = [after - before for before, after in zip(was, now, strict=True)]
            for account, key in _accounts_of(call):
                so_far = moved[account].setdefault(key, [0, 0, 0])
                moved[account][key] = [a + b for a, b in zip(so_far, difference, strict=True)]
        names = ("cost", "priced_calls", "unpriced_calls")
        for table, changes in moved.items():
            columns = [column.name for column in table.primary_key]
            rows = []
            for key, before in self._known(table, changes).items():
                sums = {name: _bounded(before[name] + more) for name, more in zip(names, changes[key], strict=True)}
                rows.append({**sums, **dict(zip(columns, key, strict=True))})
            self._store(table, [], rows)

    # --- statements

    def _known(self, table: sa.Table, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
        """The rows with these keys."""
        columns = list(table.primary_key)
        wanted = list(keys)
        rows = self._all(_rows_of(table), list({key[0] for key in wanted}))
        found = {tuple(row[column.name] for column in columns): {str(k): v for k, v in row.items()} for row in rows}
        return {key: found[key] for key in wanted if key in found}

    def _all(self, query: sa.Select[Any], ids: list[str]) -> list[sa.RowMapping]:
        rows: list[sa.RowMapping] = []
        for start in range(0, len(ids), _IDS_AT_ONCE):
            found = self._connection.execute(query, {"ids": ids[start : start + _IDS_AT_ONCE]})
            rows += found.mappings()
        return rows

    def _store(self, table: sa.Table, new: list[dict[str, Any]], old: list[dict[str, Any]]) -> None:
        if new:
            self._connection.execute(sa.insert(table), new)
        if old:
            names = tuple(name for name in old[0] if name not in table.primary_key)
            rows = [{f"new_{name}": row[name] for name in row} for row in old]
            self._connection.execute(_update(table, names), rows)


@cache
def _rows_of(table: sa.Table) -> sa.Select[Any]:
    return among(sa.select(table), next(iter(table.primary_key)))


@cache
def _update(table: sa.Table, names: tuple[str, ...]) -> sa.Update:
    """Making the statement anew each time would cost as much as running it."""
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    if table is schema.TASKS and "state" in values:
        values |= _of_launched(values)
    same = [column == sa.bindparam(f"new_{column.name}") for column in table.primary_key]
    return sa.update(table).where(*same).values(values)


def _of_launched(values: Mapping[str, Any]) -> dict[str, Any]:
    """How a run that a program lives with began and ended is the program's to say, at any moment."""
    is_over = _task.is_launched & (_task.state != "running") & (_task.state != "blocked")
    kept = {name: sa.case((is_over, _task[name]), else_=values[name]) for name in ("state", "reason")}
    kept["ended_at"] = sa.case((_task.is_launched, _task.ended_at), else_=values["ended_at"])
    return kept


def _accounts_of(call: Facts) -> list[tuple[sa.Table, Key]]:
    """Where a call counts."""
    found: list[tuple[sa.Table, Key]] = []
    if call["session_id"] is not None:
        key: Key = (call["session_id"], shorten(call["agent"]))
        found.append((schema.AGENT_SESSIONS, key))
    if call["run"] is not None:
        key = (task_id(call["run"]),)
        found.append((schema.TASKS, key))
    return found


_Judgement = Literal["works", "said", "blocked", "failed"]
_STATUSES: dict[_Judgement, str] = {"works": "active", "said": "idle", "blocked": "crashed", "failed": "crashed"}
_STATES: dict[_Judgement, str] = {"works": "running", "said": "completed", "blocked": "blocked", "failed": "failed"}


def _judge(call: Facts) -> _Judgement:
    """How things stood when this main call had ended."""
    if _failed(call):
        return "blocked" if call["status"] in _BLOCKING else "failed"
    return "works" if call["asks"] else "said"


def _outcome_of(call: Facts, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the newest main call of a run says of it."""
    judgement = _judge(call)
    state = _STATES[judgement]
    if before["is_launched"] and state != "blocked":
        state = "running"
    why = call["error"] or call["detail"] or (f"HTTP {call['status']}" if call["status"] else call["outcome"])
    return {
        "turn_at": call["ended_at"],
        "turn_call_id": call["id"],
        "state": state,
        "reason": why[:_REASON_CHARACTERS] if state in ("blocked", "failed") else None,
        "ended_at": call["ended_at"] if state in ("completed", "failed") else None,
        "model": (before["model"] or call["model"]) if _failed(call) else (call["model"] or before["model"]),
    }


def _failed(call: Facts) -> bool:
    status = call["status"]
    return call["error"] is not None or status is None or status >= 400 or call["outcome"] != Outcome.COMPLETE.value


def _turns(calls: Sequence[Facts]) -> list[Facts]:
    return [call for call in calls if call["kind"] == CallKind.MAIN.value]


def _root_turns(calls: Sequence[Facts]) -> list[Facts]:
    """Main calls of sessions that are no subagents."""
    return [call for call in _turns(calls) if call["session_id"] is not None and call["parent_id"] is None]


def _is_newer(call: Facts, than: Mapping[str, Any]) -> bool:
    at = than.get("turn_at")
    return at is None or (call["ended_at"], call["id"]) > (at, than["turn_call_id"])


def _added(before: Mapping[str, Any], calls: Sequence[Facts]) -> dict[str, Any]:
    """The sums with those of more calls."""
    sums = {name: before.get(name, 0) for name in _SUMS}
    for call in calls:
        sums["calls"] += 1
        if call["kind"] != CallKind.COUNT.value:
            for name in _COUNTED:
                sums[name] += call[name] or 0
        money = zip(("cost", "priced_calls", "unpriced_calls"), _money(call, call["cost"]), strict=True)
        for name, more in money:
            sums[name] += more
    times = {
        "started_at": min(filter(None, (before.get("started_at"), *[call["started_at"] for call in calls]))),
        "last_call_at": max(filter(None, (before.get("last_call_at"), *[call["ended_at"] for call in calls]))),
    }
    return {**{name: _bounded(value) for name, value in sums.items()}, **times}


def _money(call: Facts, cost: int | None) -> tuple[int, int, int]:
    """What a call of that cost adds: nano-dollars, calls with a cost, calls that used tokens and have none."""
    if call["kind"] == CallKind.COUNT.value:
        return 0, 0, 0
    if cost is not None:
        return cost, 1, 0
    return 0, 0, int(call["input_tokens"] is not None or call["output_tokens"] is not None)


def _bounded(value: int) -> int:
    return min(value, _LARGEST)
