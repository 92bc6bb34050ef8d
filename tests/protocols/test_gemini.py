"""What is particular to the Gemini API. The corpus itself is decoded in `test_conformance`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ocproxy.agents.generic import AGENT
from ocproxy.model import UNNAMED, Json, Message, ModelRequest, Part, Problem, Reply, Text, ToolResult, ToolUse
from ocproxy.protocols.gemini import PROTOCOL
from tests.protocols.corpus import Case, load_cases

BY_NAME = {case.name: case for case in load_cases("gemini")}
STREAM = "/v1beta/models/gemini-3-pro:streamGenerateContent"


def read(body: bytes, status: int = 200, path: str = STREAM, content_type: str = "") -> tuple[Reply, list[Problem]]:
    decoder = PROTOCOL.reply_decoder(path, status, {"content-type": content_type})
    decoder.feed(body)
    return decoder.close(), decoder.problems


def replied(case: Case) -> Reply:
    head = case.response.head
    assert head is not None
    return read(case.response.data, head.status, case.path, head.fields.get("content-type", ""))[0]


def asked(*contents: Json, **fields: Json) -> tuple[ModelRequest, list[Problem]]:
    request, problems = PROTOCOL.decode_request(STREAM, msgspec.json.encode({"contents": contents, **fields}))
    assert request is not None
    return request, problems


def user(*parts: Json) -> Json:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Json) -> Json:
    return {"role": "model", "parts": list(parts)}


def call(name: str, id: str | None = None, **args: Any) -> Json:
    return {"functionCall": {"name": name, "args": args} | ({"id": id} if id else {})}


def answer(name: str, output: str, id: str | None = None) -> Json:
    return {"functionResponse": {"name": name, "response": {"output": output}} | ({"id": id} if id else {})}


def response(*parts: Json, finish: str | None = None, **fields: Json) -> Json:
    return {"candidates": [{"content": model(*parts), **({"finishReason": finish} if finish else {})}], **fields}


def events(*values: Json) -> bytes:
    return b"".join(b"data: %s\r\n\r\n" % msgspec.json.encode(value) for value in values)


def uses(parts: tuple[Part, ...]) -> list[ToolUse]:
    return [part for part in parts if isinstance(part, ToolUse)]


def results(message: Message) -> list[ToolResult]:
    return [part for part in message.parts if isinstance(part, ToolResult)]


@pytest.mark.parametrize(
    ("method", "path", "headers", "ours"),
    [
        ("POST", "/v1/models/gemini-3-pro:generateContent", {}, True),
        ("POST", "/v1beta/models/gemini-3-pro:streamGenerateContent", {}, True),
        ("POST", "/models/gemini-3-pro:countTokens", {}, True),
        ("POST", "/run/x/v1beta/tunedModels/mine-1:generateContent", {}, True),
        ("POST", "/v1internal:streamGenerateContent", {}, True),
        ("POST", "/v1/projects/p/locations/l/publishers/google/models/gemini-3-pro:generateContent", {}, True),
        ("POST", "/projects/p/locations/l/endpoints/123:streamGenerateContent", {}, True),
        ("POST", "/v1beta/models/gemini-3-pro%3AgenerateContent", {}, True),
        ("POST", "/v1beta/models/gemini-embedding-001:embedContent", {}, True),
        ("POST", "/v1internal:loadCodeAssist", {}, False),
        ("POST", "/v1/projects/p/publishers/anthropic/models/claude:streamRawPredict", {}, False),
        ("GET", "/v1beta/models", {}, True),
        ("GET", "/v1beta/models/gemini-3-pro", {}, True),
        ("GET", "/v1/models", {"x-goog-api-key": "k"}, True),
        ("GET", "/v1/models", {}, False),
        ("GET", "/v1beta/models/gemini-3-pro:generateContent", {}, False),
    ],
)
def test_the_protocol_is_told_by_method_and_path(method: str, path: str, headers: dict[str, str], ours: bool) -> None:
    assert PROTOCOL.matches(method, path, headers) is ours


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("first_call", "parallel_results"),
        ("parallel_results", "same_call_again"),
        ("opencode_first", "opencode_results"),
        ("not_streamed", "not_streamed_results"),
        ("not_streamed", "sdk_pieces_resent"),
        ("code_execution_stream", "code_execution_resent"),
        ("end_of_turn", "resumed"),
    ],
)
def test_a_reply_is_the_same_message_when_the_client_sends_it_back(earlier: str, later: str) -> None:
    """An oracle that is not ours: the client put the reply together itself and resends it as history."""
    reply = replied(BY_NAME[earlier])
    request, problems = PROTOCOL.decode_request(BY_NAME[later].path, BY_NAME[later].request.data)
    assert request is not None and not problems
    resent = [message for message in request.messages if message.role == "assistant"][-1]
    assert AGENT.key(resent) == AGENT.key(Message("assistant", reply.parts))
    assert [use.input for use in uses(resent.parts)] == [use.input for use in uses(reply.parts)]
    own = [use.id for use in uses(reply.parts) if use.executor == "agent"]
    assert [result.tool_use_id for result in results(request.messages[-1])] == own


def test_equal_calls_of_one_message_are_several_calls() -> None:
    request, _ = asked(user({"text": "go"}), model(call("look", at=1), call("look", at=1), call("look", at=2)))
    ids = [use.id for use in uses(request.messages[1].parts)]
    assert len(set(ids)) == 3 and all(id.startswith(UNNAMED) for id in ids)


def test_order_and_number_format_of_arguments_do_not_make_another_call() -> None:
    first, _ = asked(model({"functionCall": {"name": "f", "args": {"a": 1, "b": [2]}}}))
    second, _ = asked(model({"functionCall": {"name": "f", "args": {"b": [2.0], "a": 1.0}, "id": "x"}}))
    assert uses(first.messages[0].parts)[0].id == uses(second.messages[0].parts)[0].id


@pytest.mark.parametrize(("field", "value"), [("contents", 7), ("tools", "all"), ("systemInstruction", True)])
def test_a_field_of_a_wrong_type_is_told_and_kept(field: str, value: Json) -> None:
    body = {"contents": [user("go")], "generationConfig": {}, field: value}
    request, problems = PROTOCOL.decode_request(STREAM, msgspec.json.encode(body))
    assert request is not None
    assert request.params == {"generationConfig": {}, field: value}
    assert [problem.code for problem in problems] == ["wrong_type"]


@pytest.mark.parametrize("ids", [("", "", ""), ("a", "b", "c"), ("own-1", "own-2", "own-3")])
@pytest.mark.parametrize("apart", [False, True])
def test_results_meet_their_calls_by_id_or_by_name_and_order(ids: tuple[str, ...], apart: bool) -> None:
    named = ids if ids[0] == "a" else ("", "", "")
    calls = model(call("look", named[0], at=1), call("run", named[1]), call("look", named[2], at=1))
    answers = [answer("run", "ran", ids[1]), answer("look", "first", ids[0]), answer("look", "second", ids[2])]
    contents = [user(part) for part in answers] if apart else [user(*answers)]
    request, problems = asked(calls, *contents)
    found = {result.text: result.tool_use_id for message in request.messages for result in results(message)}
    first, run, second = [use.id for use in uses(request.messages[0].parts)]
    assert (found, problems) == ({"ran": run, "first": first, "second": second}, [])


def test_ids_decide_where_the_order_says_otherwise() -> None:
    request, _ = asked(
        model(call("look", "a", at=1), call("look", "b", at=2)),
        user(answer("look", "2", "b"), answer("look", "1", "a")),
    )
    one, two = uses(request.messages[0].parts)
    assert [(result.text, result.tool_use_id) for result in results(request.messages[1])] == [
        ("2", two.id),
        ("1", one.id),
    ]


@pytest.mark.parametrize("id", [None, "own-1"])
def test_a_result_that_comes_twice_counts_once(id: str | None) -> None:
    once = [model(call("look")), user(answer("look", "seen", id))]
    plain, _ = asked(*once)
    together, _ = asked(once[0], user(answer("look", "seen", id), answer("look", "seen", id)))
    behind, problems = asked(*once, once[1])
    assert plain.messages == together.messages == behind.messages
    assert problems == []


def test_a_second_and_different_result_is_told() -> None:
    request, problems = asked(model(call("look")), user(answer("look", "seen"), answer("look", "else")))
    assert [result.text for result in results(request.messages[1])] == ["seen"]
    assert [problem.code for problem in problems] == ["second_result"]


def test_the_pieces_of_a_turn_are_one_message_with_and_without_thoughts() -> None:
    thought = {"text": "hm", "thought": True, "thoughtSignature": "c2ln"}
    whole, _ = asked(model({"text": "I look."}, call("look")))
    pieces, _ = asked(
        model({"text": "I "}), model(thought), model({"text": "look."}), model({"text": ""}, call("look"))
    )
    signed, _ = asked(model(thought, {"text": "I look.", "thoughtSignature": "c2ln"}, call("look")))
    assert len({AGENT.key(request.messages[0]) for request in (whole, pieces, signed)}) == 1
    assert Text("I look.", {"thoughtSignature": "c2ln"}) in signed.messages[0].parts


@pytest.mark.parametrize(
    ("said", "text", "is_error"),
    [
        ({"output": "a\n"}, "a\n", None),
        ({"error": "no"}, "no", True),
        ({"output": "a", "error": None}, "a", None),
        ({"output": "a", "error": "warned"}, "a", None),
        ({"name": "f", "content": "a"}, "a", None),
        ({"return_value": "a\n"}, "a\n", None),  # Pydantic AI
        ({"result": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb", None),
        ({"lines": 3, "path": "x"}, '{"lines": 3, "path": "x"}', None),
        ({}, "", None),
        ("plain", "plain", None),
    ],
)
def test_the_text_of_a_result_is_its_output(said: Json, text: str, is_error: bool | None) -> None:
    request, _ = asked(model(call("f")), user({"functionResponse": {"name": "f", "response": said}}))
    (result,) = results(request.messages[1])
    assert (result.text, result.is_error, result.content) == (text, is_error, said)


def test_every_prefix_of_a_stream_keeps_the_calls_that_came() -> None:
    case = BY_NAME["first_call"]
    data, whole = case.response.data, replied(case)
    for end in range(0, len(data), 7):
        reply, _ = read(data[:end], content_type="text/event-stream")
        came = data[:end].rpartition(b"\r\n\r\n")[0].count(b'"functionCall"')
        assert uses(reply.parts) == uses(whole.parts)[:came]
        assert reply.complete is (b"finishReason" in data[:end].rpartition(b"\r\n\r\n")[0])


def test_a_stream_is_the_same_as_events_as_an_array_and_whole() -> None:
    last = response({"text": "b"}, finish="STOP", usageMetadata={"promptTokenCount": 3}, responseId="r")
    values = [response({"text": "a"}), last]
    streamed, _ = read(events(*values), content_type="text/event-stream")
    listed, _ = read(msgspec.json.encode(values), content_type="application/json")
    whole, _ = read(msgspec.json.encode({**last, **response({"text": "ab"}, finish="STOP")}))
    assert streamed == listed == whole
    assert (streamed.parts, streamed.complete) == ((Text("ab"),), True)


def test_closing_twice_gives_the_same_reply() -> None:
    for name in ("first_call", "array_stream", "bare_error_in_stream", "not_streamed", "partial_arguments_cut"):
        case = BY_NAME[name]
        assert case.response.head is not None
        decoder = PROTOCOL.reply_decoder(case.path, 200, case.response.head.fields)
        decoder.feed(case.response.data)
        assert decoder.close() == decoder.close()


def test_usage_is_split_as_ours() -> None:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 5,
        "toolUsePromptTokenCount": 11,
        "totalTokenCount": 123,
    }
    found = read(events(response(finish="STOP", usageMetadata=usage)))[0].usage
    assert (found.input, found.cache_read, found.output, found.reasoning) == (51, 60, 12, 5)
    assert 51 + 60 + 12 == usage["totalTokenCount"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (
            b'{"error":{"code":429,"message":"Slow down","status":"RESOURCE_EXHAUSTED"}}',
            429,
            "RESOURCE_EXHAUSTED: Slow down",
        ),
        (b'[{"error":{"code":400,"message":"Bad","status":"INVALID_ARGUMENT"}}]', 400, "INVALID_ARGUMENT: Bad"),
        (b'{"error":{"code":500,"message":"x"}}', 200, "500: x"),
        (b'{"error":"nope"}', 502, "nope"),
        (b"upstream connect error", 503, "HTTP 503: upstream connect error"),
        (b'{"message":"Forbidden"}', 403, 'HTTP 403: {"message":"Forbidden"}'),
        (b"[]", 500, "HTTP 500: []"),
        (b"", 503, "HTTP 503"),
        (b'{"error":{"mess', 503, 'HTTP 503: {"error":{"mess'),
    ],
)
def test_error_bodies_of_any_shape_give_a_sentence(body: bytes, status: int, error: str) -> None:
    assert read(body, status)[0].error == error


def test_arguments_in_pieces_that_do_not_fit_are_told() -> None:
    def piece(**fields: Json) -> Json:
        return {"functionCall": {"willContinue": True, **fields}}

    wrong = [{"jsonPath": "$.a.b", "numberValue": 1}, {"jsonPath": "$..a", "numberValue": 1}, {"jsonPath": 3}, 7]
    far = [{"jsonPath": "$.l[999999]", "stringValue": "x"}]
    body = events(
        response(piece(name="f", partialArgs=[{"jsonPath": "$.a", "stringValue": "x"}])),
        response(piece(partialArgs=wrong + far)),
        response({"functionCall": {}}, finish="STOP"),
    )
    reply, problems = read(body)
    assert uses(reply.parts)[0].input["a"] == "x"
    assert {problem.code for problem in problems} == {"bad_tool_input"}


@pytest.mark.parametrize("depth", [150, 250, 5_000, 100_000])
def test_deep_nesting_costs_one_call_and_not_the_program(depth: int) -> None:
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    body = b'{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":%s}}]}]}' % deep
    request, problems = PROTOCOL.decode_request(STREAM, body)
    assert (request is None) is (depth > 200) and bool(problems) is (depth > 200)
    for data in (b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":%s}}]}}]}' % deep, deep):
        for form in (data, b"[" + data + b"]", b"data: " + data + b"\n\n"):
            msgspec.json.encode(read(form)[0])


def test_a_thousand_parallel_calls_have_a_result_each() -> None:
    calls = [call("f", n=n % 3) for n in range(1000)]
    answers = [answer("f", str(n)) for n in range(1000)]
    request, problems = asked(model(*calls), user(*answers))
    assert len({result.tool_use_id for result in results(request.messages[1])}) == 1000
    assert problems == []
