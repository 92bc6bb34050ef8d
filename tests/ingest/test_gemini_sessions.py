"""Calls of real clients over the Gemini API, through the ingest: one session, every message once, every call once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ocproxy.config import Journal
from ocproxy.exchange import Exchange
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.model import UNNAMED, CallRow, FileEvent, MessageRow
from ocproxy.store.base import open_store
from tests.protocols.corpus import load_cases, make_exchange
from tests.support.engines import sqlite_file
from tests.support.taping import tape

pytestmark = pytest.mark.anyio
BY_NAME = {case.name: case.exchange for case in load_cases("gemini")}
Json = dict[str, Any]
Told = tuple[list[list[MessageRow]], list[CallRow], list[FileEvent]]
CLI = ["first_call", "parallel_results", "same_call_again", "end_of_turn", "resumed"]


def write(folder: Path, exchanges: Sequence[Exchange]) -> None:
    """These exchanges in a journal, as the relay writes them."""
    writer = JournalWriter.open(folder, Journal())
    for exchange in exchanges:
        tape(writer, exchange)
    writer.close()


async def stored(tmp_path: Path, *, pieces: bool) -> Told:
    async with await open_store(sqlite_file(tmp_path / f"{'pieces' if pieces else 'whole'}.db")) as store:
        if pieces:  # the ingest dies after each call
            count = 1
            while count:
                ingest = Ingest(store, tmp_path / "journal", batch_calls=1)
                count = await ingest._cycle()
                ingest._restart()
        await Ingest(store, tmp_path / "journal").catch_up()
        sessions = sorted(await store.summaries(), key=lambda summary: (summary.row.created_at, summary.row.id))
        messages = [await store.messages(summary.row.id) for summary in sessions]
        return messages, list(await store.calls()), list(await store.file_events())


async def told(tmp_path: Path, exchanges: Sequence[str | Exchange]) -> Told:
    """What the store holds of these calls, however the ingest is interrupted: messages by session, calls, events."""
    write(tmp_path / "journal" / "worker-0", [BY_NAME[one] if isinstance(one, str) else one for one in exchanges])
    whole = await stored(tmp_path, pieces=False)
    assert await stored(tmp_path, pieces=True) == whole
    return whole


def composed(contents: list[Json], reply: Json) -> Exchange:
    """One call that is not streamed."""
    request = json.dumps({"contents": contents}).encode()
    response = json.dumps({"candidates": [{"content": reply, "finishReason": "STOP"}]}).encode()
    head = b"POST /v1beta/models/g:generateContent HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(request)
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(response)
    return make_exchange((head, request), (answer, response))


def user(*parts: str | Json) -> Json:
    return {"role": "user", "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def model(*parts: str | Json) -> Json:
    return {"role": "model", "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def run(command: str, id: str | None = None) -> Json:
    return {"functionCall": {"name": "bash", "args": {"command": command}} | ({"id": id} if id else {})}


def ran(output: str, id: str | None = None) -> Json:
    return {"functionResponse": {"name": "bash", "response": {"output": output}} | ({"id": id} if id else {})}


def chat(*turns: Json) -> list[Exchange]:
    """The calls of a conversation: each turn of the model is the reply to all that stands before it."""
    return [composed(list(turns[:at]), turn) for at, turn in enumerate(turns) if turn["role"] == "model"]


async def test_a_session_of_gemini_cli_and_its_resumption_are_one_session(tmp_path: Path) -> None:
    messages, calls, events = await told(tmp_path, CLI)
    assert [[message.role for message in session] for session in messages] == [["user", "assistant"] * 5]
    assert [message.parent_id for message in messages[0]] == [None, *[message.id for message in messages[0][:-1]]]
    assert {call.session_id for call in calls} == {messages[0][0].session_id}
    assert [call.problems for call in calls] == [[]] * 5
    assert [(event.event_type, Path(event.file_path or "").name, event.status) for event in events] == [
        ("read", "a.txt", "applied"),
        ("read", "a.txt", "applied"),
        ("read", "missing.txt", "failed"),
        ("write", "b.txt", "applied"),
        ("read", "a.txt", "applied"),
    ]
    assert len({event.tool_use_id for event in events}) == 5


async def test_a_client_that_drops_the_ids_goes_on_in_its_session(tmp_path: Path) -> None:
    messages, _, events = await told(tmp_path, ["opencode_first", "opencode_results"])
    assert [[message.role for message in session] for session in messages] == [["user", "assistant"] * 2]
    assert [Path(event.file_path or "").name for event in events] == ["a.txt", "a.txt", "missing.txt", "b.txt"]
    assert [event.status == "requested" for event in events] == [False, False, False, True]
    assert len({event.tool_use_id for event in events}) == 4
    assert all(event.tool_use_id.startswith("fc_") for event in events)  # the provider's


@pytest.mark.parametrize(
    ("first", "second"), [("not_streamed", "not_streamed_results"), ("first_call", "calls_with_ids")]
)
async def test_every_result_settles_its_own_call(tmp_path: Path, first: str, second: str) -> None:
    messages, _, _ = await told(tmp_path, [first, second])
    assert len(messages) == 1
    parts = [part for message in messages[0] for part in message.parts]
    asked = [part["id"] for part in parts if part["type"] == "tool_use"][:3]
    assert [part["tool_use_id"] for part in parts if part["type"] == "tool_result"] == asked
    assert len(set(asked)) == 3 and not any(id.startswith(UNNAMED) for id in asked)


async def test_the_same_command_in_two_turns_and_twice_in_one_is_three_events(tmp_path: Path) -> None:
    turns = [
        user("test it"), model(run("make test")), user(ran("1 failed")),
        model(run("make test"), run("make test")), user(ran("ok"), ran("ok")), model("done"),
    ]  # fmt: skip
    messages, _, events = await told(tmp_path, chat(*turns))
    assert [message.role for message in messages[0]] == ["user", "assistant"] * 3
    assert [event.command for event in events] == ["make test"] * 3
    assert [event.output_bytes for event in events] == [8, 2, 2]


async def test_a_turn_that_the_client_takes_back_stays_and_the_same_call_is_told_again(tmp_path: Path) -> None:
    """Gemini CLI drops a rejected call from its history; the user may then ask for it once more."""
    turns = [user("clean up"), user("do it"), model(run("make clean")), user(ran("gone"))]
    taken_back = composed(turns[:1], model(run("make clean")))
    _, _, events = await told(tmp_path, [taken_back, *chat(*turns, model("done"))])
    assert [(event.command, event.status.value) for event in events] == [
        ("make clean", "requested"),
        ("make clean", "unknown"),
    ]


async def test_a_new_history_with_the_old_ids_tells_no_call_twice(tmp_path: Path) -> None:
    """As after compaction: the newest turns stay, behind a summary."""
    old = [user("test it"), model(run("make test", "fc_1")), user(ran("ok", "fc_1")), model("done")]
    new = [user("so far: tested"), *old[1:], user("again"), model(run("make test", "fc_2"))]
    messages, _, events = await told(tmp_path, [*chat(*old), composed(new[:-1], new[-1])])
    assert len(messages) == 1
    assert [event.tool_use_id for event in events] == ["fc_1", "fc_2"]


async def test_two_agents_with_the_same_prompt_and_the_same_calls_are_two_sessions(tmp_path: Path) -> None:
    begin = [user("go"), model(run("ls"))]
    ends = [[user(ran(name)), model(f"I am {name}")] for name in ("a", "b")]
    calls = [chat(*begin)[0], chat(*begin, *ends[0])[1], chat(*begin)[0], chat(*begin, *ends[1])[1]]
    messages, _, events = await told(tmp_path, calls)
    assert len(messages) == 2
    assert sorted(session[-1].content or "" for session in messages) == ["I am a", "I am b"]
    assert len({event.id for event in events}) == 2


async def test_two_agents_with_the_same_prompt_and_the_same_first_call_are_told_apart_by_its_id(tmp_path: Path) -> None:
    """As two Gemini CLIs in one folder do: what they say differs only in ids, and both wait for their second turn."""
    turns = [[user("Go."), model(run("ls", id)), user(ran("a.py", id)), model(end)] for id, end in ("1A", "2B")]
    first, second = (chat(*turn) for turn in turns)
    messages, calls, _ = await told(tmp_path, [first[0], second[0], first[1], second[1]])
    assert [[message.content for message in session] for session in messages] == [
        ["Go.", None, "a.py", "A"],
        ["Go.", None, "a.py", "B"],
    ]
    assert [call.session_id for call in calls].count(calls[0].session_id) == 2
