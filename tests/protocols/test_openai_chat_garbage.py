"""Hostile and sloppy values inside OpenAI bodies. Mutations of the corpus are in `test_conformance`."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocproxy.model import Problem, Reply, ToolUse
from ocproxy.protocols.openai_chat import PROTOCOL
from ocproxy.protocols.problems import MAX_MESSAGE, MAX_PROBLEMS

PATH = "/v1/chat/completions"
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
INPUT = st.dictionaries(st.text(max_size=4), VALUE, max_size=3)
CALLS = st.lists(st.tuples(st.sampled_from(["read", "write", "bash"]), INPUT), min_size=1, max_size=4)
# How a server tells its calls: is the index there, always 0, or missing; are id and name in each piece.
SERVERS = ["reference", "all at zero", "no index", "repeats", "objects", "no ids"]


def read_both(request: bytes, response: bytes, content_type: str = "") -> Reply:
    """Decode both sides; what they give must be writable as JSON, as the store writes it."""
    model_request, problems = PROTOCOL.decode_request(PATH, request)
    decoder = PROTOCOL.reply_decoder(PATH, 200, {"content-type": content_type})
    decoder.feed(response)
    reply = decoder.close()
    for value in (model_request, problems, reply, decoder.problems):
        msgspec.json.encode(value)
    return reply


def pieces_of(server: str, at: int, name: str, text: str, cuts: list[int]) -> list[dict[str, Any]]:
    """One call as a server of this kind sends it, its arguments cut at `cuts`."""
    whole = server in ("all at zero", "objects", "no ids")
    bounds = [0, *([] if whole else sorted(cut % (len(text) + 1) for cut in cuts)), len(text)]
    pieces = []
    for number, (start, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        piece: dict[str, Any] = {"index": 0 if server == "all at zero" else at}
        if server == "no index":
            del piece["index"]
        function: dict[str, Any] = {"arguments": text[start:end]}
        if number == 0 or server == "repeats":
            piece |= {"type": "function"} | ({} if server == "no ids" else {"id": f"call_{at}"})
            function["name"] = name
        if server == "objects":
            function["arguments"] = json.loads(text)
        pieces.append(piece | {"function": function})
    return pieces


@settings(max_examples=200, deadline=None)
@given(server=st.sampled_from(SERVERS), calls=CALLS, cuts=st.lists(st.integers(0, 1000), max_size=5))
def test_calls_are_the_same_however_a_server_tells_them(
    server: str, calls: list[tuple[str, dict[str, Any]]], cuts: list[int]
) -> None:
    chunks = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]}
        for at, (name, given) in enumerate(calls)
        for piece in pieces_of(server, at, name, json.dumps(given), cuts)
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    body = b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
    reply = read_both(b"{}", body)
    found = [(part.name, part.input) for part in reply.parts if isinstance(part, ToolUse)]
    assert found == [(name, given) for name, given in calls]
    assert len({part.id for part in reply.parts if isinstance(part, ToolUse)}) == len(calls)


@pytest.mark.parametrize("depth", [150, 250, 990, 5_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_costs_one_call_and_not_the_program(depth: int, opening: bytes, closing: bytes) -> None:
    deep = opening * depth + b"1" + closing * depth
    inner = json.dumps('{"x":' + deep.decode() + "}").encode()
    for arguments in (b'{"x":%s}' % deep, inner):
        message = b'{"content":"x","tool_calls":[{"id":"t","function":{"name":"N","arguments":%s}}]}' % arguments
        for body in (deep, b'{"messages":[%s]}' % message, b'{"choices":[{"message":%s}]}' % message):
            read_both(body, body)
        event = b'data: {"choices":[{"delta":%s,"finish_reason":"stop"}]}\n\n' % message
        reply = read_both(b"", event, content_type="text/event-stream")
        for use in reply.parts:
            assert not isinstance(use, ToolUse) or use.complete == (depth < 200)


@pytest.mark.parametrize(
    "value",
    [b'"\\ud800"', b'"a\\udc00b"', b"1e999", b"9" * 5000, b'"\xff\xfe"', b'"\\u0000"', b"-0.0", b"null", b"true"],
)
def test_hostile_values_are_mended_or_told(value: bytes) -> None:
    body = b'{"choices":[{"message":{"content":"x","refusal":%s,"new":%s}}],"usage":{"prompt_tokens":%s},"id":%s}'
    reply = read_both(b'{"model":%s,"messages":[]}' % value, body % (value, value, value, value))
    assert reply.parts


def test_counts_that_are_no_counts_are_left_out() -> None:
    for count in (b"-1", b"true", b'"7"', b"1.5", b"9" * 30, b"[]", b"{}"):
        decoder = PROTOCOL.reply_decoder(PATH, 200, {})
        decoder.feed(b'{"choices":[{"message":{}}],"usage":{"prompt_tokens":%s,"completion_tokens":3}}' % count)
        usage = decoder.close().usage
        assert (usage.input, usage.output) == (None, 3)
        assert decoder.problems == [Problem("wrong_type", "prompt_tokens is not a count")]


def test_a_flood_of_problems_is_bounded() -> None:
    decoder = PROTOCOL.reply_decoder(PATH, 200, {"content-type": "text/event-stream"})
    for number in range(500):
        decoder.feed(b'data: {"type":"new_%d"}\n\n' % number)
    decoder.close()
    assert len(decoder.problems) == MAX_PROBLEMS + 1
    assert decoder.problems[-1].code == "more_problems"


def test_what_a_problem_quotes_is_bounded() -> None:
    decoder = PROTOCOL.reply_decoder(PATH, 200, {})
    decoder.feed(b'{"choices":[{"message":{"content":[{"type":"%s"}]}}]}' % (b"x" * 1_000_000))
    decoder.close()
    assert [len(problem.message) for problem in decoder.problems] == [MAX_MESSAGE + 1]


def test_choices_and_calls_without_end_cost_no_more_than_their_bytes() -> None:
    """Indexes are a stranger's numbers: nothing is made for those in between."""
    piece = b'{"index":%d,"id":"c%d","function":{"name":"n","arguments":"{}"}}'
    body = b"".join(
        b'data: {"choices":[{"index":%d,"delta":{"tool_calls":[%s]}}]}\n\n' % (n * 10**9, piece % (n * 10**9, n))
        for n in range(300)
    )
    reply = read_both(b"{}", body, content_type="text/event-stream")
    assert len(reply.parts) == 300
