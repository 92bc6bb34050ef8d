"""What calls tell of folders and of agents' programs, put together with what is known of them.

Both come with nearly every call and change rarely: times are told to the minute. So what is known is remembered, and
only what adds something to it is read, put together and written, in the transaction that stores the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ocproxy.model import Batch
from ocproxy.store import schema
from ocproxy.store.columns import shorten
from ocproxy.store.rows import from_row, to_dict
from ocproxy.work import AvailableAgent, Worktree, clean

_MOST_REMEMBERED = 1_000

_tree, _agent = schema.WORKTREES.c, schema.AVAILABLE_AGENTS.c


class Remembered:
    """Rows that are stored, as they were last seen. Others may have added to them since; nobody takes back."""

    def __init__(self) -> None:
        self.worktrees: dict[str, Worktree] = {}  # by path
        self.agents: dict[str, AvailableAgent] = {}  # by name
        self.prompts: set[str] = set()  # hashes of rows that are stored, while nothing more is removed
        self.removals: int | None = None  # the count of removals then

    def prompts_at(self, removals: int) -> set[str]:
        """Those that are stored if this is the count of removals."""
        return self.prompts if removals == self.removals else set()

    def take(self, other: Remembered) -> None:
        """What a transaction stored. Few enough to keep are the folders of some days."""
        if len(self.worktrees) > _MOST_REMEMBERED:
            self.worktrees.clear()
        if other.removals is not None:
            self.prompts, self.removals = other.prompts, other.removals
        if len(self.prompts) > _MOST_REMEMBERED:
            self.prompts = set()
        self.worktrees |= other.worktrees
        self.agents |= other.agents


class Sightings:
    """Those of one transaction. `stored` is to be remembered once it is committed."""

    def __init__(
        self, connection: sa.Connection, insert: Callable[[sa.Table], Any], batch: Batch, remembered: Remembered
    ) -> None:
        self._connection = connection
        self._insert = insert
        self._batch = batch
        self._remembered = remembered
        self.stored = Remembered()

    def store(self) -> None:
        trees, agents = self._remembered.worktrees, self._remembered.agents
        new_trees = [
            one
            for one in self._batch.worktrees
            if (known := trees.get(shorten(one.path))) is None or _merged_worktree(known, one) != known
        ]
        new_agents = [
            one
            for one in (_cleaned(agent) for agent in self._batch.available_agents)
            if (known_agent := agents.get(one.name)) is None or _merged_agent(known_agent, one) != known_agent
        ]
        if new_trees:
            self._store_worktrees(new_trees)
        if new_agents:
            self._store_agents(new_agents)

    def _store_worktrees(self, seen: Sequence[Worktree]) -> None:
        """One that is archived stays so: whoever makes a folder there again says so with a row of its own."""
        paths = {shorten(one.path) for one in seen}
        query = sa.select(schema.WORKTREES).where(_tree.path.in_(paths), _tree.status == "active", _tree.machine == "")
        known = {row.path: row for row in self._read(query, Worktree)}
        new: dict[str, Worktree] = {}
        for one in seen:
            path = shorten(one.path)
            new[path] = _merged_worktree(new.get(path) or known.get(path), one)
        made = [to_dict(row) for path, row in new.items() if path not in known]
        if made:
            self._connection.execute(self._insert(schema.WORKTREES).on_conflict_do_nothing(), made)
        names = ("branch", "base_commit", "created_at", "last_seen_at")
        changed = [row for path, row in new.items() if path in known and row != known[path]]
        self._update(schema.WORKTREES, ("id",), names, changed)
        self.stored.worktrees = {path: row for path, row in new.items() if path in known}

    def _store_agents(self, seen: Sequence[AvailableAgent]) -> None:
        names = {one.name for one in seen}
        query = sa.select(schema.AVAILABLE_AGENTS).where(_agent.name.in_(names), _agent.machine == "")
        known = {row.name: row for row in self._read(query, AvailableAgent)}
        new: dict[str, AvailableAgent] = {}
        for one in seen:
            new[one.name] = _merged_agent(new.get(one.name) or known.get(one.name), one)
        made = [to_dict(row) for name, row in new.items() if name not in known]
        if made:
            self._connection.execute(self._insert(schema.AVAILABLE_AGENTS).on_conflict_do_nothing(), made)
        told = ("label", "version", "transport", "models", "first_seen_at", "last_seen_at")
        changed = [row for name, row in new.items() if name in known and row != known[name]]
        self._update(schema.AVAILABLE_AGENTS, ("name", "machine"), told, changed)
        self.stored.agents = {name: row for name, row in new.items() if name in known}

    def _read(self, query: sa.Select[Any], kind: type[Any]) -> list[Any]:
        return [from_row(row, kind) for row in (self._connection.execute(query)).mappings()]

    def _update(
        self, table: sa.Table, keys: Sequence[str], names: Sequence[str], rows: Sequence[msgspec.Struct]
    ) -> None:
        if rows:
            same = [table.c[name] == sa.bindparam(f"new_{name}") for name in keys]
            values = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
            given = [{f"new_{name}": getattr(row, name) for name in (*keys, *names)} for row in rows]
            self._connection.execute(sa.update(table).where(*same).values(values), given)


def _cleaned(agent: AvailableAgent) -> AvailableAgent:
    return msgspec.structs.replace(agent, models=[clean(model) for model in agent.models])


def _merged_worktree(before: Worktree | None, now: Worktree) -> Worktree:
    """The branch is the one told last, the commit the one told first: that of a checkout when work in it began."""
    if before is None:
        return now
    older, newer = (before, now) if now.last_seen_at >= before.last_seen_at else (now, before)
    return msgspec.structs.replace(
        before,
        branch=newer.branch or older.branch,
        base_commit=older.base_commit or newer.base_commit,
        created_at=min(before.created_at, now.created_at),
        last_seen_at=newer.last_seen_at,
    )


def _merged_agent(before: AvailableAgent | None, now: AvailableAgent) -> AvailableAgent:
    """What was told last of it counts, and all models that were ever asked for."""
    if before is None:
        return now
    if before.last_seen_at is None or before.first_seen_at is None:  # found by looking, never heard of
        return msgspec.structs.replace(
            before,
            label=before.label or now.label,
            version=before.version or now.version,
            transport=now.transport,
            models=sorted({*before.models, *now.models}),
            first_seen_at=now.first_seen_at,
            last_seen_at=now.last_seen_at,
        )
    assert now.last_seen_at is not None and now.first_seen_at is not None
    older, newer = (before, now) if now.last_seen_at >= before.last_seen_at else (now, before)
    return msgspec.structs.replace(
        before,
        label=newer.label or older.label,
        version=newer.version or older.version,
        transport=newer.transport or older.transport,
        models=sorted({*before.models, *now.models}),
        first_seen_at=min(before.first_seen_at, now.first_seen_at),
        last_seen_at=newer.last_seen_at,
    )
