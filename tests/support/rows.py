"""Builders of rows for tests of the store: what a test does not care about has a value."""

from __future__ import annotations

from datetime import UTC, datetime

from ocproxy.model import CallRow, EventType, FileEvent, MessageRow, SessionRow, Status

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def session(id: str = "s1", at: datetime = NOON, **fields: object) -> SessionRow:
    known: dict[str, object] = {
        "opencode_id": f"own-{id}", "agent_name": "claude-code", "plugin": "claude-code", "workdir": "/w",
    }  # fmt: skip
    return SessionRow(id=id, created_at=at, updated_at=at, **{**known, **fields})  # type: ignore[arg-type]  # a builder


def message(id: str, session_id: str = "s1", seq: int = 0, **fields: object) -> MessageRow:
    known: dict[str, object] = {
        "role": "user", "content": "hi", "parts": [{"type": "text", "text": "hi"}], "parent_id": None, "depth": 0,
        "key": "k", "history": f"h-{id}", "call_id": "c1",
    }  # fmt: skip
    return MessageRow(id=id, session_id=session_id, created_at=NOON, seq=seq, **{**known, **fields})  # type: ignore[arg-type]  # a builder


def event(id: str, status: Status = Status.REQUESTED, **fields: object) -> FileEvent:
    return FileEvent(
        id=id, session_id="s1", message_id="m1", tool_use_id="t1", tool_name="Edit", event_type=EventType.EDIT,
        ordinal=0, created_at=NOON, updated_at=NOON, status=status, **fields,  # type: ignore[arg-type]  # a builder
    )  # fmt: skip


def call(id: str, session_id: str | None = "s1", at: datetime = NOON, **fields: object) -> CallRow:
    return CallRow(
        id=id, journal="j", exchange=1 << 32, position="0000000001:64", session_id=session_id, run=None,
        agent_name="claude-code", protocol="anthropic-messages", upstream="anthropic", method="POST",
        path="/v1/messages", kind="main", status=200, outcome="complete", detail="", started_at=at,
        first_byte_at=None, ended_at=at, request_bytes=1, response_bytes=2, **fields,  # type: ignore[arg-type]  # a builder
    )  # fmt: skip
