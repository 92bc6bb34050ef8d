"""Hostile values inside Anthropic bodies. Mutations of the corpus are in `test_conformance`."""

from __future__ import annotations

import msgspec
import pytest

from ocproxy.model import Problem, Reply
from ocproxy.protocols.anthropic_messages import PROTOCOL
from ocproxy.protocols.problems import MAX_MESSAGE, MAX_PROBLEMS


def read_both(request: bytes, response: bytes, content_type: str = "") -> Reply:
    """Decode both sides; what they give must be writable as JSON, as the store writes it."""
    model_request, problems = PROTOCOL.decode_request("/v1/messages", request)
    decoder = PROTOCOL.reply_decoder("/v1/messages", 200, {"content-type": content_type})
    decoder.feed(response)
    reply = decoder.close()
    for value in (model_request, problems, reply, decoder.problems):
        msgspec.json.encode(value)
    return reply


@pytest.mark.parametrize("depth", [150, 250, 990, 5_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_costs_one_call_and_not_the_program(depth: int, opening: bytes, closing: bytes) -> None:
    deep = opening * depth + b"1" + closing * depth
    block = b'{"type":"tool_use","id":"t","name":"N","input":{"x":%s}}' % deep
    message = b'{"role":"assistant","content":[%s]}' % block
    for body in (deep, b'{"messages":[%s]}' % message, b'{"content":[%s]}' % block):
        reply = read_both(body, body)
        assert bool(reply.parts) == (b"content" in body and b"messages" not in body and depth < 200)
    event = b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":%s}\n\n' % block
    read_both(b"", event, content_type="text/event-stream")


@pytest.mark.parametrize(
    "value",
    [b'"\\ud800"', b'"a\\udc00b"', b"1e999", b"9" * 5000, b'"\xff\xfe"', b'"\\u0000"', b"-0.0", b"null", b"true"],
)
def test_hostile_values_are_mended_or_told(value: bytes) -> None:
    text = b'{"content":[{"type":"text","text":%s}],"usage":{"input_tokens":%s},"id":%s,"new":%s}'
    reply = read_both(b'{"model":%s,"messages":[]}' % value, text % (value, value, value, value))
    assert len(reply.parts) == 1


def test_counts_that_are_no_counts_are_left_out() -> None:
    for count in (b"-1", b"true", b'"7"', b"1.5", b"9" * 30, b"[]", b"{}"):
        decoder = PROTOCOL.reply_decoder("/v1/messages", 200, {})
        decoder.feed(b'{"content":[],"usage":{"input_tokens":%s,"output_tokens":3}}' % count)
        usage = decoder.close().usage
        assert (usage.input, usage.output) == (None, 3)
        assert decoder.problems == [Problem("wrong_type", "input_tokens is not a count")]


def test_a_flood_of_problems_is_bounded() -> None:
    decoder = PROTOCOL.reply_decoder("/v1/messages", 200, {"content-type": "text/event-stream"})
    for number in range(500):
        decoder.feed(b'data: {"type":"new_%d"}\n\n' % number)
    decoder.close()
    assert len(decoder.problems) == MAX_PROBLEMS + 1
    assert decoder.problems[-1].code == "more_problems"


def test_what_a_problem_quotes_is_bounded() -> None:
    decoder = PROTOCOL.reply_decoder("/v1/messages", 200, {})
    decoder.feed(b'{"content":[{"type":"%s"}]}' % (b"x" * 1_000_000))
    decoder.close()
    assert [len(problem.message) for problem in decoder.problems] == [MAX_MESSAGE + 1]
