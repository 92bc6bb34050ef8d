"""Which sessions go together.

A subagent goes with the session that started it: it was given that session's words, and what it did is that session's
work. A fork goes with the session that it was made from, because it counts what was done before as that one's; without
it, a rebuild would count that as its own. A twin merely begins with the same messages and the same answer: it is told,
not taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ocproxy.model import SessionRow
from ocproxy.store.base import Store
from ocproxy.store.removal import Tie


class Family(NamedTuple):
    """What goes with one session, and what stays although it says some of the same. Ids of sessions, sorted."""

    sessions: list[str]  # all that go, the one that was asked for included
    subagents: list[str]
    forks: list[str]
    twins: list[str]
    staying: list[str]  # forks and twins that stay
    origins: list[str]  # sessions that one of them is a subagent, a fork or a twin of, which stay
    strays: list[str]  # calls of no session that are about one of them


async def descend(store: Store, session_id: str, *, forks: bool = True, twins: bool = False) -> Family:
    """The family of a session, downwards: what came of it. Nothing of it is changed."""
    taken: dict[str, str] = {session_id: "session"}
    kinds = {"subagent", *(["fork"] if forks else []), *(["twin"] if twins else [])}
    ties: set[Tie] = set()
    waiting = [session_id]
    while waiting:
        found = await store.ties(waiting)
        ties.update(found)
        new = {tie.session_id: tie.kind for tie in sorted(found) if tie.of in taken and tie.kind in kinds}
        waiting = [id for id in new if id not in taken]
        taken |= {id: new[id] for id in waiting}
    rows: dict[str, SessionRow] = await store.rows_of("session", sorted(taken))
    by_kind = {one: sorted(id for id, kind in taken.items() if kind == one) for one in ("subagent", "fork", "twin")}
    return Family(
        sorted(taken),
        by_kind["subagent"],
        by_kind["fork"],
        by_kind["twin"],
        staying=sorted({tie.session_id for tie in ties if tie.of in taken and tie.session_id not in taken}),
        origins=sorted({tie.of for tie in ties if tie.session_id in taken and tie.of not in taken}),
        strays=await _strays_of(store, rows.values()),
    )


async def _strays_of(store: Store, rows: Iterable[SessionRow]) -> list[str]:
    found = set()
    for row in rows:
        if row.prompt:
            found |= {call.id for call in await store.calls_about(row.prompt, row.agent_name, row.run)}
    return sorted(found)


async def group(store: Store, ids: Sequence[str]) -> list[list[str]]:
    """The families of these sessions, upwards and downwards, each whole and told once. Parents that are not stored
    count for nothing."""
    ties: set[Tie] = set()
    seen: set[str] = set()
    waiting = sorted(set(ids))
    while waiting:
        seen.update(waiting)
        found = {tie for tie in await store.ties(waiting) if tie.kind != "twin"}
        ties |= found
        waiting = sorted({id for tie in found for id in (tie.of, tie.session_id)} - seen)
    heads = {id: id for id in seen}

    def head(id: str) -> str:
        while heads[id] != id:
            heads[id] = id = heads[heads[id]]
        return id

    for tie in sorted(ties):
        heads[head(tie.session_id)] = head(tie.of)
    rows = await store.rows_of("session", sorted(seen))
    families: dict[str, list[str]] = {}
    for id in sorted(rows):
        families.setdefault(head(id), []).append(id)
    return list(families.values())
