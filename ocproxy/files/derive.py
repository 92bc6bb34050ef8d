"""File events out of tool uses and their results: the state of one session, a pure fold over its messages.

A use gives one event for each thing that it asks for, with the diff that it proposes; its result says what became of it
and settles the diff, since results come in the order in which the changes took place. Status comes from the result
alone: an event without a result stays `requested`. A failed or rejected event keeps the diff that was proposed. A
command that goes on in the background is settled once more when its end is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from ocproxy.agents.base import Action, Agent, Answer, News
from ocproxy.files.commands import removes, writes_to
from ocproxy.files.composite import SessionDiff, compose
from ocproxy.files.diff import resolve
from ocproxy.files.placement import place
from ocproxy.files.proposal import Proposal, guess, propose
from ocproxy.files.shell import Shell
from ocproxy.files.supposed import Supposed
from ocproxy.files.track import Track
from ocproxy.files.worktree import Sheet
from ocproxy.model import EventType, FileEvent, Part, Status, Text, ToolResult, ToolUse, digest

_CHANGES = {EventType.WRITE, EventType.EDIT, EventType.DELETE, EventType.MOVE}
ATTACHED = "attachment"  # in place of a tool's name: the program itself read the file
_ATTACHED = "put into the message by the agent's program, without a tool use"
_ENDING = "whether the file ends in a newline was not seen; it is taken to"
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+", re.M)
_STALE = "the file had been changed by something else; line numbers are guessed"
_ALTERED = "the user changed the proposal before accepting it; what was written is not known"


class FileLedger:
    """What one session did to files. Feed it every tool use and every result, in the order of the messages."""

    def __init__(self, session_id: str, workdir: str, agent: Agent) -> None:
        self.workdir = workdir
        self._session_id = session_id
        self._agent = agent
        self._ordinal = 0
        self._seen: set[str] = set()
        self._open: dict[str, tuple[ToolUse, list[tuple[Action, FileEvent]]]] = {}
        self._tracks: dict[str, Track] = {}
        self._overwritten: list[tuple[str, Track]] = []
        self._inherits = False  # whether all that was taken so far is another session's
        self._assumed: set[str] = set()  # files that reads showed, but not whether they end in a newline
        self._supposed = Supposed()
        self._commands: list[str] = []
        self._running: dict[str, FileEvent] = {}  # commands in the background, by the id that their results gave
        self._shown: list[tuple[str, Answer]] = []  # files that messages showed
        self._written: dict[str, ToolUse] = {}  # uses of the last answer whose results a text may tell
        self._said: list[Part] = []  # by others than the model since then
        self._tail: Sequence[Part] = ()  # the last part of the message before: a file may be named there, shown here
        self._shell = Shell()

    def requested(self, use: ToolUse, message_id: str, at: datetime) -> list[FileEvent]:
        """The events of a tool use: one for each action, none for tools that touch nothing, for uses that broke off
        inside their input, and for a use that was told before.
        """
        if not use.complete or use.id in self._seen:
            return []
        self._seen.add(use.id)
        told: list[tuple[Action, FileEvent]] = []
        before: dict[str, Sheet] = {}
        for index, asked in enumerate(self._agent.actions(use)):
            action = self._shell.located(asked, self.workdir)
            proposal = self._propose(action, before)
            event = msgspec.structs.replace(
                self._event(use, index, message_id, at),
                event_type=action.event_type,
                certainty=proposal.certainty,
                file_path=action.path,
                destination=action.destination,
                diff=proposal.diff,
                command=action.command,
                note=proposal.note or action.doubt,
            )
            told.append((action, event))
        self._open[use.id] = (use, told)
        return [event for _, event in told]

    def answered(self, result: ToolResult, at: datetime) -> list[FileEvent]:
        """The events of the result's tool use, settled, and those of commands whose end the result tells. None for a
        use that is not known or has its result."""
        opened = self._open.pop(result.tool_use_id, None)
        if opened is None:
            return []
        use, told = opened
        answer = self._agent.answer(use, result)
        each = answer.each if len(answer.each) == len(told) else (answer,) * len(told)
        events = [self._settle(action, event, one, at) for (action, event), one in zip(told, each, strict=True)]
        for event, one in zip(events, each, strict=True):
            background = one.background or answer.background
            if background is not None and event.event_type is EventType.BASH:
                self._running[background] = event
        return events + self._hear(self._agent.news(result, use), at)

    def take(self, role: str, parts: Sequence[Part], message_id: str, at: datetime) -> list[FileEvent]:
        """The events of one message: of the uses and results of the agent's own tools in it, in their order, and of
        what texts tell that no model wrote.
        """
        if self._inherits:
            self._begin_here()
        return self._take(role, parts, message_id, at)

    def inherit(self, role: str, parts: Sequence[Part], message_id: str, at: datetime) -> None:
        """Take a message of the session that this one goes on from: it shows what files hold; what was done to them is
        told there, and is no part of this session's diff."""
        self._take(role, parts, message_id, at)
        self._inherits = True

    def _begin_here(self) -> None:
        sheets = {name: track.disk.snapshot() for name, track in self._tracks.items()}
        self._tracks = {name: Track(sheet, sheet) for name, sheet in sheets.items()}
        self._overwritten, self._inherits = [], False
        self._open.clear()
        self._running.clear()

    def _take(self, role: str, parts: Sequence[Part], message_id: str, at: datetime) -> list[FileEvent]:
        events: list[FileEvent] = []
        for part in parts:
            if isinstance(part, ToolUse) and part.executor != "provider":
                events += self.requested(part, message_id, at)
            elif isinstance(part, ToolResult) and part.executor != "provider":
                events += self.answered(part, at)
            elif isinstance(part, Text) and role != "assistant":
                events += self._hear(self._agent.news(part, None), at)
        if role == "assistant":
            events += self._read_uses(parts, message_id, at)
        else:
            events += self._read_results(parts, at)
            events += self._show([*self._tail, *parts], message_id, at)
        self._tail = parts[-1:] if role != "assistant" else ()
        return events

    def session_diff(self) -> SessionDiff:
        """Everything that applied writes, edits, deletions and moves did, one diff for each file. See `composite`."""
        if self._inherits:
            self._begin_here()
        return compose(self._tracks, self._overwritten, self.workdir)

    # --- what is told beside results

    def _hear(self, news: News, at: datetime) -> list[FileEvent]:
        """The events of commands that ended."""
        self._shell.hear(news, self.workdir)
        events: list[FileEvent] = []
        for end in news.ended:
            event = self._running.pop(end.background, None)
            if event is not None:
                told = {"status": end.status, "exit_code": end.exit_code, "note": end.note}
                events.append(msgspec.structs.replace(event, **told, updated_at=at))
        return events

    def _show(self, parts: Sequence[Part], message_id: str, at: datetime) -> list[FileEvent]:
        """The files that a message shows, as read events. A message that is told again shows what was, not what is."""
        events: list[FileEvent] = []
        for number, (path, answer) in enumerate(self._agent.attached(parts)):
            if (path, answer) not in self._shown:
                self._shown.append((path, answer))
                event = self._event(ToolUse(f"{message_id}/{number}", ATTACHED, {}), 0, message_id, at)
                self._read(path, answer)
                told = {"event_type": EventType.READ, "file_path": path, "status": answer.status, "note": _ATTACHED}
                events.append(msgspec.structs.replace(event, **told))
        return events

    def _read_uses(self, parts: Sequence[Part], message_id: str, at: datetime) -> list[FileEvent]:
        """The events of tool uses that an answer's text holds. Its real ones may have their results in texts, too."""
        events: list[FileEvent] = []
        real = [part for part in parts if isinstance(part, ToolUse) and part.executor != "provider"]
        written = [msgspec.structs.replace(use, id=f"{message_id}/{use.id}") for use in self._agent.uses_in(parts)]
        for use in written:
            events += self.requested(use, message_id, at)
        if uses := [*real, *written]:
            self._written = {use.id: use for use in uses}
            self._said.clear()
        return events

    def _read_results(self, parts: Sequence[Part], at: datetime) -> list[FileEvent]:
        """The events of such uses, settled."""
        events: list[FileEvent] = []
        if self._written:
            self._said += parts
            for result in self._agent.results_in(self._said, tuple(self._written.values())):
                if self._written.pop(result.tool_use_id, None) is not None:
                    events += self.answered(result, at)
        return events

    def _event(self, use: ToolUse, index: int, message_id: str, at: datetime) -> FileEvent:
        """The next event, to be filled in."""
        event = FileEvent(
            id=digest(self._session_id, use.id, str(index)),
            session_id=self._session_id,
            message_id=message_id,
            tool_use_id=use.id,
            tool_name=use.name,
            event_type=EventType.READ,
            ordinal=self._ordinal,
            created_at=at,
            updated_at=at,
        )
        self._ordinal += 1
        return event

    # --- one action

    def _propose(self, action: Action, before: dict[str, Sheet]) -> Proposal:
        """Against what is known now; actions of one use build on each other."""
        if action.path is None or action.event_type not in _CHANGES:
            return Proposal(certainty=action.certainty)
        path = resolve(action.path, self.workdir)
        if path not in before:
            track = self._tracks.get(path)
            before[path] = track.disk.snapshot() if track else Sheet.unknown()
        sheet = before[path]
        if _is_untold(action):
            before[path] = Sheet.unknown()
            return Proposal(certainty="inferred", note=action.doubt)
        count = sheet.count
        proposal = self._at_end(propose(action, sheet, self._agent, self.workdir), path, count)
        before[path] = sheet.snapshot()
        return _doubted(proposal, action)

    def _settle(self, action: Action, event: FileEvent, answer: Answer, at: datetime) -> FileEvent:
        status = answer.status
        if answer.supposed and action.path is not None:
            self._supposed.show(resolve(action.path, self.workdir), answer)
        if action.path is not None and answer.by_path:
            status = Status(answer.by_path.get(action.path, status))
        proposal = Proposal(event.diff, event.certainty, event.note)
        if status is Status.APPLIED:
            proposal = self._apply(action, answer, proposal)
        elif status is Status.UNKNOWN and action.event_type in _CHANGES:
            for path in filter(None, (action.path, action.destination)):
                self._track(path).lose(f"{action.event_type.value} of unknown outcome")
        elif action.path is not None and answer.missing and action.event_type is not EventType.SEARCH:
            self._track(action.path).vanish()
        if action.event_type is EventType.BASH and action.command and status in (Status.APPLIED, Status.FAILED):
            self._ran(action.command)
        return msgspec.structs.replace(
            event,
            status=status,
            certainty=proposal.certainty,
            diff=proposal.diff,
            note=answer.note or proposal.note or action.doubt,
            exit_code=answer.exit_code,
            output_bytes=answer.output_bytes,
            updated_at=at,
        )

    def _apply(self, action: Action, answer: Answer, proposal: Proposal) -> Proposal:
        if _is_untold(action):
            for path in filter(None, (action.path, action.destination)):
                self._track(path).lose(action.doubt or "a change that is not told")
            return proposal
        if action.path is None:
            return proposal
        if action.event_type is EventType.READ:
            if not answer.supposed:
                self._read(action.path, answer)
            return proposal
        if action.event_type not in _CHANGES:
            return proposal
        track = self._track(action.path)
        self._supposed.take(resolve(action.path, self.workdir), action, track, self._agent)
        if answer.altered:
            track.settle(answer.created)
            track.lose(_ALTERED)
            return Proposal(proposal.diff, "inferred", _ALTERED)
        if answer.stale:
            track.fork(Sheet.unknown())
        if action.event_type is EventType.WRITE:
            track.settle(True if action.creates else answer.created)
        if answer.new_cell is not None:
            action = _named(action, answer.new_cell)
        settled = propose(action, track.disk.snapshot(), self._agent, self.workdir)
        settled = self._at_end(settled, resolve(action.path or "", self.workdir), track.disk.count)
        if answer.stale:
            settled = guess(action, self.workdir, _STALE)
        self._change(action, track)
        return _doubted(settled, action)

    def _change(self, action: Action, track: Track) -> None:
        if action.event_type is EventType.WRITE:
            track.write(action.content or "", self._agent)
            self._assumed.discard(resolve(action.path or "", self.workdir))
            self._supposed.forget(resolve(action.path or "", self.workdir))
        elif action.event_type is EventType.DELETE:
            track.remove()
        elif action.event_type is EventType.MOVE:
            self._move(action)
        elif _is_of_cell(action) and place(track.disk.snapshot(), action, self._agent) is None:
            track.lose("an edit of a notebook's cell")
        else:
            track.edit(action, self._agent)

    def _move(self, action: Action) -> None:
        source, target = (resolve(path or "", self.workdir) for path in (action.path, action.destination))
        track = self._tracks.pop(source)
        if (old := self._tracks.get(target)) is not None:
            self._overwritten.append((target, old))
        track.origin = track.origin or source
        self._tracks[target] = track
        vacated = Track.new()
        vacated.vanish()
        self._tracks[source] = vacated

    def _read(self, path: str, answer: Answer) -> None:
        if answer.lines is None or (not answer.lines and not answer.whole):
            return
        lines = [(number, text + "\n") for number, text in answer.lines]
        count = None
        track = self._track(path)
        if answer.ending_assumed and track.disk.text() is None:
            self._assumed.add(resolve(path, self.workdir))
        if answer.final_newline is None and not answer.whole:
            if not track.disk.may_hold(*answer.lines[-1]):
                track.fork(Sheet.unknown())
            lines = lines[:-1]  # whether its newline is there is not said
        elif lines:
            count = lines[-1][0]
            if not answer.final_newline:
                lines[-1] = (count, lines[-1][1].removesuffix("\n"))
        else:
            count = 0
        track.see(lines, count, self._agent)

    def _at_end(self, proposal: Proposal, path: str, count: int | None) -> Proposal:
        """Inferred where it shows a last line of which no read said whether it ends in a newline."""
        proposal = self._supposed.doubted(path, proposal)
        hunks = _HUNK.findall(proposal.diff or "")
        if path not in self._assumed or not hunks or proposal.certainty != "exact":
            return proposal
        first, length = hunks[-1]
        is_last = count is None or int(first) + int(length or 1) > count
        return Proposal(proposal.diff, "inferred", _ENDING) if is_last else proposal

    def _track(self, path: str) -> Track:
        name = resolve(path, self.workdir)
        if name not in self._tracks:
            track = self._tracks[name] = Track.new()
            track.maker = self._earlier(writes_to, name)
            track.remover = self._earlier(removes, name)
        return self._tracks[name]

    def _ran(self, command: str) -> None:
        self._commands.append(command)
        for name, track in self._tracks.items():
            if track.unseen and (writes_to(command, name) or removes(command, name)):
                track.is_disturbed = True

    def _earlier(self, does: Callable[[str, str], bool], name: str) -> str | None:
        """The last command so far that does this to the file: what is seen of the file now may be its work."""
        return next((command for command in reversed(self._commands) if does(command, name)), None)


def _is_of_cell(action: Action) -> bool:
    return any(edit.cell is not None for edit in action.replacements)


def _named(action: Action, new_cell: str) -> Action:
    """The action with the name that the agent's program gave to the notebook's new cell."""
    edits = (
        msgspec.structs.replace(edit, cell=msgspec.structs.replace(edit.cell, new_name=new_cell)) if edit.cell else edit
        for edit in action.replacements
    )
    return msgspec.structs.replace(action, replacements=tuple(edits))


def _is_untold(action: Action) -> bool:
    """Whether it is a change of which the tool use, of a shape that is not known, does not tell what it is."""
    if not action.unknown_shape or action.event_type not in _CHANGES:
        return False
    if action.event_type is EventType.MOVE:
        return action.path is None or action.destination is None
    return action.event_type is not EventType.DELETE and not (
        action.content is not None or action.replacements or action.insert_after
    )


def _doubted(proposal: Proposal, action: Action) -> Proposal:
    """Of a shape that is not known nothing is exact, however well it fits the file."""
    return Proposal(proposal.diff, "inferred", action.doubt) if action.unknown_shape else proposal
