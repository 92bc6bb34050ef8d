"""Anthropic Messages behind Amazon's and Google's doors. The corpus itself is decoded in `test_conformance`."""

from __future__ import annotations

import pytest

from ocproxy.agents.generic import AGENT
from ocproxy.ingest.interpret import interpret
from ocproxy.model import Message, ModelRequest, Reply, ToolResult, ToolUse
from ocproxy.protocols import anthropic_bedrock, anthropic_vertex
from ocproxy.protocols.anthropic_stream import StreamedReply
from tests.protocols.corpus import Case, load_cases
from tests.protocols.test_eventstream import frame, text

BEDROCK = {case.name: case for case in load_cases("anthropic_bedrock")}
VERTEX = {case.name: case for case in load_cases("anthropic_vertex")}
FRAMES = "application/vnd.amazon.eventstream"


def read(case: Case, data: bytes | None = None) -> Reply:
    head = case.response.head
    assert head is not None
    decoder = case.protocol.reply_decoder(case.path, head.status, head.fields)
    decoder.feed(case.response.data if data is None else data)
    return decoder.close()


def asked(case: Case) -> ModelRequest:
    request, problems = case.protocol.decode_request(case.path, case.request.data)
    assert request is not None and not problems
    return request


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/model/anthropic.claude-3-haiku-20240307-v1:0/invoke", True),
        ("/run/x/model/us.anthropic.claude-opus-4-1%3A0/invoke-with-response-stream", True),
        ("/model/arn:aws:bedrock:us-east-1:1:application-inference-profile/a/invoke", True),
        ("/model/anthropic.claude-3-haiku-20240307-v1:0/converse-stream", True),
        ("/model/amazon.nova-pro-v1:0/invoke", False),
        ("/model/anthropic.claude/async-invoke", False),
        ("/v1/messages", False),
    ],
)
def test_bedrock_is_told_by_method_and_path(path: str, ours: bool) -> None:
    assert anthropic_bedrock.PROTOCOL.matches("POST", path, {}) is ours
    assert not anthropic_bedrock.PROTOCOL.matches("GET", path, {})


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4@20250514:rawPredict", True),
        ("/projects/p/locations/l/publishers/anthropic/models/claude-opus-4@20250514:streamRawPredict", True),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", True),
        ("/v1/projects/p/locations/l/publishers/google/models/gemini-3-pro:rawPredict", False),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude:predict", False),
    ],
)
def test_vertex_is_told_by_method_and_path(path: str, ours: bool) -> None:
    assert anthropic_vertex.PROTOCOL.matches("POST", path, {}) is ours
    assert not anthropic_vertex.PROTOCOL.matches("GET", path, {})


@pytest.mark.parametrize("cases", [BEDROCK, VERTEX], ids=["bedrock", "vertex"])
def test_the_model_is_the_one_of_the_path(cases: dict[str, Case]) -> None:
    request = asked(cases["stream"])
    assert request.model is not None and "claude-sonnet-4-5" in request.model
    assert (request.stream, asked(cases["not_streamed"]).stream) == (True, False)


@pytest.mark.parametrize("cases", [BEDROCK, VERTEX], ids=["bedrock", "vertex"])
@pytest.mark.parametrize("name", ["stream", "claude_code"])
def test_the_client_sends_back_what_we_read_in_the_reply(cases: dict[str, Case], name: str) -> None:
    reply, request = read(cases[name]), asked(cases[f"{name}_results"])
    assert request.messages[1].parts == reply.parts
    assert AGENT.key(request.messages[1]) == AGENT.key(Message("assistant", reply.parts))
    (use,) = [part for part in reply.parts if isinstance(part, ToolUse)]
    (result,) = [part for part in request.messages[2].parts if isinstance(part, ToolResult)]
    assert result.tool_use_id == use.id


@pytest.mark.parametrize("cases", [BEDROCK, VERTEX], ids=["bedrock", "vertex"])
def test_claude_code_is_known_and_names_its_session(cases: dict[str, Case]) -> None:
    found = [interpret(cases[name].exchange) for name in ("claude_code", "claude_code_results")]
    assert {item.identity.agent for item in found} == {"claude-code"}
    assert {item.identity.workdir for item in found} == {"/home/u/w"}
    assert {item.identity.session for item in found} == {"11111111-2222-4333-8444-555555555555"}


