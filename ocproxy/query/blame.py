"""Which session, message and agent last wrote each line of a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from ocproxy.errors import Ambiguous, NotFound
from ocproxy.files.blame import Line, Page, compare, pages
from ocproxy.files.diff import resolve
from ocproxy.files.folding import fold
from ocproxy.files.witness import Sighting, Witness
from ocproxy.model import EventType, FileEvent, SessionRow, Status
from ocproxy.query import JsonObject, agent_of
from ocproxy.query.history import events_of
from ocproxy.query.paths import FilePattern
from ocproxy.store.base import Store

_MOVES = 50  # that a file's history is followed back through
_LISTED = 5


class Wanted(NamedTuple):
    """A file, and which of its lines."""

    paths: Sequence[str]  # absolute, or the end of a recorded path; the first of which something is recorded
    first: int | None = None
    last: int | None = None
    content: str | None = None  # as the file is now; None: what the record knows last is told


async def blame(store: Store, wanted: Wanted) -> JsonObject:
    """{path, is_current, lines, notes}. `is_current`: whether the lines are those of the content that was given.

    A line: {number, text, by, certainty, session_id, message_id, event_id, tool_name, agent_name, title, at}. `by` is
    "session" (the rest says which), "before" (it was there when the record first saw this part of the file), "outside"
    (nothing recorded wrote it: a command, a person, another program), "unknown" (the record cannot say), and "unseen"
    with the text None where nobody saw the line. `certainty` is "inferred" where the record only makes it likely.

    Raises NotFound when nothing is recorded of the file, or it is gone, or has no such line; Ambiguous when several
    files are meant.
    """
    path = await _recorded(store, wanted.paths)
    sessions, sightings = await _sightings(store, path)
    page = pages(sightings).get(path, Page())
    if wanted.content is not None:
        compare(page, wanted.content)
    elif page.exists is False:
        raise NotFound(f"{path} is gone: {_removal(page)}", hint=f"ocproxy files --path {path} tells its history")
    lines = page.in_order()
    if not lines and wanted.content is None:
        raise NotFound(
            f"nothing is known of the content of {path}", hint="its events may tell more: ocproxy files --path PATH"
        )
    first, last = wanted.first or 1, wanted.last or wanted.first or len(lines)
    if not first <= last <= len(lines) and lines:
        raise NotFound(f"{path} has no line {last}: {len(lines)} are known", hint="count from 1")
    told = [_told(number, lines[number - 1], sessions) for number in range(first, last + 1)] if lines else []
    is_current = wanted.content is not None
    return {"path": path, "is_current": is_current, "lines": told, "notes": _notes(page, is_current)}


def _notes(page: Page, is_current: bool) -> list[str]:
    notes = page.notes()
    if not is_current and page.count is None:
        notes.append("how many lines the file has is not known")
    return notes


def _removal(page: Page) -> str:
    if page.remover is None:
        return "a session did not find it there any more"
    verb = "moved it" if page.remover.event_type is EventType.MOVE else "deleted it"
    where = f" to {page.remover.destination}" if page.remover.destination else ""
    return f"the session {page.remover.session_id} {verb}{where} ({page.remover.updated_at.isoformat()})"


async def _recorded(store: Store, paths: Sequence[str]) -> str:
    """The file's name as the record has it, by the first of these that says something."""
    found: set[str] = set()
    for path in paths:
        events = await events_of(store, FilePattern(path, is_literal=True))
        found |= {resolve(name, session.workdir) for _, names, session in events for name in names}
        if found:
            break
    if not found:
        raise NotFound(
            f"nothing is recorded of {paths[-1]}",
            hint="ocproxy files --path PATH finds files by the end of a path",
        )
    if len(found) > 1:
        some = ", ".join(sorted(found)[:_LISTED]) + (", …" if len(found) > _LISTED else "")
        raise Ambiguous(f"{paths[-1]} may be one of {len(found)} files: {some}", hint="give more of its path")
    return found.pop()


async def _sightings(store: Store, path: str) -> tuple[dict[str, SessionRow], list[Sighting]]:
    """What all sessions saw and did about the file and those it was moved from, in the order of time."""
    sessions: dict[str, SessionRow] = {}
    stored: list[Sighting] = []
    waiting, known = [path], {path}
    while waiting and len(known) <= _MOVES:
        one = waiting.pop()
        pattern = FilePattern(one, is_literal=True)
        for event, names, session in await events_of(store, pattern):
            sessions[session.id] = session
            source = resolve(event.file_path or "", session.workdir)
            if event.destination in names and event.status is Status.APPLIED and source not in known:
                known.add(source)
                waiting.append(source)
            if not event.tool_use_id and event.event_type is not EventType.READ:  # stored by a program, not told by us
                stored.append(_stored(event, source))
    order: list[tuple[datetime, str, int, Sighting]] = []
    for session in sessions.values():
        told = await _witnessed(store, session)
        order += [
            (one.at, session.id, place, one) for place, one in enumerate(told) if known & {one.path, one.destination}
        ]
    order += [(one.at, "", place, one) for place, one in enumerate(stored)]
    return sessions, [one for *_, one in sorted(order, key=lambda entry: entry[:3])]


def _stored(event: FileEvent, path: str) -> Sighting:
    unknown = msgspec.structs.replace(event, status=Status.UNKNOWN, certainty="inferred")
    return Sighting(event.created_at, path, {}, None, None, unknown)


async def _witnessed(store: Store, session: SessionRow) -> Sequence[Sighting]:
    agent = agent_of(session)
    witness = Witness(session.id, session.workdir, agent)
    return fold(witness, agent, await store.messages(session.id)).sightings


def _told(number: int, line: Line | None, sessions: dict[str, SessionRow]) -> JsonObject:
    event = line.origin.event if line else None
    session = sessions.get(event.session_id) if event else None
    whose: dict[str, Any] = {
        "session_id": event.session_id if event else None,
        "message_id": event.message_id if event else None,
        "event_id": event.id if event else None,
        "tool_name": event.tool_name if event else None,
        "agent_name": session.agent_name if session else None,
        "title": (session.title or session.prompt) if session else None,
        "at": event.updated_at.isoformat() if event else None,
    }
    certainty = None if line is None else "inferred" if line.origin.is_inferred else "exact"
    by = line.origin.by if line else "unseen"
    text = line.text.removesuffix("\n") if line else None
    return {"number": number, "text": text, "by": by, "certainty": certainty, **whose}
