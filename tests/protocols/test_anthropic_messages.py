"""What is particular to Anthropic Messages. The corpus itself is decoded in `test_conformance`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ocproxy.model import Reasoning, Reply, Text, ToolResult, ToolUse, Usage
from ocproxy.protocols.anthropic_messages import PROTOCOL
from tests.protocols.corpus import load_cases

BY_NAME = {case.name: case for case in load_cases("anthropic_messages")}
EVENTS = {"content-type": "text/event-stream"}


def read(body: bytes, status: int = 200, headers: dict[str, str] | None = None, path: str = "/v1/messages") -> Reply:
    decoder = PROTOCOL.reply_decoder(path, status, headers or {})
    decoder.feed(body)
    return decoder.close()


def events(*values: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (v["type"].encode(), msgspec.json.encode(v)) for v in values)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("first_call", "tool_results"),
        ("first_call_older", "tool_results_older"),
        ("parallel_tools", "after_parallel_tools"),
        ("drop_behind_tool", "after_drop"),
    ],
)
def test_the_client_sends_back_what_we_read_in_the_reply(earlier: str, later: str) -> None:
    """An oracle that is not ours: the client put the stream together itself and resends it as history."""
    reply = read(BY_NAME[earlier].response.data, headers=EVENTS)
    request, _ = PROTOCOL.decode_request("/v1/messages", BY_NAME[later].request.data)
    assert request is not None
    resent = [message for message in request.messages if message.role == "assistant"][-1]
    assert len(resent.parts) == len(reply.parts) > 1
    for ours, theirs in zip(reply.parts, resent.parts, strict=True):
        match ours, theirs:
            case Text(), Text():
                assert theirs.text == ours.text
            case Reasoning(), Reasoning():
                assert theirs.signature == ours.signature
            case ToolUse(), ToolUse():
                assert (theirs.id, theirs.name) == (ours.id, ours.name)
                assert ours.input.items() <= theirs.input.items()  # the client adds defaults
            case _:
                raise AssertionError(f"{ours} came back as {theirs}")
    results = [part for part in request.messages[-1].parts if isinstance(part, ToolResult)]
    assert [result.tool_use_id for result in results] == [p.id for p in reply.parts if isinstance(p, ToolUse)]


@pytest.mark.parametrize(
    ("method", "path", "headers", "ours"),
    [
        ("POST", "/v1/messages", {}, True),
        ("POST", "/messages", {}, True),
        ("POST", "/run/x/v1/messages/count_tokens", {}, True),
        ("GET", "/v1/messages", {}, False),
        ("POST", "/v1/messages/batches", {}, False),
        ("POST", "/v1/chat/completions", {}, False),
        ("POST", "/v1/threads/thread_1/messages", {}, False),
        ("POST", "/threads/v1/messages", {"anthropic-version": "2023-06-01"}, True),
    ],
)
def test_the_protocol_is_told_by_method_and_path(method: str, path: str, headers: dict[str, str], ours: bool) -> None:
    assert PROTOCOL.matches(method, path, headers) is ours


def test_a_stream_is_a_stream_whatever_the_content_type_says() -> None:
    case = BY_NAME["first_call"]
    expected = read(case.response.data, headers=EVENTS)
    assert expected.parts
    for headers in ({}, {"content-type": "application/json"}, {"content-type": "text/plain"}):
        assert read(case.response.data, headers=headers) == expected


def test_json_is_json_whatever_the_content_type_says() -> None:
    case = BY_NAME["not_streamed"]
    assert read(case.response.data, headers=EVENTS) == read(case.response.data) != Reply()


def test_every_prefix_of_a_stream_keeps_the_blocks_that_were_complete() -> None:
    data = BY_NAME["first_call"].response.data
    whole = read(data, headers=EVENTS)
    assert len(whole.parts) == 4
    for end in range(0, len(data) - 1, 7):
        reply = read(data[:end], headers=EVENTS)
        stopped = data[:end].rpartition(b"\n\n")[0].count(b"event: content_block_stop")
        assert reply.parts[:stopped] == whole.parts[:stopped]
        assert not reply.complete or b"message_stop" in data[:end]
        for part in reply.parts[stopped:]:
            assert not isinstance(part, ToolUse) or (not part.complete and part.input == {})


def test_the_parts_of_a_message_may_come_interleaved() -> None:
    reply = read(
        events(
            {"type": "message_start", "message": {"id": "m", "model": "x"}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "N"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": '{"k":1}'},
            },
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b"}},
            {"type": "content_block_stop", "index": 1},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_stop"},
        )
    )
    assert reply.parts == (Text("ab"), ToolUse("t", "N", {"k": 1}))
    assert reply.complete


def test_a_hole_in_the_record_costs_what_was_in_it() -> None:
    """Bytes that could not be journalled: the message and a block begin inside the hole."""
    decoder = PROTOCOL.reply_decoder("/v1/messages", 200, EVENTS)
    decoder.feed(
        events(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "the rest"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
            {"type": "message_stop"},
        )
    )
    assert decoder.close().parts == (Text("the rest"),)
    assert {problem.code for problem in decoder.problems} == {"missing_event"}


def test_closing_twice_gives_the_same_reply() -> None:
    decoder = PROTOCOL.reply_decoder("/v1/messages", 200, EVENTS)
    decoder.feed(BY_NAME["drop_inside_arguments"].response.data)
    assert decoder.close() == decoder.close()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}', "rate_limit_error: Slow down"),
        (b'{"error":{"code":"context_length","message":"too long"}}', "context_length: too long"),
        (b'{"error":"nope"}', "nope"),
        (b'{"message":"Forbidden"}', "Forbidden"),
        (b"upstream connect error", "HTTP 503: upstream connect error"),
        (b"", "HTTP 503"),
        (b'{"type":"error","err', 'HTTP 503: {"type":"error","err'),
    ],
)
def test_error_bodies_of_any_shape_give_a_sentence(body: bytes, error: str) -> None:
    assert read(body, 503).error == error


def test_a_json_error_with_status_200_is_an_error() -> None:
    assert read(b'{"type":"error","error":{"type":"api_error","message":"x"}}').error == "api_error: x"


def test_usage_that_an_event_repeats_as_zero_or_null_is_not_forgotten() -> None:
    reply = read(
        events(
            {"type": "message_start", "message": {"usage": {"input_tokens": 100, "cache_read_input_tokens": 7}}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"input_tokens": 0, "cache_read_input_tokens": None, "output_tokens": 5},
            },
            {"type": "message_stop"},
        )
    )
    assert reply.usage == Usage(input=100, output=5, cache_read=7)


@pytest.mark.parametrize(
    ("split", "total", "expected"),
    [
        ((456, 100), 556, (456, 100)),
        ((456, 0), 600, (600, 0)),
        ((0, 456), 600, (0, 600)),
        ((456, 100), 600, (None, None)),
    ],
)
def test_shares_of_cache_writes_never_contradict_their_total(
    split: tuple[int, int], total: int, expected: tuple[int | None, int | None]
) -> None:
    usage = {
        "cache_creation_input_tokens": total,
        "cache_creation": {"ephemeral_5m_input_tokens": split[0], "ephemeral_1h_input_tokens": split[1]},
    }
    read_usage = read(msgspec.json.encode({"content": [], "usage": usage})).usage
    assert (read_usage.cache_write_5m, read_usage.cache_write_1h) == expected
    assert read_usage.cache_write == total


def test_a_stream_with_an_error_is_not_complete_even_if_it_goes_on_to_its_end() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    reply = read(events({"type": "message_start", "message": {}}, error, {"type": "message_stop"}))
    assert (reply.error, reply.complete) == ("overloaded_error: Overloaded", False)
