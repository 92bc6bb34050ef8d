"""Which session a call belongs to: the most trusted evidence decides, and it is named.

In order: our own tags and the agent's own session id (one id, because a tag overrides it in `Agent.identity`), the id
of a conversation that the provider keeps, the id of a reply that the request says it continues, the continuation of a
known history that includes an answer, tool results whose call ids we handed on to one session only, the retry of a
first request that was never answered, a summary in the place of a history, which one session only was given, and only
then a new session. Never the first message alone: two agents with the same prompt are two sessions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import msgspec

from ocproxy.model import Certainty, Identity, digest

How = Literal["identity", "conversation", "reply", "history", "tool use", "retry", "summary", "prompt", "new"]


class Known(msgspec.Struct, frozen=True):
    """A stored message of a session that the call may continue."""

    history: str
    session_id: str
    answered: bool  # another message follows it


class Evidence(msgspec.Struct, frozen=True):
    """What a call without an identity shows of its past."""

    histories: Sequence[str]  # digest behind each message, oldest first
    first_answer: int  # how many of the messages stand at or before a model's first answer; 0 = a first request
    answered: int  # the same of the last assistant message
    tool_use_ids: Sequence[str]  # of the tool results in the request, newest first


class Link(msgspec.Struct, frozen=True):
    """The decision. `parent_id` is set for a subagent that says whose it is, or whose first prompt tells (inferred)."""

    session_id: str
    how: How
    parent_id: str | None = None
    parent_certainty: Certainty | None = None


def link_identified(identity: Identity) -> Link | None:
    """The session that the call itself names; None when it names none."""
    if identity.session is None:
        return None
    if identity.agent_id is None:
        parent = session_key(identity.agent, identity.parent_session) if identity.parent_session else None
        return Link(session_key(identity.agent, identity.session), "identity", parent, "exact" if parent else None)
    parent = session_key(identity.agent, identity.session, identity.parent_agent_id)
    return Link(session_key(identity.agent, identity.session, identity.agent_id), "identity", parent, "exact")


def link_conversation(identity: Identity, run: str | None, conversation: str) -> Link:
    """The session whose history the provider keeps under the id `conversation`."""
    return Link(digest("conversation", identity.agent, run or "", conversation), "conversation")


def session_key(agent: str, session: str, agent_id: str | None = None) -> str:
    """The id of the session that an agent calls `session` (and, in it, of the subagent `agent_id`)."""
    return digest("session", agent, session, agent_id or "")


def link_by_evidence(
    evidence: Evidence, known: Sequence[Known], by_tool_use: Mapping[str, Collection[str]], new_id: str
) -> Link:
    """Link a call that names no session. `known` (oldest first) and `by_tool_use` are limited to sessions that it may
    belong to.

    Where several sessions have the same history, the one is meant that was handed the call ids: keys leave out ids that
    clients drop. Else it is the newest whose end nobody has continued yet. A call id that several sessions have
    (`call_0`) says nothing.
    """
    by_history: dict[str, list[Known]] = {}
    for message in known:
        by_history.setdefault(message.history, []).append(message)
    with_answer = evidence.histories[max(evidence.first_answer - 1, 0) : evidence.answered]
    for history in reversed(with_answer):
        if found := by_history.get(history):
            meant = _handed(found, evidence.tool_use_ids, by_tool_use)
            waiting = [message for message in meant if not message.answered]
            return Link((waiting or meant)[-1].session_id, "history")
    for id in evidence.tool_use_ids:
        if len(sessions := by_tool_use.get(id, ())) == 1:
            return Link(next(iter(sessions)), "tool use")
    if evidence.answered == 0 and evidence.histories:
        for message in reversed(by_history.get(evidence.histories[-1], [])):
            if not message.answered:
                return Link(message.session_id, "retry")
    return Link(new_id, "new")


def link_to_summarised(link: Link, summarised: Collection[str]) -> Link:
    """A new conversation that begins with the summary which one session was given is that one, in another branch.
    `summarised`: the sessions that were given it; where there are several, it says nothing."""
    return Link(next(iter(summarised)), "summary") if link.how == "new" and len(summarised) == 1 else link


def _handed(
    found: Sequence[Known], tool_use_ids: Sequence[str], by_tool_use: Mapping[str, Collection[str]]
) -> Sequence[Known]:
    """Of messages with the same history those in the session that alone was handed the newest such call id."""
    if len({message.session_id for message in found}) > 1:
        for id in tool_use_ids:
            sessions = by_tool_use.get(id, ())
            handed = [message for message in found if message.session_id in sessions]
            if handed and len(sessions) == 1:
                return handed
    return found


def link_to_delegator(link: Link, delegators: Sequence[str]) -> Link:
    """A new conversation that begins with the very prompt that a tool use of another gave away is that one's subagent.
    `delegators`: sessions with such a tool use, oldest first; the newest is meant."""
    if link.how != "new" or not delegators:
        return link
    return msgspec.structs.replace(link, parent_id=delegators[-1], parent_certainty="inferred")


def delegation_key(prompt: str) -> str:
    """What a prompt given to a subagent is found again by, in the tool use and in the subagent's first message."""
    return digest("delegated", " ".join(prompt.split()))
