"""What the corpus of OpenAI Responses cannot say: which requests are its own, and what items mean together."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ocproxy.model import Message, ModelRequest, Problem, Reasoning, Reply, Text, ToolResult, ToolUse
from ocproxy.protocols.openai_responses import PROTOCOL
from tests.protocols.corpus import CORPUS, load_case

Json = dict[str, Any]
UPGRADE = {"upgrade": "websocket", "connection": "Upgrade"}


def request(**body: Any) -> ModelRequest:
    decoded, problems = PROTOCOL.decode_request("/v1/responses", json.dumps(body).encode())
    assert decoded is not None and problems == []
    return decoded


def reply(body: bytes | Json, status: int = 200, path: str = "/v1/responses") -> tuple[Reply, list[Problem]]:
    decoder = PROTOCOL.reply_decoder(path, status, {})
    decoder.feed(body if isinstance(body, bytes) else json.dumps(body).encode())
    return decoder.close(), decoder.problems


def events(*events: Json) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def said(text: str) -> Json:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(id: str) -> Json:
    return {"type": "function_call", "call_id": id, "name": "read", "arguments": "{}"}


def output(id: str) -> Json:
    return {"type": "function_call_output", "call_id": id, "output": "alpha"}


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/responses", {}),
        ("POST", "/v1/responses", {}),
        ("POST", "/backend-api/codex/responses", {}),
        ("POST", "/any/prefix/responses/compact", {}),
        ("POST", "/v1/responses/input_tokens", {}),
        ("POST", "/v1/responses/resp_1/cancel", {}),
        ("GET", "/v1/responses/resp_1", {}),
        ("GET", "/v1/responses/resp_1/input_items", {}),
        ("GET", "/v1/responses", UPGRADE),
    ],
)
def test_its_requests_are_known_by_the_end_of_the_path(method: str, path: str, headers: dict[str, str]) -> None:
    assert PROTOCOL.matches(method, path, headers)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v1/responses", {}),
        ("DELETE", "/v1/responses/resp_1", {}),
        ("POST", "/v1/responses/other", {}),
        ("POST", "/v1/chat/completions", {}),
        ("GET", "/v1/realtime", UPGRADE),
    ],
)
def test_other_requests_are_not_its_own(method: str, path: str, headers: dict[str, str]) -> None:
    assert not PROTOCOL.matches(method, path, headers)


def test_text_as_input_is_one_message_of_the_user() -> None:
    assert request(input="Hi.").messages == (Message("user", (Text("Hi."),)),)


def test_the_items_of_one_answer_are_one_message_and_so_are_the_results_behind_them() -> None:
    items = [said("Two files."), call("a"), call("b"), output("a"), output("b"), said("Done.")]
    found = request(input=[{"role": "user", "content": "Go."}, *items]).messages
    assert [message.role for message in found] == ["user", "assistant", "user", "assistant"]
    answer, _ = reply({"id": "resp_1", "output": items[:3]})
    assert found[1].parts == answer.parts


def test_messages_of_the_user_stay_apart_from_results_and_from_each_other() -> None:
    items = [call("a"), output("a"), {"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
    assert [len(message.parts) for message in request(input=items).messages] == [1, 1, 1, 1]


def test_a_sealed_summary_is_no_part_of_the_answer_behind_it() -> None:
    sealed = {"type": "compaction", "encrypted_content": "c2VhbGVk"}
    assert len(request(input=[sealed, said("Going on."), call("a")]).messages) == 2


def test_tools_may_come_with_the_input() -> None:
    exec_tool = {"type": "custom", "name": "exec"}
    found = request(tools=[{"type": "web_search"}], input=[{"type": "additional_tools", "tools": [exec_tool]}])
    assert found.tools == ({"type": "web_search"}, exec_tool)
    assert found.messages == ()


def test_a_delta_says_what_it_follows_and_a_whole_history_does_not() -> None:
    assert request(input="More.", previous_response_id="resp_1").continues == "resp_1"
    assert request(input="All.").continues is msgspec.UNSET
    assert request(input="All.", previous_response_id=None).continues is msgspec.UNSET


@pytest.mark.parametrize(
    ("body", "endpoint"),
    [
        ({"input": "Hi."}, "generate"),
        ({"input": [], "generate": False}, "prewarm"),
        ({"input": [said("x"), {"type": "compaction_trigger"}]}, "compact"),
    ],
)
def test_what_is_no_answer_of_the_conversation_says_so(body: Json, endpoint: str) -> None:
    assert request(**body).endpoint == endpoint


def test_an_answer_under_way_in_the_background_is_whole_as_a_reply() -> None:
    found, problems = reply({"id": "resp_1", "status": "queued", "output": [], "usage": None})
    assert (found.complete, found.stop_reason, found.parts, problems) == (True, "queued", (), [])


def test_input_tokens_do_not_count_what_the_cache_served_or_took() -> None:
    usage = {
        "input_tokens": 100, "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120,
    }  # fmt: skip
    found = reply({"output": [], "usage": usage})[0].usage
    assert (found.input, found.cache_read, found.cache_write, found.output, found.reasoning) == (30, 60, 10, 20, 5)


def test_a_call_that_came_whole_counts_though_the_stream_broke_off() -> None:
    case = load_case("openai_responses", CORPUS / "openai_responses" / "drop_behind_call")
    found, _ = reply(case.response.data)
    whole, cut = [part for part in found.parts if isinstance(part, ToolUse)]
    assert not found.complete
    assert whole.complete and whole.input["cmd"].startswith("cat ")
    assert not cut.complete and cut.input == {} and cut.raw


def test_arguments_that_are_whole_make_a_call_whole_before_its_item_is() -> None:
    item = {**call("a"), "id": "fc_1", "arguments": "", "status": "in_progress"}
    start = {"type": "response.output_item.added", "output_index": 0, "item": item}
    piece = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"path":"a"}'}
    end = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"path":"a"}'}
    (cut,) = reply(events(start, piece))[0].parts
    (whole,) = reply(events(start, piece, end))[0].parts
    assert isinstance(cut, ToolUse) and not cut.complete
    assert isinstance(whole, ToolUse) and whole.complete and whole.input == {"path": "a"}


def test_sealed_reasoning_stays_sealed() -> None:
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"}
    told = {**sealed, "summary": [{"type": "summary_text", "text": "Thinking."}]}
    first, second = request(input=[sealed, told]).messages[0].parts
    assert first == Reasoning("", None, "c2VhbGVk", {"id": "rs_1"})
    assert second == Reasoning("Thinking.", "c2VhbGVk", None, {"id": "rs_1"})


def test_a_shell_call_failed_when_one_of_its_commands_did() -> None:
    def run(*outcomes: Json) -> bool | None:
        runs = [{"stdout": "x", "stderr": "", "outcome": outcome} for outcome in outcomes]
        item = {"type": "shell_call_output", "call_id": "a", "output": runs}
        (part,) = request(input=[item]).messages[0].parts
        assert isinstance(part, ToolResult)
        return part.is_error

    fine = {"type": "exit", "exit_code": 0}
    assert run(fine, fine) is False
    assert run(fine, {"type": "exit", "exit_code": 3}) is True
    assert run({"type": "timeout"}) is True
    assert run(fine, {}) is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"type": "invalid_request_error", "code": None, "message": "No."}}, "invalid_request_error: No."),
        ({"error": {"code": "rate_limit_exceeded", "message": "Slow."}}, "rate_limit_exceeded: Slow."),
        ({"detail": "Unauthorized"}, "Unauthorized"),
        ({"error": "gone"}, "gone"),
    ],
)
def test_errors_of_several_shapes_are_one_line(body: Json, text: str) -> None:
    assert reply(body, 400)[0].error == text
