"""Side calls that name no session, and the session that they are about: the one that began with the prompt they carry.

Codex asks for a title in a thread of its own, often before the first answer of the session has come. Either of the two
may be recorded first, so each looks for the other, in what is stored and in what is about to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from ocproxy.ingest.interpret import Interpretation
from ocproxy.ingest.rows import moment, subject
from ocproxy.model import CallRow, SessionRow
from ocproxy.store.base import Store

# Both begin within a second. Later the same prompt is another session's.
_APART = timedelta(minutes=10)


class Strays:
    """Looks from calls to sessions and back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[CallRow] = []  # not yet committed, without a session

    def committed(self) -> None:
        """The batch is in the store."""
        self._waiting.clear()

    def note(self, calls: Iterable[CallRow]) -> None:
        """Remember those of the same batch that wait for their session."""
        self._waiting += [call for call in calls if call.about and call.session_id is None]

    async def session_of(self, item: Interpretation, held: Iterable[SessionRow]) -> str | None:
        """The id of the session that the call is about; `held` are rows that may be ahead of the store."""
        prompt = subject(item)
        if prompt is None:
            return None
        at, run = moment(item.exchange.opened_ns), item.exchange.opened.run
        rows = {row.id: row for row in await self._store.begun_with(prompt, item.identity.agent, run)}
        rows |= {
            row.id: row for row in held if (row.prompt, row.agent_name, row.run) == (prompt, item.identity.agent, run)
        }
        near = [row for row in rows.values() if abs(row.created_at - at) < _APART]
        untitled = [row for row in near if not row.title]
        return max(untitled or near, key=lambda row: (row.created_at, row.id)).id if near else None

    async def claim(self, row: SessionRow) -> tuple[SessionRow, list[CallRow]]:
        """For a session that has just begun: the row with its title, and the calls about it, which are now its own."""
        if row.prompt is None:
            return row, []
        found = {call.id: call for call in await self._store.calls_about(row.prompt, row.agent_name, row.run)}
        same = (row.prompt, row.agent_name, row.run)
        found |= {call.id: call for call in self._waiting if (call.about, call.agent_name, call.run) == same}
        near = [call for call in found.values() if abs(row.created_at - call.started_at) < _APART]
        title = row.title or next((call.title for call in near if call.title), None)
        self._waiting = [call for call in self._waiting if call not in near]
        calls = [msgspec.structs.replace(call, session_id=row.id) for call in near]
        return msgspec.structs.replace(row, title=title), calls
