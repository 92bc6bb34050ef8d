"""What is particular to OpenAI Chat Completions. The corpus itself is decoded in `test_conformance`."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ocproxy.agents.generic import AGENT as GENERIC
from ocproxy.model import Media, Message, ModelRequest, Problem, Reasoning, Reply, Text, ToolResult, ToolUse, Usage
from ocproxy.protocols.openai_chat import PROTOCOL
from ocproxy.sessions.chain import message_key
from tests.protocols.corpus import load_cases

BY_NAME = {case.name: case for case in load_cases("openai_chat")}
PATH = "/v1/chat/completions"


def read(body: bytes, status: int = 200, path: str = PATH) -> Reply:
    return read_with_problems(body, status, path)[0]


def read_with_problems(body: bytes, status: int = 200, path: str = PATH) -> tuple[Reply, list[Problem]]:
    decoder = PROTOCOL.reply_decoder(path, status, {})
    decoder.feed(body)
    return decoder.close(), decoder.problems


def request(*messages: dict[str, Any], **fields: Any) -> ModelRequest:
    found, _ = PROTOCOL.decode_request(PATH, msgspec.json.encode({"model": "m", "messages": messages, **fields}))
    assert found is not None
    return found


def completion(message: dict[str, Any], **fields: Any) -> bytes:
    return msgspec.json.encode({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **fields})


def events(*values: dict[str, Any] | str) -> bytes:
    return b"".join(b"data: %s\n\n" % (v.encode() if isinstance(v, str) else msgspec.json.encode(v)) for v in values)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call(id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    told = {} if id is None else {"id": id}
    return {**told, "type": "function", "function": {"name": name, "arguments": arguments}}


def key(message: Message) -> str | None:
    return message_key(GENERIC, message)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("first_call", "tool_results"),
        ("first_call", "resent_by_sdk"),
        ("mini_first", "mini_second"),
        ("qwen_first", "qwen_second"),
        ("langchain_first", "langchain_second"),
        ("langchain_second", "langchain_third"),
        ("openai_agents_first", "openai_agents_second"),
    ],
)
def test_the_client_sends_back_what_we_read_in_the_reply(earlier: str, later: str) -> None:
    """An oracle that is not ours: the client put the stream together itself and resends it as history."""
    reply = read(BY_NAME[earlier].response.data)
    found, _ = PROTOCOL.decode_request(PATH, BY_NAME[later].request.data)
    assert found is not None
    resent = [message for message in found.messages if message.role == "assistant"][-1]
    said = [part for part in reply.parts if not isinstance(part, Reasoning)]
    assert [part for part in resent.parts if not isinstance(part, Reasoning)] == said
    assert key(resent) == key(Message("assistant", reply.parts))
    results = [part for part in found.messages[-1].parts if isinstance(part, ToolResult)]
    assert [result.tool_use_id for result in results] == [p.id for p in reply.parts if isinstance(p, ToolUse)]


@pytest.mark.parametrize(
    ("method", "path", "headers", "ours"),
    [
        ("POST", "/v1/chat/completions", {}, True),
        ("POST", "/chat/completions", {}, True),
        ("POST", "/run/x/v1/chat/completions/", {}, True),
        ("POST", "/openai/deployments/my-model/chat/completions", {}, True),
        ("POST", "/compatible-mode/v1/chat/completions", {}, True),
        ("POST", "/v1beta/openai/chat/completions", {}, True),
        ("POST", "/v1/embeddings", {}, True),
        ("POST", "/v1/completions", {}, True),
        ("GET", "/v1/chat/completions", {}, False),
        ("GET", "/v1/models", {}, True),
        ("GET", "/v1beta/openai/models", {}, True),
        ("GET", "/v1beta/models", {}, False),
        ("GET", "/v1/models", {"anthropic-version": "2023-06-01"}, False),
        ("GET", "/v1/models", {"x-goog-api-key": "k"}, False),
        ("POST", "/v1/models", {}, False),
        ("POST", "/v1/responses", {}, False),
        ("POST", "/v1/messages", {}, False),
    ],
)
def test_the_protocol_is_told_by_method_and_path(method: str, path: str, headers: dict[str, str], ours: bool) -> None:
    assert PROTOCOL.matches(method, path, headers) is ours


def test_instructions_at_the_head_are_the_system_prompt_and_later_ones_are_messages() -> None:
    found = request(
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": "three"},
    )
    assert found.system == (Text("one"), Text("two", {"role": "developer"}))
    assert [(message.role, message.parts) for message in found.messages] == [
        ("user", (Text("hi"),)),
        ("system", (Text("three"),)),
    ]


def test_results_in_a_row_are_one_message_and_what_the_user_says_behind_them_another() -> None:
    found = request(
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call("a", "r", "{}"), call("b", "r", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [{"type": "text", "text": "2"}, {"type": "text", "text": "3"}],
        },
        {"role": "user", "content": "and?"},
    )
    assert [message.role for message in found.messages] == ["user", "assistant", "user", "user"]
    results = [part for part in found.messages[2].parts if isinstance(part, ToolResult)]
    assert [(result.tool_use_id, result.text) for result in results] == [("a", "1"), ("b", "2\n3")]


@pytest.mark.parametrize(
    ("reply", "resent"),
    [
        ({"content": "hi"}, {"content": [{"type": "text", "text": "hi"}]}),
        ({"content": "", "tool_calls": [call("a", "r", '{"p":1}')]}, {"tool_calls": [call("a", "r", '{ "p" : 1 }')]}),
        ({"content": None, "tool_calls": [call("a", "r", {"p": 1})]}, {"tool_calls": [call("a", "r", '{"p":1}')]}),
        ({"content": "hi", "reasoning_content": "hm"}, {"content": "hi"}),
        ({"content": "hi", "reasoning": "hm", "annotations": []}, {"content": "hi ", "name": "bob", "refusal": None}),
        ({"tool_calls": [call(None, "r", '{"a":1,"b":2}')]}, {"tool_calls": [call("", "r", '{"b": 2, "a": 1}')]}),
        (
            {"function_call": {"name": "r", "arguments": '{"a":1}'}},
            {"function_call": {"name": "r", "arguments": {"a": 1}}},
        ),
        ({"refusal": "no"}, {"content": [{"type": "refusal", "refusal": "no"}]}),
        ({"audio": {"id": "a1", "data": "AA==", "transcript": "hi"}}, {"audio": {"id": "a1"}}),
    ],
)
def test_a_message_that_is_sent_back_in_another_form_has_the_same_key(
    reply: dict[str, Any], resent: dict[str, Any]
) -> None:
    said = read(completion({"role": "assistant", **reply}))
    (heard,) = request({"role": "assistant", **resent}).messages
    assert said.parts and key(heard) == key(Message("assistant", said.parts))


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"reasoning": "a b", "reasoning_content": "a b"}, ["a b"]),
        ({"reasoning": "a", "reasoning_content": "a b"}, ["a b", "a"]),
        ({"reasoning": "a\n\nb", "reasoning_details": ["a", "b"]}, ["a", "b"]),
        ({"reasoning": "b", "reasoning_details": ["abc"]}, ["b", "abc"]),
        ({"reasoning": "", "reasoning_details": []}, []),
    ],
)
def test_reasoning_that_is_told_in_two_fields_is_kept_once(fields: dict[str, Any], texts: list[str]) -> None:
    details = [{"type": "reasoning.summary", "summary": text} for text in fields.pop("reasoning_details", [])]
    parts = read(completion({"content": None, **fields, "reasoning_details": details})).parts
    assert [part.text for part in parts if isinstance(part, Reasoning)] == texts


def test_the_same_calls_without_ids_are_two() -> None:
    parts = read(completion({"tool_calls": [call(None, "r", "{}"), call(None, "r", "{}")]})).parts
    assert len({part.id for part in parts if isinstance(part, ToolUse)}) == 2


def test_results_without_ids_answer_the_calls_in_their_order() -> None:
    found = request(
        {"role": "assistant", "tool_calls": [call("", "r", '{"p":1}'), call("", "w", "{}"), call("", "r", '{"p":2}')]},
        {"role": "tool", "name": "r", "content": "1"},
        {"role": "tool", "tool_call_id": "", "name": "r", "content": "2"},
        {"role": "tool", "content": "3"},
    )
    first, second, third = (part.id for part in found.messages[0].parts if isinstance(part, ToolUse))
    answered = [part.tool_use_id for part in found.messages[1].parts if isinstance(part, ToolResult)]
    assert answered == [first, third, second]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ("", {}),
        (None, {}),
        ("null", {}),
        ('"{\\"a\\": 1}"', {"a": 1}),  # JSON in JSON
        ('{}{"a": 1}', {"a": 1}),  # a gateway's empty start
    ],
)
def test_arguments_come_in_many_forms(arguments: Any, given: dict[str, Any]) -> None:
    reply, problems = read_with_problems(completion({"tool_calls": [call("a", "r", arguments)]}))
    assert (reply.parts, problems) == ((ToolUse("a", "r", given),), [])


@pytest.mark.parametrize("arguments", ["{", "[1]", "5", '"text"', "{} {}x"])
def test_arguments_that_are_no_object_are_kept_as_they_came(arguments: str) -> None:
    reply, problems = read_with_problems(completion({"tool_calls": [call("a", "r", arguments)]}))
    assert reply.parts == (ToolUse("a", "r", {}, complete=False, raw=arguments),)
    assert [problem.code for problem in problems] == ["bad_tool_input"]


def test_every_prefix_of_a_stream_keeps_the_calls_whose_arguments_had_ended() -> None:
    data = BY_NAME["first_call"].response.data
    whole = read(data)
    text, *uses = whole.parts
    assert isinstance(text, Text) and len(uses) == 2
    for end in range(0, len(data) - 1, 7):
        reply = read(data[:end])
        assert not reply.complete or b'"finish_reason":"tool_calls"' in data[:end]
        done = [part for part in reply.parts if isinstance(part, ToolUse) and part.complete]
        assert done == uses[: len(done)]
        for part in reply.parts:
            assert part in whole.parts or isinstance(part, Text) or (isinstance(part, ToolUse) and part.input == {})


def test_a_call_of_an_unfinished_stream_counts_once_its_arguments_ended() -> None:
    reply = read(events(delta(tool_calls=[{"index": 0, **call("a", "bash", '{"command":"ls"}')}])))
    assert (reply.complete, reply.parts) == (False, (ToolUse("a", "bash", {"command": "ls"}),))


def test_a_call_without_arguments_is_complete_only_when_its_message_is() -> None:
    start = delta(tool_calls=[{"index": 0, **call("a", "now", "")}])
    assert read(events(start)).parts == (ToolUse("a", "now", {}, complete=False, raw=""),)
    assert read(events(start, delta("tool_calls"))).parts == (ToolUse("a", "now", {}),)


def test_parallel_calls_may_share_one_id() -> None:
    pieces = [{"index": n, **call("call_0", "r", json.dumps({"n": n}))} for n in range(2)]
    reply = read(events(*(delta(tool_calls=[piece]) for piece in pieces), delta("tool_calls"), "[DONE]"))
    assert [part.input for part in reply.parts if isinstance(part, ToolUse)] == [{"n": 0}, {"n": 1}]


@pytest.mark.parametrize("names", [("r", "r"), ("r", "w")])
@pytest.mark.parametrize("repeats_id", [True, False])
def test_parallel_calls_with_one_id_that_come_in_pieces_are_told_apart_by_their_index(
    names: tuple[str, str], repeats_id: bool
) -> None:
    pieces: list[dict[str, Any]] = []
    for at, name in enumerate(names):
        pieces.append({"index": at, **call("call_0", name, "")})
        more = {"index": at, **({"id": "call_0"} if repeats_id else {})}
        pieces += [{**more, "function": {"arguments": text}} for text in ('{"n"', f":{at}}}")]
    reply = read(events(*(delta(tool_calls=[piece]) for piece in pieces), delta("tool_calls"), "[DONE]"))
    uses = [part for part in reply.parts if isinstance(part, ToolUse)]
    assert [(use.name, use.input) for use in uses] == [(names[0], {"n": 0}), (names[1], {"n": 1})]
    assert (uses[0].id, uses[1].alias) == ("call_0", "call_0")
    assert uses[0].id != uses[1].id


def test_one_call_whose_pieces_have_several_indexes_stays_one() -> None:
    """As LocalAI and SGLang were seen to stream, with the name in each piece."""
    texts = ['{"n"', ":1", "}", ""]
    pieces = [{"index": at, **call("a", "r", text)} for at, text in enumerate(texts)]
    reply = read(events(*(delta(tool_calls=[piece]) for piece in pieces), delta("tool_calls"), "[DONE]"))
    assert reply.parts == (ToolUse("a", "r", {"n": 1}),)


def test_results_of_calls_with_one_id_answer_them_in_their_order() -> None:
    calls = [call("call_0", "r", json.dumps({"n": n})) for n in range(2)]
    results = [{"role": "tool", "tool_call_id": "call_0", "content": str(n)} for n in range(2)]
    body = {"model": "m", "messages": [{"role": "assistant", "tool_calls": calls}, *results]}
    request, _ = PROTOCOL.decode_request("/v1/chat/completions", json.dumps(body).encode())
    assert request
    asked, said = request.messages
    told = [(part.tool_use_id, part.text) for part in said.parts if isinstance(part, ToolResult)]
    assert told == [(part.id, str(n)) for n, part in enumerate(asked.parts) if isinstance(part, ToolUse)]


def test_a_whole_message_in_an_event_is_read_where_no_piece_came() -> None:
    message = {"role": "assistant", "content": "hi", "tool_calls": [call("a", "r", "{}")]}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert read(events(whole, "[DONE]")).parts == (Text("hi"), ToolUse("a", "r", {}))
    assert read(events(delta(content="hi"), whole, "[DONE]")).parts == (Text("hi"),)


def test_a_streamed_answer_in_audio_is_put_together() -> None:
    pieces = [
        {"id": "a1", "transcript": "He"},
        {"data": "UklG"},
        {"transcript": "llo", "data": "Rg=="},
        {"expires_at": 9},
    ]
    reply = read(events(*(delta(audio=piece) for piece in pieces), delta("stop"), "[DONE]"))
    whole = {"id": "a1", "transcript": "Hello", "data": "UklGRg==", "expires_at": 9}
    assert reply.parts == (Media("audio", None, whole),)


def test_pictures_that_a_model_draws_are_kept() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    expected = (Media("image", "image/png", image),)
    assert read(events(delta(images=[image]), delta("stop"), "[DONE]")).parts == expected
    assert read(completion({"content": None, "images": [image]})).parts == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}, Usage(input=10, output=2)),
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage(input=6, output=2, cache_read=4),
        ),
        ({"prompt_tokens": 10, "cached_tokens": 4}, Usage(input=6, cache_read=4)),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4}, Usage(input=6, cache_read=4)),
        (
            {"prompt_tokens": 10, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2},
            Usage(input=5, cache_read=3, cache_write=2),
        ),
        ({"prompt_tokens": 3, "total_tokens": 9}, Usage(input=3, extra={"total_tokens": 9})),
        ({"prompt_tokens": 3, "prompt_tokens_details": None}, Usage(input=3)),
        (None, Usage()),
    ],
)
def test_input_tokens_are_those_that_no_cache_served(usage: Any, expected: Usage) -> None:
    assert read(completion({"content": "x"}, usage=usage)).usage == expected


def test_a_cache_larger_than_the_prompt_is_not_taken_from_it() -> None:
    usage = {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 9}}
    reply, problems = read_with_problems(completion({"content": "x"}, usage=usage))
    assert reply.usage == Usage(input=3, cache_read=9)
    assert [problem.code for problem in problems] == ["wrong_usage"]


def test_usage_counts_wherever_it_stands_in_the_stream() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    for chunks in (
        [delta("stop", content="x"), {"choices": [], "usage": usage}],
        [{**delta("stop", content="x"), "usage": usage}],
        [delta("stop", content="x"), {"choices": None, "usage": usage}],
        [delta("stop", content="x"), {"choices": [], "x_groq": {"usage": usage}}],
        [{**delta(content="x"), "usage": usage}, {**delta("stop"), "usage": {"prompt_tokens": 0}}],
    ):
        reply, problems = read_with_problems(events(*chunks, "[DONE]"))
        assert (reply.usage, reply.complete, problems) == (Usage(input=5, output=2), True, [])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"message":"Slow down","type":"rate_limit_error","code":null}}', "rate_limit_error: Slow down"),
        (b'{"error":{"message":"Bad key","type":"invalid","code":"invalid_key"}}', "invalid (invalid_key): Bad key"),
        (b'{"error":{"code":429,"message":"Busy","metadata":{}}}', "429: Busy"),
        (b'[{"error":{"code":400,"message":"No","status":"INVALID_ARGUMENT"}}]', "400: No"),
        (
            b'{"object":"error","message":"too long","type":"BadRequestError","code":400}',
            "BadRequestError (400): too long",
        ),
        (b'{"error":"nope"}', "nope"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"success":false,"errors":[{"code":7003,"message":"No route"}]}', "7003: No route"),
        (b'{"Message":"Forbidden"}', "Forbidden"),
        (b"{}", "unknown error"),
        (b"upstream connect error", "HTTP 503: upstream connect error"),
        (b"", "HTTP 503"),
        (b'{"error":{"mess', 'HTTP 503: {"error":{"mess'),
    ],
)
def test_error_bodies_of_any_shape_give_a_sentence(body: bytes, error: str) -> None:
    assert read(body, 503).error == error


def test_an_error_with_status_200_is_an_error() -> None:
    for body in (b'{"error":{"message":"x"}}', b'[{"error":{"message":"x"}}]', b'data: {"error":{"message":"x"}}\n\n'):
        assert read(body).error == "x"


def test_a_stream_with_an_error_is_not_complete_even_if_it_goes_on_to_its_end() -> None:
    reply = read(events(delta(content="a"), {"error": {"message": "Overloaded"}}, delta("stop"), "[DONE]"))
    assert (reply.parts, reply.error, reply.complete) == ((Text("a"),), "Overloaded", False)


@pytest.mark.parametrize("name", [b"", b"error: ", b"error:"])
def test_an_error_that_is_no_event_is_an_error(name: bytes) -> None:
    body = events(delta(content="a")) + name + b'{"error":{"message":"Out of memory","code":500}}\n\n'
    assert (read(body).error, read(body).complete) == ("500: Out of memory", False)
    cut = events(delta(content="a")) + b'data: {"id":"c","choices":[{"delta":{"content":"{}"}}]}'
    assert read(cut).error is None


def test_closing_twice_gives_the_same_reply() -> None:
    for name in ("drop_inside_arguments", "reasoning_details", "two_choices"):
        decoder = PROTOCOL.reply_decoder(PATH, 200, {})
        decoder.feed(BY_NAME[name].response.data)
        assert (decoder.close(), list(decoder.problems)) == (decoder.close(), decoder.problems)
