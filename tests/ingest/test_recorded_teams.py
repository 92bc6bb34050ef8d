"""Recorded runs of agents that work with others of their kind and say nothing of it: forks and teams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocproxy.config import Journal
from ocproxy.exchange import Exchange
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.model import MessageRow, SessionRow
from ocproxy.store.base import open_store
from tests.protocols.corpus import make_exchange
from tests.support.engines import sqlite_file
from tests.support.taping import tape

pytestmark = pytest.mark.anyio
_DATA = Path(__file__).parents[1] / "agents" / "data"
Told = tuple[list[SessionRow], dict[str, list[MessageRow]], dict[str, list[str]]]


def exchange(call: dict[str, Any]) -> Exchange:
    """The call as if it had not been streamed."""
    request, response = (json.dumps(call[name]).encode() for name in ("body", "reply"))
    headers = "".join(f"{name}: {value}\r\n" for name, value in call["headers"].items())
    head = f"{call['method']} {call['path']} HTTP/1.1\r\n{headers}content-length: {len(request)}\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(response)
    return make_exchange((head.encode(), request), (answer, response))


async def told(tmp_path: Path, name: str) -> Told:
    """Sessions in the order in which they began, their messages, and their events as type, status and name."""
    writer = JournalWriter.open(tmp_path / "journal" / "worker-0", Journal())
    for call in json.loads((_DATA / f"{name}.json").read_text("utf-8")):
        tape(writer, exchange(call))
    writer.close()
    async with await open_store(sqlite_file(tmp_path / "x.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        sessions = sorted((summary.row for summary in await store.summaries()), key=lambda row: row.created_at)
        messages = {row.id: await store.messages(row.id) for row in sessions}
        events: dict[str, list[str]] = {row.id: [] for row in sessions}
        for event in sorted(await store.file_events(), key=lambda event: event.ordinal):
            what = event.command or Path(event.file_path or "").name
            events[event.session_id].append(f"{event.event_type.value} {event.status.value}: {what}")
    return sessions, messages, events


def work(name: str) -> list[str]:
    return ["read applied: input.txt", f"write applied: {name}.txt", f"bash applied: echo {name}"]


async def test_a_fork_of_qwen_code_is_a_child_that_tells_what_it_did_itself(tmp_path: Path) -> None:
    (parent, fork), messages, events = await told(tmp_path, "qwen_code_fork")
    assert (fork.parent_id, fork.parent_certainty, fork.prompt) == (
        parent.id,
        "inferred",
        "[[script:child]] Do the subtask.",
    )
    assert events == {parent.id: ["write applied: parent.txt"], fork.id: work("child")}
    assert (parent.parent_id, len(messages[parent.id])) == (None, 8)
    assert [message.role for message in messages[fork.id]][5:] == ["user", "user", "assistant"] + [
        "user",
        "assistant",
        "user",
        "assistant",
    ]


async def test_a_member_of_a_team_of_cline_is_one_child_whatever_tasks_it_gets(tmp_path: Path) -> None:
    (parent, mate), messages, events = await told(tmp_path, "cline_team")
    assert (mate.agent_name, mate.parent_id, mate.parent_certainty) == ("cline", parent.id, "inferred")
    assert events == {parent.id: ["write applied: parent.txt"], mate.id: [*work("child"), *work("other")]}
    assert len(messages[mate.id]) == 12
