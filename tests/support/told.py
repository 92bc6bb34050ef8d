"""What a store tells, without what differs between two runs of the same: ids of ours, times, places in journals."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from ocproxy.exchange import Position
from ocproxy.model import CallRow, FileEvent, SessionRow
from ocproxy.store.base import Store

Json = dict[str, Any]

# Ids of ours, and what follows from them or from the framing alone.
_OURS = {
    "id", "session_id", "message_id", "request_message_id", "parent_id", "call_id", "journal", "exchange", "position",
    "prompt_hash", "key", "history", "depth", "seq", "ordinal", "request_bytes", "response_bytes", "content",
}  # fmt: skip


async def told(store: Store) -> Json:
    """Sessions, messages, file events, calls and gaps, in the order of the calls. Rows that are referred to are named
    by their places: `s0`, `m0`; what is None or empty is left out."""
    calls = sorted(await store.calls(), key=lambda call: (call.exchange, Position.parse(call.position)))
    first = {call.session_id: place for place, call in reversed(list(enumerate(calls)))}
    sessions = sorted((summary.row for summary in await store.summaries()), key=lambda row: first[row.id])
    messages = [message for row in sessions for message in await store.messages(row.id)]
    names = _named("s", [row.id for row in sessions]) | _named("m", [message.id for message in messages])
    return {
        "sessions": [_session(row, names) for row in sessions],
        "messages": [
            _facts(message, session=names[message.session_id], parent=names.get(message.parent_id or ""))
            for message in messages
        ],
        "file_events": [_event(event, names) for row in sessions for event in await store.file_events(row.id)],
        "calls": [_call(call, names) for call in calls],
        "gaps": [gap.reason for gap in await store.gaps()],
    }


def _event(event: FileEvent, names: dict[str, str]) -> Json:
    """What no model asked for has an id after its message."""
    id, slash, place = event.tool_use_id.partition("/")
    use = f"{names[id]}/{place}" if slash and id in names else event.tool_use_id
    return _facts(event, session=names[event.session_id], message=names[event.message_id], tool_use_id=use)


def _call(call: CallRow, names: dict[str, str]) -> Json:
    asked, answered = names.get(call.request_message_id or ""), names.get(call.message_id or "")
    return _facts(call, session=names.get(call.session_id or ""), asked=asked, answered=answered)


def _session(row: SessionRow, names: dict[str, str]) -> Json:
    facts = _facts(row, parent=names.get(row.parent_id or ""))
    if row.opencode_id == row.id:  # an agent without an id of its own has ours
        del facts["opencode_id"]
    return facts


def _named(letter: str, ids: Iterable[str]) -> dict[str, str]:
    return {id: f"{letter}{place}" for place, id in enumerate(ids)}


def _facts(row: msgspec.Struct, **more: Any) -> Json:
    own = {field: getattr(row, field) for field in row.__struct_fields__ if field not in _OURS}
    found = more | {name: value for name, value in own.items() if not isinstance(value, datetime)} | more
    plain: Json = msgspec.json.decode(msgspec.json.encode(found))
    return {field: value for field, value in plain.items() if value not in (None, "", [], {})}


def spelled(facts: Json) -> str:
    """The same as JSON with a row a line."""
    lists = []
    for name, rows in facts.items():
        inner = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        lists.append(f'"{name}": [\n{inner}\n]' if rows else f'"{name}": []')
    return "{\n" + ",\n".join(lists) + "\n}\n"


def lines(facts: Json) -> list[str]:
    """The file events, one a line: what must not differ between two runs of one script."""
    return [_line(event) for event in facts["file_events"]]


def _line(event: Json) -> str:
    target = event.get("command") or event.get("file_path")
    code = f" {event['exit_code']}" if "exit_code" in event else ""
    changed = [
        line for line in event.get("diff", "").split("\n") if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    doubt = " inferred" if event["certainty"] == "inferred" else ""
    return f"{event['session']} {event['event_type']} {event['status']}{code}{doubt}: {target} {changed}"
