"""Calls of real clients over OpenAI Responses, through the ingest: one session, and every message once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.config import Journal
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.model import MessageRow
from ocproxy.store.base import Store, open_store
from tests.protocols.corpus import Case, load_cases, make_exchange
from tests.support.engines import sqlite_file
from tests.support.stored import rows
from tests.support.taping import tape

pytestmark = pytest.mark.anyio
BY_NAME = {case.name: case for case in load_cases("openai_responses")}
Json = dict[str, Any]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        yield store


def write(root: Path, cases: Sequence[str | Case], **tags: str) -> None:
    """These exchanges in a journal, as the relay writes them."""
    writer = JournalWriter.open(root / "worker-0", Journal())
    for case in cases:
        tape(writer, (BY_NAME[case] if isinstance(case, str) else case).exchange, tags=tags)
    writer.close()


async def told(store: Store, root: Path, cases: Sequence[str | Case], **tags: str) -> list[list[MessageRow]]:
    """The messages of each session that these calls are."""
    write(root, cases, **tags)
    await Ingest(store, root).catch_up()
    summaries = sorted(await store.summaries(), key=lambda summary: summary.row.created_at)
    return [await store.messages(summary.row.id) for summary in summaries]


def composed(body: Json, output: list[Json], id: str = "resp_x", **response: Any) -> Case:
    """One call that is not streamed."""
    request = json.dumps({"model": "m", **body}).encode()
    answer = json.dumps({"id": id, "status": "completed", "output": output, **response}).encode()
    heads = [
        b"POST /v1/responses HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(request),
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer),
    ]
    template = BY_NAME["sdk_first"]
    return msgspec.structs.replace(template, exchange=make_exchange((heads[0], request), (heads[1], answer)))


def said(text: str) -> Json:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(id: str) -> Json:
    return {"type": "function_call", "call_id": id, "name": "read_file", "arguments": '{"path":"/w/a"}'}


def output(id: str) -> Json:
    return {"type": "function_call_output", "call_id": id, "output": "alpha"}


def is_a_line(messages: list[MessageRow]) -> bool:
    """Whether each message follows the one before it: nothing forked, nothing doubled."""
    parents = [None, *(message.id for message in messages)]
    return [message.parent_id for message in messages] == parents[:-1]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (["first_call", "after_parallel_calls", "end_of_turn"], None),
        (["code_mode_first_call", "code_mode_result"], 9),
        (["sdk_first", "sdk_second", "sdk_third"], 6),
        (["sdk_streamed_first", "sdk_streamed_second"], 4),
    ],
)
async def test_a_resent_history_is_one_session_with_each_message_once(
    store: Store, tmp_path: Path, names: list[str], count: int | None
) -> None:
    (messages,) = await told(store, tmp_path / "journal", names)
    assert is_a_line(messages)
    assert count in (None, len(messages))


async def test_a_broken_answer_is_not_told_again_when_the_client_goes_on(store: Store, tmp_path: Path) -> None:
    names = ["drop_behind_call", "after_drop", "retry_after_drop", "failed_in_stream", "retry_after_failure"]
    (messages,) = await told(store, tmp_path / "journal", names)
    texts = [message.content for message in messages if message.role == "assistant"]
    assert texts == [
        "Reading twice.",
        "A longer text that is cut off in the middle of i",
        "A longer text that is cut off in the middle of its stream of pieces.",
        "Once more, with a server",
        "Once more, with a server that says no.",
    ]
    uses = [part["id"] for message in messages for part in message.parts if part["type"] == "tool_use"]
    assert len(uses) == len(set(uses))


async def test_what_a_client_joined_of_two_answers_is_not_told_again(store: Store, tmp_path: Path) -> None:
    """The first answer stays in the history without a result, so that it and the second are items in a row."""
    ask = {"role": "user", "content": "Go."}
    cases = [
        composed({"input": [ask]}, [said("One."), call("a")], "resp_1"),
        composed({"input": [ask, said("One."), call("a")]}, [said("Two."), call("b")], "resp_2"),
        composed(
            {"input": [ask, said("One."), call("a"), said("Two."), call("b"), output("a"), output("b")]},
            [said("Three.")],
            "resp_3",
        ),
    ]
    (messages,) = await told(store, tmp_path / "journal", cases)
    assert [message.content for message in messages] == ["Go.", "One.", "Two.", "alpha\nalpha", "Three."]
    assert is_a_line(messages)


async def test_retries_of_both_answers_joined_are_not_told_again(store: Store, tmp_path: Path) -> None:
    """Both attempts answered the same message, and the client kept both."""
    ask = {"role": "user", "content": "Go."}
    cases = [
        composed({"input": [ask]}, [said("One."), call("a")], "resp_1"),
        composed({"input": [ask]}, [said("Two."), call("b")], "resp_2"),
        composed(
            {"input": [ask, said("One."), call("a"), said("Two."), call("b"), output("a"), output("b")]},
            [said("Three.")],
            "resp_3",
        ),
    ]
    (messages,) = await told(store, tmp_path / "journal", cases, session="s")
    assert [message.content for message in messages] == ["Go.", "One.", "Two.", "alpha\nalpha", "Three."]


async def test_a_restart_between_any_two_calls_gives_the_same_rows(tmp_path: Path) -> None:
    names = ["drop_behind_call", "after_drop", "retry_after_drop", "failed_in_stream", "retry_after_failure"]
    write(tmp_path / "journal", names)
    expected: dict[str, Any] | None = None
    for restarts in (False, True):
        async with await open_store(sqlite_file(tmp_path / f"{restarts}.db")) as store:
            for _ in names if restarts else ():
                ingest = Ingest(store, tmp_path / "journal", batch_calls=1)
                await ingest._cycle()
                ingest._restart()
            await Ingest(store, tmp_path / "journal").catch_up()
            found = await rows(store)
        expected = expected or found
        assert found == expected


async def test_what_a_reply_is_continued_with_stands_behind_it(store: Store, tmp_path: Path) -> None:
    """A script lets the provider keep the history: each call but the first sends results alone."""
    (messages,) = await told(store, tmp_path / "journal", ["stored_first", "stored_second", "stored_third"])
    assert is_a_line(messages)
    assert [message.role for message in messages] == ["user", "assistant"] * 3


async def test_a_reply_may_be_continued_twice(store: Store, tmp_path: Path) -> None:
    cases = [
        composed({"input": "Go.", "store": True}, [said("One.")], "resp_1"),
        composed({"input": "Left.", "previous_response_id": "resp_1"}, [said("Two.")], "resp_2"),
        composed({"input": "Right.", "previous_response_id": "resp_1"}, [said("Three.")], "resp_3"),
    ]
    (messages,) = await told(store, tmp_path / "journal", cases)
    assert [(message.content, message.depth) for message in messages] == [
        ("Go.", 0), ("One.", 1), ("Left.", 2), ("Two.", 3), ("Right.", 2), ("Three.", 3),
    ]  # fmt: skip


async def test_a_reply_without_words_is_continued_behind_its_request(store: Store, tmp_path: Path) -> None:
    cases = [
        composed({"input": "Go."}, [], "resp_1"),
        composed({"input": "Well?", "previous_response_id": "resp_1"}, [said("Two.")], "resp_2"),
    ]
    (messages,) = await told(store, tmp_path / "journal", cases)
    assert is_a_line(messages) and len(messages) == 3


async def test_a_reply_that_was_not_recorded_is_told_as_missing(store: Store, tmp_path: Path) -> None:
    case = composed({"input": "Well?", "previous_response_id": "resp_0"}, [said("Yes.")], "resp_1")
    (messages,) = await told(store, tmp_path / "journal", [case])
    assert [message.content for message in messages] == ["Well?", "Yes."]
    (row,) = await store.calls()
    assert [problem["code"] for problem in row.problems] == ["unknown_reply"]


async def test_replies_of_other_runs_and_agents_are_not_continued(store: Store, tmp_path: Path) -> None:
    cases = [
        composed({"input": "Go."}, [said("One.")], "resp_1"),
        composed({"input": "Well?", "previous_response_id": "resp_1"}, [said("Two.")], "resp_2"),
    ]
    write(tmp_path / "journal", cases[:1], agent="one")
    write(tmp_path / "journal", cases[1:], agent="two")
    await Ingest(store, tmp_path / "journal").catch_up()
    assert len(await store.summaries()) == 2


async def test_continuations_link_alike_in_one_batch_and_over_a_restart(tmp_path: Path) -> None:
    write(tmp_path / "journal", ["stored_first", "stored_second", "stored_third"])
    found = []
    for calls in (50, 1):
        async with await open_store(sqlite_file(tmp_path / f"{calls}.db")) as store:
            for _ in range(3 if calls == 1 else 0):
                ingest = Ingest(store, tmp_path / "journal", batch_calls=1)
                await ingest._cycle()
                ingest._restart()
            await Ingest(store, tmp_path / "journal").catch_up()
            found.append(await rows(store))
    assert found[0] == found[1]


@pytest.mark.parametrize("form", ["conv_1", {"id": "conv_1"}])
async def test_a_conversation_that_the_provider_keeps_is_one_session(store: Store, tmp_path: Path, form: Any) -> None:
    ask = {"role": "user", "content": "Go."}
    cases = [
        composed({"input": [ask], "conversation": form}, [said("One."), call("a")], "resp_1"),
        composed({"input": [output("a")], "conversation": form}, [said("Two.")], "resp_2"),
        composed({"input": [ask], "conversation": "conv_1"}, [said("Three.")], "resp_3"),
        composed({"input": [ask], "conversation": "conv_2"}, [said("Else.")], "resp_4"),
    ]
    first, second = await told(store, tmp_path / "journal", cases)
    assert [message.content for message in first] == ["Go.", "One.", "alpha", "Two.", "Go.", "Three."]
    assert is_a_line(first)
    assert [message.content for message in second] == ["Go.", "Else."]


async def test_a_try_that_failed_is_no_part_of_a_conversation(store: Store, tmp_path: Path) -> None:
    body = {"input": "Go.", "conversation": "conv_1"}
    cases = [
        composed(body, [said("One.")], "resp_1"),
        composed({**body, "input": "On."}, [], "resp_2", status="failed", error={"code": "server_error"}),
        composed({**body, "input": "On."}, [said("Two.")], "resp_3"),
    ]
    (messages,) = await told(store, tmp_path / "journal", cases)
    assert [message.content for message in messages] == ["Go.", "One.", "On.", "Two."]
    assert is_a_line(messages)
    calls = await store.calls()
    assert calls[1].request_message_id == calls[2].request_message_id


async def test_a_conversation_goes_on_in_a_session_that_the_user_named(store: Store, tmp_path: Path) -> None:
    bodies = [{"input": text, "conversation": "conv_1"} for text in ("Go.", "On.")]
    cases = [composed(body, [said(f"To {body['input']}")], f"resp_{n}") for n, body in enumerate(bodies)]
    (messages,) = await told(store, tmp_path / "journal", cases, session="mine")
    assert is_a_line(messages) and len(messages) == 4


async def test_conversations_link_alike_in_one_batch_and_over_a_restart(tmp_path: Path) -> None:
    bodies = [{"input": text, "conversation": "conv_1"} for text in ("Go.", "On.", "Well?")]
    write(tmp_path / "journal", [composed(body, [said("Yes.")], f"resp_{n}") for n, body in enumerate(bodies)])
    found = []
    for calls in (50, 1):
        async with await open_store(sqlite_file(tmp_path / f"{calls}.db")) as store:
            for _ in range(3 if calls == 1 else 0):
                ingest = Ingest(store, tmp_path / "journal", batch_calls=1)
                await ingest._cycle()
                ingest._restart()
            await Ingest(store, tmp_path / "journal").catch_up()
            found.append(await rows(store))
    assert found[0] == found[1]


async def test_an_answer_made_in_the_background_is_told_when_it_is_fetched(store: Store, tmp_path: Path) -> None:
    names = ["background_start", "background_poll", "background_poll"]
    (messages,) = await told(store, tmp_path / "journal", names)
    assert [(message.role, message.content) for message in messages] == [
        ("user", "Think long."), ("assistant", "Thought."),
    ]  # fmt: skip
    assert is_a_line(messages)


async def test_results_that_only_a_compaction_tells_are_told(store: Store, tmp_path: Path) -> None:
    ask, prompt = {"role": "user", "content": "Go."}, {"role": "user", "content": "Go on from this: all is well."}
    history = [ask, said("One."), call("a")]
    cases = [
        composed({"input": [ask]}, [said("One."), call("a")], "resp_1"),
        composed({"input": [*history, output("a"), {"type": "compaction_trigger"}]}, [said("All is well.")], "resp_2"),
        composed({"input": [prompt]}, [said("Two.")], "resp_3"),
    ]
    (messages,) = await told(store, tmp_path / "journal", cases, session="s")
    assert [message.content for message in messages] == ["Go.", "One.", "alpha", prompt["content"], "Two."]
    assert [call.kind for call in await store.calls()] == ["main", "summary", "main"]


async def test_references_mean_what_was_said_before(store: Store, tmp_path: Path) -> None:
    """A script names items of answers by their ids alone, mixed with whole ones."""
    names = ["references_first", "references_second", "references_third", "references_next_turn"]
    (messages,) = await told(store, tmp_path / "journal", names)
    assert is_a_line(messages)
    assert [message.role for message in messages] == ["system", *["user", "assistant"] * 4]


async def test_references_are_known_after_a_restart(store: Store, tmp_path: Path) -> None:
    for names in (["references_first"], ["references_second"]):
        write(tmp_path / "journal", names)
        await Ingest(store, tmp_path / "journal").catch_up()
    (summary,) = await store.summaries()
    assert is_a_line(await store.messages(summary.row.id))


async def test_a_reference_to_what_is_not_known_stays_as_it_came(store: Store, tmp_path: Path) -> None:
    case = composed({"input": [{"id": "msg_0"}, {"role": "user", "content": "Well?"}]}, [said("Yes.")], "resp_1")
    (messages,) = await told(store, tmp_path / "journal", [case])
    assert messages[0].parts[0]["raw"] == {"id": "msg_0"}
