"""Calls of real clients over OpenAI Chat Completions, through the ingest: one session, and every message once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.config import Journal
from ocproxy.exchange import Ended, Outcome
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.model import CallRow, FileEvent, MessageRow
from ocproxy.store.base import open_store
from tests.protocols.corpus import Case, load_cases, make_exchange
from tests.support.engines import sqlite_file
from tests.support.taping import tape

pytestmark = pytest.mark.anyio
BY_NAME = {case.name: case for case in load_cases("openai_chat")}
COMPLETE = Ended(Outcome.COMPLETE)
Json = dict[str, Any]
Told = tuple[list[list[MessageRow]], list[CallRow], list[FileEvent]]


def write(folder: Path, cases: list[Case], ended: Ended) -> None:
    """The exchanges of `cases` in a journal, as the relay writes them."""
    writer = JournalWriter.open(folder, Journal())
    for case in cases:
        tape(writer, case.exchange, ended=ended, run="r")
    writer.close()


async def told(tmp_path: Path, cases: Sequence[str | Case], ended: Ended = COMPLETE) -> Told:
    """What the store holds of these calls: the messages of each session, the calls and the events."""
    found = [BY_NAME[case] if isinstance(case, str) else case for case in cases]
    write(tmp_path / "journal" / "worker-0", found, ended)
    async with await open_store(sqlite_file(tmp_path / "x.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        sessions = sorted(await store.summaries(), key=lambda summary: (summary.row.created_at, summary.row.id))
        messages = [await store.messages(summary.row.id) for summary in sessions]
        return messages, list(await store.calls()), list(await store.file_events())


def composed(messages: list[Json], reply: Json) -> Case:
    """One call that is not streamed, of these messages."""
    request = json.dumps({"model": "m", "messages": messages}).encode()
    response = json.dumps({"choices": [{"index": 0, "message": reply, "finish_reason": "stop"}]}).encode()
    heads = [
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(request),
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(response),
    ]
    template = BY_NAME["first_call"]
    return msgspec.structs.replace(template, exchange=make_exchange((heads[0], request), (heads[1], response)))


def is_a_line(messages: list[MessageRow]) -> bool:
    """Whether each message follows the one before it: nothing forked, nothing doubled."""
    parents = [None, *(message.id for message in messages)]
    return [message.parent_id for message in messages] == parents[:-1]


@pytest.mark.parametrize(
    "names",
    [
        ["first_call", "tool_results"],
        ["first_call", "resent_by_sdk"],
        ["mini_first", "mini_second"],
        ["qwen_first", "qwen_second"],
        ["langchain_first", "langchain_second", "langchain_third"],
        ["openai_agents_first", "openai_agents_second"],
    ],
    ids=lambda names: names[-1],
)
async def test_the_next_call_continues_the_reply_of_the_one_before(tmp_path: Path, names: list[str]) -> None:
    (messages,), calls, _ = await told(tmp_path, names)
    assert is_a_line(messages)
    own = 2 if names[0] == "qwen_first" else 0  # turns that the client makes up before the first prompt
    assert [row.role for row in messages[own:]] == ["user", "assistant"] * len(names)
    assert [call.message_id for call in calls] == [row.id for row in messages if row.role == "assistant"][-len(names) :]


async def test_a_session_is_told_by_its_files(tmp_path: Path) -> None:
    _, _, events = await told(tmp_path, ["langchain_first", "langchain_second", "langchain_third"])
    assert [(event.event_type.value, event.file_path, event.status.value) for event in events] == [
        ("read", "/home/user/project/input.txt", "unknown"),
        ("write", "/home/user/project/short-demo.txt", "applied"),
    ]


async def test_parallel_results_are_one_message_whose_uses_are_all_known(tmp_path: Path) -> None:
    (messages,), _, events = await told(tmp_path, ["first_call", "tool_results"])
    results = [part for part in messages[2].parts if part["type"] == "tool_result"]
    assert [part["tool_use_id"] for part in results] == ["call_a1", "call_a2"]
    assert {event.tool_use_id for event in events} == {"call_a1", "call_a2"}


async def test_a_client_that_hangs_up_behind_done_has_a_complete_call(tmp_path: Path) -> None:
    case = BY_NAME["langchain_first"]
    unread = case.exchange.response.removesuffix(b"0\r\n\r\n")
    assert unread.endswith(b"[DONE]\n\n\r\n")
    cut = msgspec.structs.replace(case, exchange=msgspec.structs.replace(case.exchange, response=unread))
    _, (call,), _ = await told(tmp_path, [cut], Ended(Outcome.CLIENT_DISCONNECTED, "the client went away"))
    assert (call.outcome, call.detail, call.problems, call.stop_reason) == ("complete", "", [], "tool_calls")


async def test_an_answer_that_broke_off_is_kept_as_far_as_it_came(tmp_path: Path) -> None:
    ended = Ended(Outcome.CLIENT_DISCONNECTED, "the client went away")
    (messages,), (call,), events = await told(tmp_path, ["drop_inside_arguments"], ended)
    assert (call.outcome, call.detail) == ("client_disconnected", "the client went away")
    assert [row.role for row in messages] == ["user", "assistant"]
    assert [event.tool_use_id for event in events] == ["call_a1"]


async def test_other_endpoints_are_calls_and_no_conversation(tmp_path: Path) -> None:
    messages, calls, _ = await told(tmp_path, ["models", "embeddings", "text_completion"])
    assert messages == []
    assert sorted((call.kind, call.protocol) for call in calls) == [
        ("models", "openai-chat"),
        ("other", "openai-chat"),
        ("other", "openai-chat"),
    ]


FUNCTION = {"function_call": {"name": "bash", "arguments": '{"command":"make test"}'}}
NAMELESS = {"tool_calls": [{"type": "function", "function": FUNCTION["function_call"]}]}


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        (FUNCTION, {"role": "function", "name": "bash"}),
        (NAMELESS, {"role": "tool", "name": "bash"}),
        ({"tool_calls": [{"id": "call_0", **NAMELESS["tool_calls"][0]}]}, {"role": "tool", "tool_call_id": "call_0"}),
    ],
    ids=["function_call", "tool_calls without ids", "an id for all calls"],
)
async def test_the_same_call_may_come_twice_without_an_id_of_its_own(tmp_path: Path, asked: Json, result: Json) -> None:
    history: list[Json] = [{"role": "user", "content": "Run the tests until they pass."}]
    cases = []
    for output in ("Error: 1 failed", "Success"):
        cases.append(composed(history, {"role": "assistant", "content": None, **asked}))
        history = [*history, {"role": "assistant", **asked}, {**result, "content": output}]
    cases.append(composed(history, {"role": "assistant", "content": "They pass."}))
    (messages,), _, events = await told(tmp_path, cases)
    assert is_a_line(messages)
    assert [row.role for row in messages] == ["user", "assistant"] * 3
    assert [(event.command, event.status.value) for event in events] == [
        ("make test", "failed"),
        ("make test", "applied"),
    ]
