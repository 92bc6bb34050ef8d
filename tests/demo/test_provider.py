"""The scripted provider, asked over real sockets."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from ocproxy.demo.provider import Provider
from ocproxy.demo.script import Call, Script, Step
from tests.support.provider import Awkward, provider_in_background, wait_until

SCRIPT = Script(
    "one",
    (
        Step(text="I look — ünïcødé.", thinking="First I think.", calls=(Call("Read", {"file_path": "/x/ą.txt"}),)),
        Step(text="Done."),
    ),
)
THINKING = {"type": "enabled", "budget_tokens": 1024}


def body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "go"}, *messages], "thinking": THINKING, **more}


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def post(provider: Provider, path: str, data: Any) -> httpx.Response:
    return httpx.post(provider.url + path, json=data, trust_env=False)


def test_a_json_answer_holds_thinking_text_and_calls() -> None:
    with provider_in_background([SCRIPT]) as provider:
        reply = post(provider, "/any/prefix/v1/messages", body()).json()
    assert [block["type"] for block in reply["content"]] == ["thinking", "text", "tool_use"]
    assert reply["content"][2]["input"] == {"file_path": "/x/ą.txt"}
    assert reply["stop_reason"] == "tool_use"


def test_an_event_stream_spells_out_the_same_answer() -> None:
    with provider_in_background([SCRIPT]) as provider:
        whole = post(provider, "/v1/messages", body()).json()
        events = events_of(post(provider, "/v1/messages", body(stream=True)).text)
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[1], kinds[-2], kinds[-1]) == ("message_start", "ping", "message_delta", "message_stop")
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == whole["content"][1]["text"]
    assert "".join(delta.get("thinking", "") for delta in deltas) == whole["content"][0]["thinking"]
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == whole["content"][2]["input"]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_it_thinks_only_when_it_was_asked_to() -> None:
    with provider_in_background([SCRIPT]) as provider:
        reply = post(provider, "/v1/messages", body(thinking={"type": "disabled"})).json()
    assert [block["type"] for block in reply["content"]] == ["text", "tool_use"]


def test_results_in_the_history_bring_the_next_step() -> None:
    result = {"type": "tool_result", "tool_use_id": SCRIPT.call_id(0, 0), "content": "text"}
    with provider_in_background([SCRIPT]) as provider:
        reply = post(provider, "/v1/messages", body({"role": "user", "content": [result]})).json()
    assert reply["content"] == [{"type": "text", "text": "Done."}]
    assert reply["stop_reason"] == "end_turn"


def test_a_request_for_a_title_gets_a_title_whatever_the_script() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    with provider_in_background([SCRIPT]) as provider:
        reply = post(provider, "/v1/messages", body(output_config={"format": {"schema": schema}})).json()
    assert set(json.loads(reply["content"][0]["text"])) == {"title"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("HEAD", "/api/hello", 200), ("GET", "/v1/models", 200), ("GET", "/nowhere", 404), ("PUT", "/v1/messages", 404)],
)
def test_side_paths_are_answered(method: str, path: str, status: int) -> None:
    with provider_in_background([SCRIPT]) as provider:
        assert httpx.request(method, provider.url + path, trust_env=False).status_code == status


def test_tokens_are_counted() -> None:
    with provider_in_background([SCRIPT]) as provider:
        assert post(provider, "/v1/messages/count_tokens", body()).json()["input_tokens"] > 0


def test_a_prompt_without_a_script_is_an_error_of_the_protocols_own_shape() -> None:
    with provider_in_background([SCRIPT, Script("other", ())]) as provider:
        response = post(provider, "/v1/messages", body())
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_the_log_has_what_was_received_and_sent_byte_for_byte() -> None:
    def pieces() -> Any:
        yield from (b'{"messages": [', b'{"role": "user", "content": "go"}]', b"}")

    with provider_in_background([SCRIPT]) as provider:
        response = httpx.post(provider.url + "/v1/messages?beta=true", content=pieces(), trust_env=False)
        (served,) = provider.log
        wait_until(lambda: served.complete, "the answer is written")
    assert served.body == b'{"messages": [{"role": "user", "content": "go"}]}'
    assert served.target == "/v1/messages?beta=true"
    assert served.head.startswith(b"POST /v1/messages?beta=true HTTP/1.1\r\n")
    assert served.sent.endswith(response.content)
    assert served.reply == response.json()


def test_a_client_that_goes_away_leaves_an_incomplete_entry() -> None:
    with provider_in_background([SCRIPT], pace=0.02) as provider:
        with httpx.stream("POST", provider.url + "/v1/messages", json=body(stream=True), trust_env=False) as response:
            next(response.iter_bytes())
        wait_until(lambda: len(provider.log) == 1, "the request is in the log")
    assert not provider.log[0].complete


def test_an_awkward_provider_says_the_same_in_other_pieces() -> None:
    with provider_in_background([SCRIPT]) as plain, provider_in_background([SCRIPT], manners=Awkward) as awkward:
        expected = post(plain, "/v1/messages", body(stream=True))
        response = post(awkward, "/v1/messages", body(stream=True))
    assert response.headers["content-encoding"] == "gzip"
    assert response.text == expected.text
