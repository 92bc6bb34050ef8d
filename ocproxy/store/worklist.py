"""The queries about the work itself: agents in sessions, runs, changes, worktrees, agents of machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ocproxy.store import schema
from ocproxy.store.lookups import among
from ocproxy.store.rows import Row, from_row
from ocproxy.work import AgentSession, AvailableAgent, ChangeStatus, InboxItem, PendingChange, Task, TaskState, Worktree


class Worklist:
    """The part of `SqlStore` that answers them."""

    async def _all(self, query: sa.Select[Any], **given: Any) -> list[sa.RowMapping]:
        raise NotImplementedError

    async def _by_ids(self, query: sa.Select[Any], ids: Sequence[str], **given: Any) -> list[sa.RowMapping]:
        raise NotImplementedError

    async def agent_sessions(self, session_ids: Sequence[str] | None = None) -> list[AgentSession]:
        own = schema.AGENT_SESSIONS.c
        query = sa.select(schema.AGENT_SESSIONS).order_by(own.session_id, own.agent)
        rows = (
            await self._all(query)
            if session_ids is None
            else await self._by_ids(among(query, own.session_id), session_ids)
        )
        return [from_row(row, AgentSession) for row in rows]

    async def pending_changes(
        self,
        session_id: str | None = None,
        *,
        task_id: str | None = None,
        status: ChangeStatus | None = None,
        limit: int | None = None,
    ) -> list[PendingChange]:
        newest = await self._rows(pending_changes(session_id, task_id, status, limit), PendingChange)
        return newest[::-1]

    async def tasks(self, *, state: TaskState | None = None, limit: int | None = None) -> list[Task]:
        return await self._rows(tasks(state, limit), Task)

    async def inbox(self) -> list[InboxItem]:
        view = schema.HUMAN_INBOX
        return await self._rows(sa.select(view).order_by(view.c.since, view.c.task_id), InboxItem)

    async def worktrees(self) -> list[Worktree]:
        tree = schema.WORKTREES.c
        return await self._rows(sa.select(schema.WORKTREES).order_by(tree.last_seen_at, tree.id), Worktree)

    async def available_agents(self) -> list[AvailableAgent]:
        agent = schema.AVAILABLE_AGENTS.c
        return await self._rows(sa.select(schema.AVAILABLE_AGENTS).order_by(agent.name, agent.machine), AvailableAgent)

    async def _rows(self, query: sa.Select[Any], kind: type[Row]) -> list[Row]:
        return [from_row(row, kind) for row in await self._all(query)]


def pending_changes(
    session_id: str | None, task_id: str | None, status: ChangeStatus | None, limit: int | None
) -> sa.Select[Any]:
    """The query for `Store.pending_changes`, the newest first."""
    change = schema.PENDING_CHANGES.c
    order = [change.created_at.desc(), change.session_id.desc()] if session_id is None else []
    newest = sa.select(schema.PENDING_CHANGES).order_by(*order, change.ordinal.desc()).limit(limit)
    if session_id is not None:
        newest = newest.where(change.session_id == session_id)
    if task_id is not None:
        newest = newest.where(change.task_id == task_id)
    return newest.where(change.status == status) if status is not None else newest


def tasks(state: TaskState | None, limit: int | None) -> sa.Select[Any]:
    """The query for `Store.tasks`."""
    task = schema.TASKS.c
    newest = sa.select(schema.TASKS).order_by(task.created_at.desc(), task.id).limit(limit)
    return newest.where(task.state == state) if state is not None else newest
