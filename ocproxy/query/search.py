"""What agents and people said, which commands ran and which files were touched, found by words."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ocproxy.errors import ConfigError
from ocproxy.model import EventType, SessionRow
from ocproxy.query import JsonObject, find_session
from ocproxy.query.history import events_of
from ocproxy.query.paths import FilePattern
from ocproxy.store.base import Hit, Scope, Store
from ocproxy.store.terms import Term, parse

# Characters of a snippet, and of them how many stand before the first word that was found.
_SNIPPET, _BEFORE = 240, 50
_PLACES = 500  # in one text that are looked at for the best snippet
_SESSIONS_IN_SCOPE = 400  # more are told apart row by row, not by the database
DEFAULT_LIMIT = 20


class Wanted(NamedTuple):
    """What is searched for, and where."""

    text: str
    session: str | None = None  # an id or the beginning of one
    agent: str | None = None  # as `ocproxy sessions` names it, or its plug-in
    since: datetime | None = None
    path: str | None = None  # see `FilePattern`
    limit: int = DEFAULT_LIMIT


async def search(store: Store, wanted: Wanted) -> JsonObject:
    """The newest messages, commands and paths that hold all terms: {terms, hits, more, indexed}.

    A hit: {kind: message|command|path, session_id, message_id, agent_name, title, workdir, created_at, snippet, marks,
    role, event_type, status, tool_name, file_path, destination, command}; `marks` are the places of the terms in the
    snippet, as [first, behind the last]. What a session did several times, the same command or a file's name, is told
    once, the newest time. With `path` these are hits of sessions that touched such a file, and of its paths only those.
    `more`: whether older hits exist; `indexed`: whether the database has an index, else it read everything.

    Raises ConfigError when there is nothing to search for, NotFound and Ambiguous for the session.
    """
    terms = parse(wanted.text)
    if not terms:
        raise ConfigError("there is nothing to search for", hint="give a word or more")
    files = await _Files.find(store, wanted.path) if wanted.path else None
    ids = [(await find_session(store, wanted.session)).row.id] if wanted.session else None
    if files is not None and ids is None and len(files.sessions) <= _SESSIONS_IN_SCOPE:
        ids = sorted(files.sessions)
    found: list[Hit] = []
    hits = _distinct(store.search(terms, Scope(ids, wanted.agent, wanted.since)))
    async for hit in hits:
        if files is None or files.holds(hit):
            found.append(hit)
        if len(found) > wanted.limit:
            break
    await hits.aclose()
    sessions = await store.rows_of("session", list({hit.session_id for hit in found}))
    return {
        "terms": [" ".join(term.pieces) for term in terms],
        "hits": [_told(hit, terms, sessions.get(hit.session_id)) for hit in found[: wanted.limit]],
        "more": len(found) > wanted.limit,
        "indexed": await store.search_is_indexed(),
    }


class _Files(NamedTuple):
    """Files of a pattern, and the sessions that touched them."""

    sessions: set[str]
    paths: set[tuple[str, str]]  # (session, path as its events have it)

    @classmethod
    async def find(cls, store: Store, path: str) -> _Files:
        events = await events_of(store, FilePattern(path))
        paths = {(event.session_id, name) for event, fitting, _ in events for name in fitting}
        return cls({session for session, _ in paths}, paths)

    def holds(self, hit: Hit) -> bool:
        if hit.session_id not in self.sessions:
            return False
        named = [name for name in (hit.file_path, hit.destination) if name]
        return not named or any((hit.session_id, name) in self.paths for name in named)


async def _distinct(hits: AsyncIterator[Hit]) -> AsyncGenerator[Hit, None]:
    seen: set[tuple[str | None, ...]] = set()
    async for hit in hits:
        if hit.what != "message":
            same = (hit.session_id, _kind(hit), hit.command, hit.file_path, hit.destination)
            if same in seen:
                continue
            seen.add(same)
        yield hit


def _kind(hit: Hit) -> str:
    if hit.what == "message":
        return "message"
    return "command" if hit.event_type == EventType.BASH.value else "path"


def _told(hit: Hit, terms: Sequence[Term], session: SessionRow | None) -> JsonObject:
    snippet, marks = excerpt(hit.text, terms)
    known: dict[str, Any] = {name: getattr(session, name, None) for name in ("agent_name", "title", "workdir")}
    fields = hit._asdict()
    names = ("role", "event_type", "status", "tool_name", "file_path", "destination", "command")
    return {
        "kind": _kind(hit),
        "session_id": hit.session_id,
        "message_id": hit.message_id,
        **known,
        "created_at": hit.created_at.isoformat(),
        "snippet": snippet,
        "marks": marks,
        **{name: fields[name] for name in names},
    }


def excerpt(text: str, terms: Sequence[Term]) -> tuple[str, list[list[int]]]:
    """The stretch of the text that shows most of the terms, the first of these; and where they are in it."""
    places = sorted(
        (start, end, number)
        for number, term in enumerate(terms)
        for (start, end), _ in zip(term.places(text), range(_PLACES), strict=False)
    )
    best, most = 0, 0
    for at, (start, _, _) in enumerate(places):
        shown = {number for begin, end, number in places[at : at + _SNIPPET] if end <= start + _SNIPPET - _BEFORE}
        if len(shown) > most:
            best, most = start, len(shown)
        if most == len(terms):
            break
    first = max(0, best - _BEFORE) if len(text) > _SNIPPET else 0
    last = min(len(text), first + _SNIPPET)
    head, tail = "…" * (first > 0), "…" * (last < len(text))
    shift = len(head) - first
    marks = _merged([(max(start, first), min(end, last)) for start, end, _ in places if start < last and end > first])
    return f"{head}{text[first:last]}{tail}", [[start + shift, end + shift] for start, end in marks]


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that overlap or touch as one."""
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
