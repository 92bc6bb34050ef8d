"""What a call tells beside its conversation: changes of files to review, where it was worked, which program did it.

Pure: rows of the part of the batch that one call is, from those that are in it already.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from ocproxy.agents.base import Checkout
from ocproxy.agents.generic import AGENT as GENERIC
from ocproxy.ingest.interpret import Interpretation
from ocproxy.model import Batch, CallKind, CallRow, EventType, FileEvent, SessionRow, Status, digest
from ocproxy.work import AvailableAgent, ChangeStatus, Operation, PendingChange, Worktree, clean, task_id

_OPERATIONS: dict[EventType, Operation] = {
    EventType.WRITE: "edit",
    EventType.EDIT: "edit",
    EventType.DELETE: "delete",
    EventType.MOVE: "move",
}
# A tool that failed changed nothing, as one that was not allowed. Of what has no outcome, or one that the wire does not
# tell, nobody knows yet: somebody has to look.
_STATUSES: dict[Status, ChangeStatus] = {
    Status.REQUESTED: "pending",
    Status.UNKNOWN: "pending",
    Status.APPLIED: "applied",
    Status.FAILED: "rejected",
    Status.REJECTED: "rejected",
}
# The second line of a diff of `files.diff`.
_MODES: tuple[tuple[str, Operation], ...] = (("new file mode ", "create"), ("deleted file mode ", "delete"))
_PRODUCT = re.compile(r"\A[^/\s()]+(?: [^/\s()]+)*(?=/)")


def note_surroundings(item: Interpretation, session: SessionRow, call: CallRow, part: Batch) -> None:
    """Add to `part`, the rows of this call of this session, what they tell of changes, folders and programs."""
    part.pending_changes += changes_of(part.file_events, session)
    checkout = item.agent.checkout(item.facts) if item.identity.workdir == session.workdir else Checkout()
    part.worktrees += [
        worktree_of(row, checkout if row.id == session.id else Checkout()) for row in part.sessions if row.workdir
    ]
    if session.plugin is not None and session.plugin != GENERIC.name:
        part.available_agents.append(_program(item, session.plugin, call))


def changes_of(events: Iterable[FileEvent], session: SessionRow) -> Iterator[PendingChange]:
    """One for each event that changes a file. Where not even the file is told there is nothing to review."""
    for event in events:
        if event.event_type in _OPERATIONS and event.file_path:
            yield PendingChange(
                id=digest("change", event.id),
                session_id=event.session_id,
                file_event_id=event.id,
                path=event.file_path,
                operation=_operation(event),
                status=_STATUSES[event.status],
                agent=session.agent_name,
                ordinal=event.ordinal,
                created_at=event.created_at,
                updated_at=event.updated_at,
                task_id=task_id(session.run) if session.run is not None else None,
                destination=event.destination,
                diff=event.diff,
            )


def worktree_of(session: SessionRow, checkout: Checkout) -> Worktree:
    """The folder that a session works in."""
    path = session.workdir
    name = posixpath.basename(path.replace("\\", "/").rstrip("/"))
    return Worktree(
        id=digest("worktree", clean(path)),
        path=path,
        slug=re.sub(r"[^\w.]+", "-", name).strip("-").lower(),
        branch=checkout.branch,
        base_commit=checkout.commit,
        created_at=session.created_at,
        last_seen_at=_minute(session.updated_at),
    )


def _minute(moment: datetime) -> datetime:
    """So that these rows, of which there are few, do not change with every call."""
    return moment.replace(second=0, microsecond=0)


def _operation(event: FileEvent) -> Operation:
    if event.event_type in (EventType.WRITE, EventType.EDIT) and event.diff:
        mode = event.diff.partition("\n")[2]
        return next((operation for begin, operation in _MODES if mode.startswith(begin)), "edit")
    return _OPERATIONS[event.event_type]


def _program(item: Interpretation, name: str, call: CallRow) -> AvailableAgent:
    product = _PRODUCT.match(item.facts.headers.get("user-agent", ""))
    is_served = call.kind == CallKind.MAIN.value and call.error is None and call.status is not None
    models = [call.model] if is_served and call.model and (call.status or 0) < 400 else []
    return AvailableAgent(
        name=name,
        label=product[0] if product else None,
        version=item.identity.version,
        transport="websocket" if item.exchange.ordinal else "http",
        models=models,
        first_seen_at=call.started_at,
        last_seen_at=_minute(call.ended_at),
    )
