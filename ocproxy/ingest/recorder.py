"""Interpreted exchanges to rows: finds each call's session, adds what is new in it, and the call itself."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from ocproxy.agents.catalog import agent_named
from ocproxy.exchange import Outcome
from ocproxy.ingest.conversation import Conversation, is_conversation
from ocproxy.ingest.evidence import evidence_of, first_words, prompt_keys
from ocproxy.ingest.forks import count_known, with_marks
from ocproxy.ingest.interpret import Interpretation
from ocproxy.ingest.rows import call_row, moment, prompt_row
from ocproxy.ingest.strays import Strays
from ocproxy.ingest.summaries import Summaries, claimed, given_to
from ocproxy.ingest.surroundings import note_surroundings
from ocproxy.ingest.uncommitted import Uncommitted
from ocproxy.model import (
    Batch,
    CallKind,
    CallRow,
    ModelRequest,
    Problem,
    SessionRow,
)
from ocproxy.sessions.call_ids import drawn_ids
from ocproxy.sessions.linker import (
    Evidence,
    How,
    Known,
    Link,
    link_by_evidence,
    link_conversation,
    link_identified,
    link_to_delegator,
    link_to_summarised,
)
from ocproxy.store.base import Store

# Sessions held in memory. An evicted one is folded again from the database when its next call comes.
_SESSIONS_HELD = 128
# And what they take together. A long day of one agent is some megabytes; what is larger is folded more often.
_BYTES_HELD = 128 * 1024 * 1024

# Tries of a first turn, at most: an agent gives up sooner.
_TRIES_SEEN = 50


class Recorder:
    """Turns interpretations into rows of a Batch. What it holds of sessions is ahead of the store by that batch."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: OrderedDict[str, Conversation] = OrderedDict()
        self._ahead: set[str] = set()  # sessions in memory that are ahead of the store
        self._uncommitted = Uncommitted()
        self._strays = Strays(store)
        self._summaries = Summaries(store, self._uncommitted, self._fitting)

    def committed(self) -> None:
        """The batch is in the store."""
        self._uncommitted.clear()
        self._strays.committed()
        self._ahead.clear()
        self._evict()

    def forget(self) -> None:
        """Drop all that is held: it may not be what the store has. Nothing is lost, sessions are folded anew."""
        self._held.clear()
        self.committed()

    async def refresh(self) -> None:
        """Forget the sessions that another replica has changed since they were folded. Call it between batches."""
        ends = await self._store.ends(list(self._held)) if self._held else {}
        for id, session in list(self._held.items()):
            if ends.get(id) != (session.row, session.last_seq):
                del self._held[id]

    def drop(self, ids: Iterable[str]) -> None:
        """Forget these sessions, which were removed. Call it between batches."""
        for id in ids:
            self._held.pop(id, None)

    def _evict(self) -> None:
        """Forget the sessions that were used least recently, while they are too many or too large; but the last one."""
        size = sum(session.size for session in self._held.values())
        while len(self._held) > 1 and (len(self._held) > _SESSIONS_HELD or size > _BYTES_HELD):
            oldest = next(iter(self._held))
            if oldest in self._ahead:
                return  # and so are all behind it
            size -= self._held.pop(oldest).size

    async def record(self, item: Interpretation, batch: Batch) -> None:
        """Add the rows of one exchange to `batch`. Raises StoreBusy or StoreError with `batch` as it was; what is held
        may be ahead of it then (see `forget`)."""
        before = await self._answered(item)
        link = await self._link(item, before) or await self._link_aside(item, batch)
        session = parent = None
        if link is not None:
            parent = await self._open(link.parent_id, item) if link.parent_id else None
            session = await self._open(link.session_id, item)
        part = Batch()
        asked = said = None
        if parent is not None:
            self._update(parent, item, None, part, is_parent=True)
        if session is not None and link is not None:
            was = session.row
            self._update(session, item, link, part)
            if was.prompt is None:
                row, strays = await self._strays.claim(session.row)
                session.update(row)
                part.sessions[-1] = row
                part.calls += strays
            if session.is_begun and session.row.workdir != was.workdir:
                about = [row for row in batch.messages if row.session_id == link.session_id]
                session.refold([*await self._store.messages(link.session_id), *about])
            if before is not None and before.session_id != link.session_id:
                before = None  # the request itself names another session
            if link.how == "identity" and not session.is_begun:
                item = await self._forked(item, link.session_id)
            summaries = await self._begun_anew(session, item) if before is None else []
            part.calls += claimed(summaries, link.session_id)
            asked, said = self._converse(session, item, part, before, is_anew=bool(summaries))
        if before is None and item.facts.request and item.facts.request.continues is not msgspec.UNSET:
            item = _without_past(item)
        prompt = prompt_row(item)
        part.prompts += [prompt] if prompt else []
        part.calls.append(call_row(item, session, prompt, asked, said))
        if session is not None:
            note_surroundings(item, session.row, part.calls[-1], part)
        self._uncommitted.note(part)
        self._strays.note(part.calls)
        for name in Batch.__struct_fields__:
            getattr(batch, name).extend(getattr(part, name))

    def record_bare(self, item: Interpretation, batch: Batch) -> None:
        """Add the call alone, with its problems: what is left when recording it failed."""
        batch.calls.append(call_row(item, None, None))

    # --- which session

    async def _link_aside(self, item: Interpretation, batch: Batch) -> Link | None:
        """The session that a side call which names none is about: by the history that it holds, as messages or as
        text, or by the prompt that it carries."""
        request = item.facts.request
        if request is not None and not is_conversation(item.kind):
            evidence = evidence_of(item, request)
            known = await self._known(evidence, item) if evidence.answered else []
            if (link := link_by_evidence(evidence, known, {}, new_id="")).how == "history":
                return link
        if item.kind is CallKind.SUMMARY:
            about = await self._summaries.session_of(item, batch.messages)
            given = given_to(await self._summaries.told_in(item))
            if about is not None or len(given) == 1:
                return Link(about or given.pop(), "summary")
        found = await self._strays.session_of(item, [held.row for held in self._held.values()])
        return Link(found, "prompt") if found else None

    async def _begun_anew(self, session: Conversation, item: Interpretation) -> list[CallRow]:
        """The calls that were answered with a summary from which the request goes on, in a branch of its own."""
        request = item.facts.request
        is_told = request is None or not is_conversation(item.kind) or not session.is_begun
        if is_told or request is None or session.begins_with(request.messages):
            return []
        calls = await self._summaries.told_in(item)
        return calls if any(call.session_id in (None, session.row.id) for call in calls) else []

    async def _answered(self, item: Interpretation) -> CallRow | None:
        """The call, stored or about to be, whose reply the request continues, or asks for once more."""
        request, reply = item.facts.request, item.facts.reply
        if request and request.conversation and request.continues is msgspec.UNSET and is_conversation(item.kind):
            return await self._newest(_named_link(item))
        id = request.continues if request and is_conversation(item.kind) else msgspec.UNSET
        if request and request.endpoint == "retrieve" and reply and reply.id:
            id = reply.id
        if id is msgspec.UNSET:
            return None
        found = [*await self._store.calls_of_reply(id), *self._uncommitted.replies.get(id, [])]
        fitting = await self._fitting({call.session_id for call in found if call.session_id}, item)
        return next((call for call in found if call.session_id in fitting and call.request_message_id), None)

    async def _newest(self, link: Link | None) -> CallRow | None:
        """The newest call of the session that was answered whole: what the provider keeps ends with its reply."""
        if link is None:
            return None
        known = [
            *await self._store.calls(link.session_id, limit=_TRIES_SEEN),
            *self._uncommitted.calls.get(link.session_id, []),
        ]
        whole = [call for call in known if call.message_id and not call.error and call.outcome == Outcome.COMPLETE]
        return whole[-1] if whole else None

    async def _link(self, item: Interpretation, before: CallRow | None) -> Link | None:
        link = _named_link(item)
        if link is None and before is not None and before.session_id:
            link = Link(before.session_id, "reply")
        request = item.facts.request
        if link is not None or request is None or not is_conversation(item.kind):
            return link
        evidence = evidence_of(item, request)
        known = await self._known(evidence, item)
        users = await self._users(evidence.tool_use_ids, item)
        link = link_by_evidence(evidence, known, users, new_id=item.exchange.call_id)
        if link.how == "new":
            link = link_to_summarised(link, given_to(await self._summaries.told_in(item)))
        if link.how == "new":
            asked = evidence.histories[: max(evidence.first_answer - 1, 0) if evidence.answered else None][-1:]
            begun = [match.session_id for match in known if match.history in asked]
            for session_id in dict.fromkeys(reversed(begun)):
                if (
                    how := await self._begins(session_id, item, request, is_answered=evidence.answered > 0)
                ) is not None:
                    return Link(session_id, how)
        if link.how == "new" and evidence.answered == 0:
            link = link_to_delegator(link, await self._delegators(item, request))
        return link

    async def _begins(
        self, session_id: str, item: Interpretation, request: ModelRequest, *, is_answered: bool
    ) -> How | None:
        """How a request goes on from the first turn of a session, one try of which broke off before this call came:
        with another try, while there is nothing but tries that broke off (else it is a twin with the same prompt), or
        behind answers that it makes one. None: it does not."""
        calls = [*await self._store.calls(session_id, limit=_TRIES_SEEN), *self._uncommitted.calls.get(session_id, [])]
        asked = [call for call in calls if call.kind == CallKind.MAIN]
        tries = [call for call in asked if call.request_message_id == asked[0].request_message_id]
        at = moment(item.exchange.opened_ns)
        broken = [call for call in tries if call.ended_at <= at and (call.error or call.outcome != Outcome.COMPLETE)]
        if not broken:
            return None
        if len(broken) == len(asked) and len(calls) < _TRIES_SEEN:
            is_retry = not is_answered or (await self._open(session_id, item)).is_resumed(request.messages)
            return "retry" if is_retry else None
        return "history" if is_answered and (await self._open(session_id, item)).is_joined(request.messages) else None

    async def _known(self, evidence: Evidence, item: Interpretation) -> list[Known]:
        """The messages, stored or about to be, that this history passes through, oldest first, of sessions that the
        call may continue. What is held knows best of answers."""
        matches = await self._store.matches_of_histories(evidence.histories)
        matches += [match for history in evidence.histories for match in self._uncommitted.histories.get(history, [])]
        fitting = await self._fitting({match.session_id for match in matches}, item)
        known: list[Known] = []
        for match in sorted(matches, key=lambda match: (match.created_at, match.message_id)):
            held = self._held.get(match.session_id)
            answered = match.answered or (held is not None and held.is_answered(match.message_id))
            if match.session_id in fitting:
                known.append(Known(match.history, match.session_id, answered))
        return known

    async def _users(self, ids: Sequence[str], item: Interpretation) -> dict[str, set[str]]:
        """The sessions, stored or about to be, that were handed these call ids and may be continued by this call."""
        found = await self._store.sessions_of_tool_uses(ids, item.identity.agent, item.exchange.opened.run)
        about = {id: self._uncommitted.uses.get(id, set()) for id in ids}
        fitting = await self._fitting(set().union(*about.values()), item)
        return {id: found.get(id, set()) | (about[id] & fitting) for id in ids}

    async def _forked(self, item: Interpretation, session_id: str) -> Interpretation:
        """The first call of a session, in which what another session did is marked."""
        request = item.facts.request
        if request is None or not is_conversation(item.kind):
            return item
        users = await self._users(drawn_ids(request.messages), item)
        foreign = {id for id, sessions in users.items() if sessions - {session_id}}
        evidence = evidence_of(item, request)
        known = {one.history for one in await self._known(evidence, item)} if evidence.answered else set()
        marked = with_marks(request, foreign, count_known(item.agent, request, known))
        facts = msgspec.structs.replace(item.facts, request=marked)
        return msgspec.structs.replace(item, facts=facts)

    async def _delegators(self, item: Interpretation, request: ModelRequest) -> list[str]:
        """The sessions, stored or about to be, one of whose tool uses gave away a prompt that begins this request."""
        keys = prompt_keys(item, request)
        found = await self._store.delegators(keys, item.identity.agent, item.exchange.opened.run)
        about = [session for key in keys for session in self._uncommitted.delegated.get(key, ())]
        fitting = await self._fitting(set(about), item)
        return found + [session for session in about if session in fitting]

    async def _fitting(self, ids: set[str], item: Interpretation) -> set[str]:
        """Those of the sessions that may be continued by this call: of the same agent and the same run."""
        rows: dict[str, SessionRow] = await self._store.rows_of("session", sorted(ids - self._held.keys()))
        rows |= {id: self._held[id].row for id in ids & self._held.keys()}
        return {
            id
            for id, row in rows.items()
            if row.agent_name == item.identity.agent and row.run == item.exchange.opened.run
        }

    async def _open(self, session_id: str, item: Interpretation) -> Conversation:
        """The session, from memory, from the store, or new."""
        self._ahead.add(session_id)
        if session_id in self._held:
            self._held.move_to_end(session_id)
            return self._held[session_id]
        rows: dict[str, SessionRow] = await self._store.rows_of("session", [session_id])
        at = moment(item.exchange.opened_ns)
        row = rows.get(session_id) or SessionRow(
            session_id, session_id, item.identity.agent, "", at, at, plugin=item.agent.name
        )
        # The plug-in that began it: another one would reduce its messages in another way.
        conversation = Conversation(row, agent_named(row.plugin) if row.plugin else item.agent)
        if session_id in rows:
            conversation.restore(await self._store.messages(session_id))
        self._held[session_id] = conversation
        self._evict()
        return conversation

    # --- what the call adds

    def _update(
        self, session: Conversation, item: Interpretation, link: Link | None, part: Batch, *, is_parent: bool = False
    ) -> None:
        """Write what the call says of its session (or of its parent session) into the session's row."""
        identity, old = item.identity, session.row
        own = identity.session if is_parent or identity.agent_id is None else identity.agent_id
        if is_parent and identity.parent_agent_id:
            own = identity.parent_agent_id
        is_main = is_conversation(item.kind) and not is_parent
        title = old.title or identity.title or item.agent.title(item.facts)
        request = item.facts.request
        row = msgspec.structs.replace(
            old,
            opencode_id=own or old.opencode_id,
            workdir=old.workdir or (not is_parent and identity.workdir) or "",  # a subagent may work elsewhere
            created_at=min(old.created_at, moment(item.exchange.opened_ns)),
            updated_at=max(old.updated_at, moment(item.exchange.ended_ns)),
            abi_thread_id=old.abi_thread_id or identity.thread,
            title=old.title if is_parent else title,
            parent_id=old.parent_id or (link.parent_id if link else None),
            parent_certainty=old.parent_certainty or (link.parent_certainty if link else None),
            protocol=(item.protocol if is_main else None) or old.protocol,
            model=(request.model if request and is_main else None) or old.model,
            agent_version=identity.version or old.agent_version,
            run=old.run or item.exchange.opened.run,
            plugin=old.plugin or session.agent.name,
            prompt=old.prompt or (first_words(item) if is_main else None),
        )
        session.update(row)
        part.sessions.append(row)

    def _converse(
        self, session: Conversation, item: Interpretation, part: Batch, before: CallRow | None, *, is_anew: bool
    ) -> tuple[str | None, str | None]:
        """Add the call's messages and events, behind those of the call `before`. Returns the ids of the request's last
        message and of the reply's."""
        request, reply, exchange = item.facts.request, item.facts.reply, item.exchange
        if request is None:
            return None, None
        at = moment(exchange.opened_ns)
        if request.endpoint == "retrieve":  # what was not there yet when it was asked for
            asked = before.request_message_id if before else None
        elif item.kind is CallKind.SUMMARY:
            session.overhear(request.messages, exchange.call_id, at, part)
            return None, None
        elif is_conversation(item.kind):
            after = (before.message_id or before.request_message_id) if before else None
            asked = session.hear(request.messages, exchange.call_id, at, part, after, is_anew=is_anew)
        else:
            return None, None
        if reply is None:
            return asked, None
        return asked, session.say(reply.parts, asked, exchange.call_id, moment(exchange.ended_ns), part)


def _named_link(item: Interpretation) -> Link | None:
    """The session that the call itself names: the agent's, or the one that the provider keeps."""
    link, request = link_identified(item.identity), item.facts.request
    if link is None and request and request.conversation and is_conversation(item.kind):
        return link_conversation(item.identity, item.exchange.opened.run, request.conversation)
    return link


def _without_past(item: Interpretation) -> Interpretation:
    what = "the request continues a reply that was not recorded; the messages before it are not known"
    return msgspec.structs.replace(item, problems=(*item.problems, Problem("unknown_reply", what)))
