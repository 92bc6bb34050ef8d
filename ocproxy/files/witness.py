"""What a session saw of files and did to them, moment by moment: what reads showed, which changes took effect.

It is the ledger of the session, listened to. Where several sessions work on one file, each knows only what it saw
itself; `blame` puts their sightings together in the order of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ocproxy.agents.base import Action, Agent, Answer
from ocproxy.files.derive import FileLedger
from ocproxy.files.diff import resolve
from ocproxy.model import EventType, FileEvent, Part, Status, ToolResult

_CHANGES = {EventType.WRITE, EventType.EDIT, EventType.DELETE, EventType.MOVE}


class Sighting(NamedTuple):
    """One moment of one file."""

    at: datetime
    path: str  # resolved
    lines: dict[int, str]  # known lines after it, from 1; of a read, those that it showed
    total: int | None  # how many lines there are after it, where that is known
    exists: bool | None
    event: FileEvent | None = None  # the change, None for a read; its status is applied or unknown
    destination: str | None = None  # resolved; of a move


class Witness(FileLedger):
    """A ledger that keeps what each read and each change tells of its file."""

    def __init__(self, session_id: str, workdir: str, agent: Agent) -> None:
        super().__init__(session_id, workdir, agent)
        self.sightings: list[Sighting] = []
        self._at: datetime | None = None
        self._is_inheriting = False

    def inherit(self, role: str, parts: Sequence[Part], message_id: str, at: datetime) -> None:
        self._is_inheriting = True  # told where it happened
        super().inherit(role, parts, message_id, at)
        self._is_inheriting = False

    def answered(self, result: ToolResult, at: datetime) -> list[FileEvent]:
        self._at = at
        return super().answered(result, at)

    def take(self, role: str, parts: Sequence[Part], message_id: str, at: datetime) -> list[FileEvent]:
        self._at = at
        return super().take(role, parts, message_id, at)

    def _settle(self, action: Action, event: FileEvent, answer: Answer, at: datetime) -> FileEvent:
        settled = super()._settle(action, event, answer, at)
        took_effect = settled.status in (Status.APPLIED, Status.UNKNOWN) and action.event_type in _CHANGES
        if action.path is not None and took_effect:
            self._note(action.path, at, settled)
        elif action.path is not None and answer.missing and action.event_type is not EventType.SEARCH:
            self._note(action.path, at)
        return settled

    def _read(self, path: str, answer: Answer) -> None:
        super()._read(path, answer)
        if self._at is not None and (answer.lines or answer.whole):
            self._note(path, self._at, shown={number for number, _ in answer.lines or ()})

    def _note(self, path: str, at: datetime, event: FileEvent | None = None, shown: set[int] | None = None) -> None:
        if self._is_inheriting:
            return
        name = resolve(path, self.workdir)
        sheet = self._track(path).disk
        lines = {number: text for number, text in sheet.known() if shown is None or number in shown}
        destination = resolve(event.destination, self.workdir) if event is not None and event.destination else None
        self.sightings.append(Sighting(at, name, lines, sheet.count, sheet.exists, event, destination))
