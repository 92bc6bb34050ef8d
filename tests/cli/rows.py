"""A small database for the commands: a session with a subagent, in which every text is hostile."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ocproxy.model import Batch, CallRow, EventType, FileEvent, GapRow, MessageRow, SessionRow, Status
from ocproxy.store.base import open_store
from tests.support.engines import sqlite_file

START = datetime(2026, 1, 21, 10, 0, tzinfo=UTC)
# A title, a bell, a cleared screen, rich's markup, a carriage return, reversed text, an 8-bit escape, a lone surrogate.
HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/red] :skull:\r\u202egnp\x9b31m\udc80"
DIFF = f"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-{HOSTILE}\n+b\n"
PARENT, CHILD = "aaaa0000000000000001", "aaaa0000000000000002"


def moment(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def session(id: str, seconds: int, parent: str | None = None) -> SessionRow:
    return SessionRow(
        id=id,
        opencode_id=f"own-{id}",
        agent_name=f"agent {HOSTILE}",
        workdir=f"/work/{HOSTILE}",
        created_at=START,
        updated_at=moment(seconds),
        title=f"title of {id[-1]} {HOSTILE}",
        parent_id=parent,
        protocol="anthropic-messages",
        model=f"model {HOSTILE}",
        run=HOSTILE,
    )


def message(id: str, seq: int, parts: list[Any]) -> MessageRow:
    return MessageRow(
        id=id,
        session_id=PARENT,
        role="assistant" if seq % 2 else "user",
        content=HOSTILE,
        parts=parts,
        created_at=moment(seq),
        parent_id=None,
        depth=seq,
        key=f"key{seq}",
        history=f"history{seq}",
        call_id="c1",
        seq=seq,
    )


def event(id: str, ordinal: int, event_type: EventType, **fields: Any) -> FileEvent:
    return FileEvent(
        id=id,
        session_id=PARENT,
        message_id="m1",
        tool_use_id=f"use{ordinal}",
        tool_name=f"Tool {HOSTILE}",
        event_type=event_type,
        ordinal=ordinal,
        created_at=moment(ordinal),
        updated_at=moment(ordinal),
        **fields,
    )


def call(id: str, kind: str, session_id: str | None, **fields: Any) -> CallRow:
    known: dict[str, Any] = {
        "journal": "0" * 32,
        "exchange": int(id[1:]),
        "position": f"0000000001:{id[1:]}",
        "run": None,
        "agent_name": "agent",
        "protocol": None,
        "upstream": "anthropic",
        "method": "POST",
        "path": f"/v1/{HOSTILE}",
        "status": 200,
        "outcome": "complete",
        "detail": "",
        "started_at": moment(int(id[1:])),
        "first_byte_at": moment(int(id[1:])),
        "ended_at": moment(int(id[1:]) + 2),
        "request_bytes": 10,
        "response_bytes": 20,
    }
    return CallRow(id=id, kind=kind, session_id=session_id, **{**known, **fields})


BATCH = Batch(
    sessions=[session(PARENT, 60), session(CHILD, 90, PARENT)],
    messages=[
        message("m0", 0, [{"type": "text", "text": HOSTILE}]),
        message(
            "m1",
            1,
            [
                {"type": "reasoning", "text": HOSTILE},
                {"type": "tool_use", "id": "use0", "name": f"Tool {HOSTILE}", "input": {"a": HOSTILE}},
                {"type": "tool_use", "id": "use9", "name": f"Other {HOSTILE}", "input": {HOSTILE: HOSTILE}},
                {"type": "media", "kind": "image", "media_type": HOSTILE, "raw": {}},
                {"type": "opaque", "kind": HOSTILE, "raw": {}},
            ],
        ),
        message(
            "m2", 2, [{"type": "tool_result", "tool_use_id": "use0", "text": HOSTILE + "\nmore" * 20, "is_error": True}]
        ),
    ],
    file_events=[
        event("e0", 0, EventType.EDIT, file_path=f"/work/{HOSTILE}/x", diff=DIFF, status=Status.APPLIED,
              certainty="inferred", note=HOSTILE),
        event("e1", 1, EventType.BASH, command=HOSTILE, exit_code=3, status=Status.FAILED),
        event("e2", 2, EventType.MOVE, file_path="/a", destination=f"/work/{HOSTILE}/b", status=Status.REJECTED),
        event("e3", 3, EventType.SEARCH, file_path="/elsewhere", command=HOSTILE),
    ],
    calls=[
        call("c1", "main", PARENT, model=HOSTILE, input_tokens=12345, output_tokens=7, error=HOSTILE),
        call("c2", "title", PARENT, outcome="client_disconnected", detail=HOSTILE, status=None),
        call("c3", "other", None, status=500, problems=[{"code": "x", "message": HOSTILE}]),
    ],
    gaps=[GapRow(id="g1", journal="0" * 32, position="1:9", reason=HOSTILE, records=2, bytes=99, created_at=START)],
)  # fmt: skip


def fill(data: Path, batch: Batch = BATCH) -> Coroutine[Any, Any, None]:
    """Store it as the database of a data folder."""

    async def store() -> None:
        data.mkdir(mode=0o700)
        async with await open_store(sqlite_file(data / "ocproxy.db")) as opened:
            await opened.commit(batch)

    return store()


# NOIMPORT
