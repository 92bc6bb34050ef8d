"""Compactions of agents that name no session: whose a summary is, and which session goes on from it.

A request for a summary holds the conversation as messages, which its history links, or flattened to one text, which is
compared with what the sessions said that begin alike. A request that begins with the answer continues the session that
was given it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import msgspec

from ocproxy.agents.base import Flattened
from ocproxy.ingest.interpret import Interpretation
from ocproxy.ingest.rows import moment
from ocproxy.ingest.uncommitted import Uncommitted
from ocproxy.model import CallRow, Message, MessageRow, Text
from ocproxy.sessions.chain import histories, message_key
from ocproxy.sessions.summaries import summary_keys, tells
from ocproxy.store.base import Store

# In how many messages of the conversation's beginning, and in how many of their texts, a summary is looked for.
_MESSAGES_READ, _TEXTS_READ, _KEYS_ASKED = 3, 20, 2_000
# How many sessions with the same beginning are compared with a flattened conversation.
_COMPARED = 10

Fitting = Callable[[set[str], Interpretation], Awaitable[set[str]]]


class Summaries:
    """Looks from requests to earlier calls. `fitting`: which of some sessions a call may belong to."""

    def __init__(self, store: Store, uncommitted: Uncommitted, fitting: Fitting) -> None:
        self._store = store
        self._uncommitted = uncommitted
        self._fitting = fitting

    async def told_in(self, item: Interpretation) -> list[CallRow]:
        """The calls whose answers, summaries, the request begins with, oldest first. They may have no session."""
        messages = item.facts.request.messages if item.facts.request else ()
        said = islice((message for message in messages if item.agent.key(message) is not None), _MESSAGES_READ)
        asked = [message for message in said if message.role != "assistant"]
        texts = [part.text for message in asked for part in message.parts if isinstance(part, Text)]
        keys = [key for text in texts[:_TEXTS_READ] for key in summary_keys(item.agent.spoken(text))]
        return await self._calls(keys[:_KEYS_ASKED], item)

    async def session_of(self, item: Interpretation, about: Sequence[MessageRow]) -> str | None:
        """The session that a call asks a summary of, when it holds the conversation as text, and no other session said
        the same. `about` are messages that are not stored yet."""
        flat = item.agent.flattened(item.facts)
        if flat is None:
            return None
        found = []
        for id in await self._candidates(flat, item):
            rows = [*await self._store.messages(id), *(row for row in about if row.session_id == id)]
            if tells(flat.texts, [text for row in rows for text in _said(row)]):
                found.append(id)
        return found[0] if len(found) == 1 else None

    async def _candidates(self, flat: Flattened, item: Interpretation) -> list[str]:
        """Sessions that were given the summary that the text goes on from, or else begin with its first words."""
        if flat.before is not None:
            calls = await self._calls(summary_keys(flat.before), item)
            ids = {call.session_id for call in calls if call.session_id}
        elif flat.texts:
            key = message_key(item.agent, Message("user", (Text(flat.texts[0]),)))
            (begun,) = histories([key or ""])
            found = await self._store.matches_of_histories([begun])
            ids = {match.session_id for match in [*found, *self._uncommitted.histories.get(begun, [])]}
        else:
            ids = set()
        return sorted(await self._fitting(ids, item))[:_COMPARED]

    async def _calls(self, keys: Sequence[str], item: Interpretation) -> list[CallRow]:
        """Those that had ended when this call came: what is said later is no evidence, though a replay knows it."""
        agent, run = item.identity.agent, item.exchange.opened.run
        found = {call.id: call for call in await self._store.calls_of_summaries(keys, agent, run)} if keys else {}
        for call in (call for key in keys for call in self._uncommitted.summaries.get(key, ())):
            if (call.agent_name, call.run) == (agent, run) and (call.session_id or call.id not in found):
                found[call.id] = call
        at = moment(item.exchange.opened_ns)
        return sorted(
            (call for call in found.values() if call.ended_at <= at), key=lambda call: (call.started_at, call.id)
        )


def given_to(calls: Sequence[CallRow]) -> set[str]:
    """The sessions that alone were given one of the summaries. A call without a session may be anybody's."""
    owners = _by_key(calls).values()
    return {id for group in owners if len({call.session_id for call in group}) == 1 and (id := group[0].session_id)}


def claimed(calls: Sequence[CallRow], session_id: str) -> list[CallRow]:
    """Those without a session, as calls of the one that goes on from them; not where two were answered alike."""
    alone = [group[0] for group in _by_key(calls).values() if len(group) == 1]
    return [msgspec.structs.replace(call, session_id=session_id) for call in alone if call.session_id is None]


def _by_key(calls: Sequence[CallRow]) -> dict[str, list[CallRow]]:
    found: dict[str, list[CallRow]] = {}
    for call in calls:
        found.setdefault(call.summary_key or "", []).append(call)
    return found


def _said(row: MessageRow) -> list[str]:
    """The text of a stored message, and that of each result in it."""
    text = "".join(part["text"] for part in row.parts if part["type"] == "text")
    return [text, *(part["text"] for part in row.parts if part["type"] == "tool_result")]