def test_a_stream_and_a_whole_reply_say_the_same() -> None:
    for cases in (BEDROCK, VERTEX):
        assert read(cases["stream"]) == read(cases["not_streamed"])


def test_every_prefix_of_a_framed_stream_keeps_the_blocks_that_were_complete() -> None:
    case = BEDROCK["stream"]
    whole = read(case).parts
    assert len(whole) == 3
    seen: set[int] = set()
    for end in range(0, len(case.response.data), 5):
        parts = read(case, case.response.data[:end]).parts
        seen.add(len(parts))
        for part in parts:
            assert part == whole[parts.index(part)] or part is parts[-1]
            assert not isinstance(part, ToolUse) or part.complete or part.input == {}
    assert seen == {0, 1, 2, 3}


def test_an_exception_keeps_what_came_before_it() -> None:
    reply = read(BEDROCK["exception_in_stream"])
    assert reply.parts and not reply.complete
    assert reply.error == "throttlingException: Too many tokens, please wait before trying again."


def test_the_error_type_of_the_head_is_named() -> None:
    assert (read(BEDROCK["throttled_429"]).error or "").startswith("ThrottlingException: Too many requests")


CHUNK = {":message-type": "event", ":event-type": "chunk"}


@pytest.mark.parametrize(
    ("headers", "payload", "code"),
    [
        (CHUNK, b"not JSON", "bad_json"),
        (CHUNK, b"[]", "wrong_type"),
        (CHUNK, b"{}", "wrong_type"),
        (CHUNK, b'{"bytes":7}', "wrong_type"),
        (CHUNK, b'{"bytes":"%%%"}', "bad_json"),
        (CHUNK, '{"bytes":"é"}'.encode(), "bad_json"),
        (CHUNK, b'{"bytes":"W10="}', "wrong_type"),  # an event that is a list
        (CHUNK, b'{"bytes":"ewo="}', "bad_json"),  # one that breaks off
        ({":message-type": "event", ":event-type": "initial-response"}, b"{}", "unknown_event"),
        ({}, b"{}", "unknown_event"),
    ],
)
def test_a_frame_that_holds_no_event_costs_itself_alone(headers: dict[str, str], payload: bytes, code: str) -> None:
    whole = BEDROCK["stream"]
    decoder = anthropic_bedrock.PROTOCOL.reply_decoder(whole.path, 200, {"content-type": FRAMES})
    decoder.feed(frame(b"".join(text(name, value) for name, value in headers.items()), payload))
    decoder.feed(whole.response.data)
    assert decoder.close() == read(whole)
    assert [problem.code for problem in decoder.problems] == [code]


@pytest.mark.parametrize(
    ("headers", "payload", "error"),
    [
        ({":message-type": "error", ":error-code": "500", ":error-message": "Broken"}, b"", "500: Broken"),
        ({":message-type": "exception", ":exception-type": "x"}, b'{"Message":"m"}', "x: m"),
        ({":message-type": "exception", ":exception-type": "x"}, b"plain", "x: plain"),
        ({":message-type": "exception", ":exception-type": "x"}, b"", "x"),
        ({":message-type": "exception"}, b"[1]", "exception: [1]"),
    ],
)
def test_errors_of_any_shape_give_a_sentence(headers: dict[str, str], payload: bytes, error: str) -> None:
    decoder = anthropic_bedrock.PROTOCOL.reply_decoder(BEDROCK["stream"].path, 200, {"content-type": FRAMES})
    decoder.feed(frame(b"".join(text(name, value) for name, value in headers.items()), payload))
    reply = decoder.close()
    assert (reply.error, reply.complete) == (error, False)


def test_the_stream_of_vertex_is_that_of_the_api() -> None:
    case = VERTEX["stream"]
    stream = StreamedReply([])
    stream.feed(case.response.data)
    assert stream.close() == read(case)
