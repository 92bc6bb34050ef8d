"""What happened to files, across sessions."""

from __future__ import annotations

from ocproxy.files.diff import resolve
from ocproxy.model import FileEvent, SessionRow
from ocproxy.query import JsonObject, as_json, find_session
from ocproxy.query.paths import FilePattern
from ocproxy.store.base import Store


async def events_of(store: Store, pattern: FilePattern) -> list[tuple[FileEvent, list[str], SessionRow]]:
    """Events of the files that are meant, in the order of the calls: with those of their paths, and their session."""
    ids = await store.events_of_files(pattern.part)
    rows: dict[str, FileEvent] = await store.rows_of("file_event", ids)
    sessions: dict[str, SessionRow] = await store.rows_of("session", list({row.session_id for row in rows.values()}))
    found = []
    for row in (rows[id] for id in ids if id in rows):
        session = sessions[row.session_id]
        fitting = [
            name for name in (row.file_path, row.destination) if name and pattern.fits(resolve(name, session.workdir))
        ]
        if fitting:
            found.append((row, fitting, session))
    return found


async def files_of(store: Store, path: str, session_id: str | None = None) -> list[JsonObject]:
    """The events of the files that `path` means (see `FilePattern`), of one session or of all, in the order of the
    calls: rows as `query.files` gives them, and {resolved, agent_name, workdir, added, removed}. `resolved` is the path
    from its session's folder; `added` and `removed` count the lines of the diff, None where there is none.
    """
    id = (await find_session(store, session_id)).row.id if session_id is not None else None
    return [
        _told(row, session)
        for row, _, session in await events_of(store, FilePattern(path))
        if id is None or row.session_id == id
    ]


def _told(row: FileEvent, session: SessionRow) -> JsonObject:
    added, removed = _counted(row.diff)
    resolved = resolve(row.file_path or row.destination or "", session.workdir)
    more = {"resolved": resolved, "agent_name": session.agent_name, "workdir": session.workdir}
    return {**as_json(row), **more, "added": added, "removed": removed}


def _counted(diff: str | None) -> tuple[int | None, int | None]:
    if diff is None:
        return None, None
    lines = [line[:1] for line in diff[diff.find("\n@@") :].split("\n")] if "\n@@" in diff else []
    return lines.count("+"), lines.count("-")
