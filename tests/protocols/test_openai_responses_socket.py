"""Messages of a WebSocket become calls: each with its whole history, and told when it ends."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocproxy.model import ModelRequest, Reply
from ocproxy.protocols.base import SocketCall
from ocproxy.protocols.openai_responses import PROTOCOL
from ocproxy.protocols.openai_responses_socket import ResponsesCalls
from tests.protocols.test_conformance import replace_somewhere
from tests.support.sockets import load_run

Json = dict[str, Any]
LINES = [line for line in load_run("subagent") if line.client or line.server]


def play(case: str) -> dict[int, list[SocketCall]]:
    """The calls of each connection of a recorded run."""
    found: dict[int, list[SocketCall]] = {}
    open_: dict[int, ResponsesCalls] = {}
    for line in load_run(case):
        if line.request is not None:
            open_[line.connection], found[line.connection] = ResponsesCalls(), []
        calls = open_[line.connection]
        if line.client is not None:
            found[line.connection] += calls.client(line.client.encode(), line.at)
        elif line.server is not None:
            found[line.connection] += calls.server(line.server.encode(), line.at)
        elif line.ended is not None:
            found[line.connection] += calls.close(line.at)
            assert calls.problems == []
    return found


def request_of(call: SocketCall) -> ModelRequest:
    decoded, problems = PROTOCOL.decode_request("/v1/responses", call.request)
    assert decoded is not None and problems == []
    return decoded


def reply_of(call: SocketCall) -> Reply:
    decoder = PROTOCOL.reply_decoder("/v1/responses", 101, {})
    decoder.feed(call.response)
    return decoder.close()


def create(**fields: Any) -> bytes:
    return json.dumps({"type": "response.create", "model": "m", **fields}).encode()


def completed(id: str, *output: Json, **fields: Any) -> bytes:
    return json.dumps({"type": "response.completed", "response": {"id": id, "output": output}, **fields}).encode()


def said(text: str) -> Json:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def test_each_call_of_a_run_has_its_whole_history() -> None:
    first, second = play("code_mode").values()
    requests = [request_of(call) for call in [*first, *second]]
    assert [request.endpoint for request in requests] == ["prewarm", *["generate"] * 11, "prewarm", *["generate"] * 3]
    mains = [request for request in requests if request.endpoint == "generate"]
    for before, after in zip(mains, mains[1:], strict=False):
        assert [m.role for m in after.messages[: len(before.messages)]] == [m.role for m in before.messages]
        assert len(after.messages) == len(before.messages) + 2
    assert all(request.continues is msgspec.UNSET and len(request.tools) == 3 for request in mains)
    assert all(reply_of(call).complete and call.is_ended for call in [*first, *second])


def test_an_answer_is_the_same_message_in_the_next_call() -> None:
    for calls in play("code_mode").values():
        mains = [call for call in calls if request_of(call).endpoint == "generate"]
        for before, after in zip(mains, mains[1:], strict=False):
            place = len(request_of(before).messages)
            resent, answer = request_of(after).messages[place].parts, reply_of(before).parts
            assert resent == answer


def test_a_connection_that_breaks_leaves_the_call_as_far_as_it_came() -> None:
    calls = play("drops")
    broken = calls[1][-1]
    assert not broken.is_ended
    assert [type(part).__name__ for part in reply_of(broken).parts] == ["Reasoning", "Text", "ToolUse", "ToolUse"]
    assert [call.is_ended for call in calls[3]] == [True, True, True]


def test_an_error_message_ends_its_call() -> None:
    last = play("usage_limit")[1][-1]
    assert last.is_ended
    assert reply_of(last).error is not None


def test_the_history_goes_on_behind_a_sealed_summary() -> None:
    requests = [request_of(call) for call in play("compaction")[1]]
    assert [request.endpoint for request in requests] == [
        "prewarm",
        "generate",
        "generate",
        "compact",
        *["generate"] * 2,
    ]
    assert len(requests[5].messages) == len(requests[4].messages) + 2


def test_two_connections_at_once_do_not_meet() -> None:
    assert {number: [call.ordinal for call in calls] for number, calls in play("subagent").items()} == {
        1: [1, 2, 3, 4, 5],
        2: [1, 2, 3, 4],
    }


def test_a_delta_of_an_unknown_response_says_what_it_follows() -> None:
    calls = ResponsesCalls()
    calls.client(create(input="More.", previous_response_id="resp_elsewhere"), 1)
    (call,) = calls.server(completed("resp_2", said("Yes.")), 2)
    assert request_of(call).continues == "resp_elsewhere"
    calls.client(create(input="On.", previous_response_id="resp_2"), 3)
    (call,) = calls.server(completed("resp_3"), 4)
    assert request_of(call).continues == "resp_2"


def test_a_history_may_be_continued_twice() -> None:
    calls = ResponsesCalls()
    calls.client(create(input="One."), 1)
    calls.server(completed("resp_1", said("Yes.")), 2)
    for id in ("resp_2", "resp_3"):
        calls.client(create(input="Two.", previous_response_id="resp_1"), 3)
        (call,) = calls.server(completed(id), 4)
        assert [message.role for message in request_of(call).messages] == ["user", "assistant", "user"]


def test_items_that_only_their_events_told_belong_to_the_history() -> None:
    calls = ResponsesCalls()
    calls.client(create(input="One."), 1)
    calls.server(json.dumps({"type": "response.output_item.done", "output_index": 0, "item": said("Yes.")}).encode(), 2)
    calls.server(completed("resp_1"), 2)
    calls.client(create(input="Two.", previous_response_id="resp_1"), 3)
    (call,) = calls.server(completed("resp_2"), 4)
    assert len(request_of(call).messages) == 3


def test_lanes_of_one_connection_are_told_apart() -> None:
    calls = ResponsesCalls()
    calls.client(create(input="One.", stream_id="a"), 1)
    calls.client(create(input="Two.", stream_id="b"), 2)
    (second,) = calls.server(completed("resp_b", stream_id="b"), 3)
    (first,) = calls.server(completed("resp_a", stream_id="a"), 4)
    assert (reply_of(second).id, second.began, reply_of(first).id, first.began) == ("resp_b", 2, "resp_a", 1)


def test_calls_that_wait_for_each_other_are_answered_in_their_order() -> None:
    calls = ResponsesCalls()
    calls.client(create(input="One."), 1)
    calls.client(create(input="Two."), 2)
    (first,) = calls.server(completed("resp_1"), 3)
    (second,) = calls.server(completed("resp_2"), 4)
    assert [request_of(call).messages[0].parts[0].text for call in (first, second)] == ["One.", "Two."]  # type: ignore[union-attr]


def test_steered_input_is_a_call_that_the_server_begins() -> None:
    calls = ResponsesCalls()
    calls.client(create(input="One.", instructions="Be brief."), 1)
    calls.client(json.dumps({"type": "response.steer", "previous_response_id": "resp_1", "input": "No!"}).encode(), 2)
    calls.server(completed("resp_1", said("Yes.")), 3)
    created = {"type": "response.created", "response": {"id": "resp_2", "previous_response_id": "resp_1"}}
    calls.server(json.dumps(created).encode(), 4)
    (call,) = calls.server(completed("resp_2"), 5)
    assert len(request_of(call).messages) == 3
    assert request_of(call).system


def test_line_ends_between_the_tokens_of_a_message_do_no_harm() -> None:
    calls = ResponsesCalls()
    calls.client(create(input="One."), 1)
    (call,) = calls.server(b'{"type":\r\n"response.completed",\n\n"response":{"id":"resp_1"}}', 2)
    assert reply_of(call).id == "resp_1"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'{"type":7}',
        b'{"type":[]}',
        b'{"type":{},"stream_id":[]}',
        b'{"type":"response.created"}',
        b"\xff",
    ],
)
def test_odd_messages_never_raise(message: bytes) -> None:
    calls = ResponsesCalls()
    assert calls.client(message, 1) == calls.server(message, 1) == []
    calls.client(create(input=[1, None, {"type": []}], previous_response_id=5), 1)
    assert calls.server(message, 1) == []
    (call,) = calls.close(2)
    PROTOCOL.decode_request("/responses", call.request)


@settings(max_examples=200, deadline=None)
@given(choice=st.data())
def test_wrong_types_at_any_place_of_any_message_never_raise(choice: st.DataObject) -> None:
    calls = ResponsesCalls()
    found: list[SocketCall] = []
    for line in choice.draw(st.lists(st.sampled_from(LINES), max_size=8)):
        message = json.dumps(replace_somewhere(json.loads(line.client or line.server or "0"), choice)).encode()
        found += (calls.client if line.client else calls.server)(message, 1)
    for call in [*found, *calls.close(2)]:
        PROTOCOL.decode_request("/v1/responses", call.request)
        reply_of(call)


def test_problems_go_with_the_next_call() -> None:
    calls = ResponsesCalls()
    calls.client(b"{", 1)
    calls.client(create(input="One."), 1)
    (call,) = calls.server(completed("resp_1"), 2)
    assert [problem.code for problem in call.problems] == ["bad_json"]
    assert calls.problems == []
