"""What calls of each protocol cost, from the body on the wire to the stored row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.config import Price, Rates
from ocproxy.exchange import Ended, Exchange, Opened, Outcome, Position
from ocproxy.ingest.interpret import interpret
from ocproxy.ingest.loop import Ingest
from ocproxy.ingest.rows import call_row
from ocproxy.model import CallRow
from ocproxy.pricing.bills import priced
from ocproxy.pricing.book import TOLD, PriceBook, table
from ocproxy.store.base import open_store
from tests.support.conversations import Relay, assistant, user
from tests.support.engines import sqlite_file

NOON_NS = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp() * 1e9)
URLS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "bedrock": "https://bedrock-runtime.us-east-1.amazonaws.com",
    "vertex": "https://us-east5-aiplatform.googleapis.com",
    "router": "https://openrouter.ai/api",
    "gateway": "http://10.0.0.7:4000",
}


def call(upstream: str, path: str, request: dict[str, Any], reply: dict[str, Any] | None, status: int = 200) -> CallRow:
    """The row of one call that was not streamed."""
    body, answer = json.dumps(request).encode(), json.dumps(reply).encode()
    head = f"POST {path} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    back = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n".encode()
    opened = Opened(head, path, upstream, URLS.get(upstream, "http://127.0.0.1:1"), "127.0.0.1:2")
    exchange = Exchange(
        "j", 1, Position(1, 1), opened, NOON_NS, NOON_NS, NOON_NS, Ended(Outcome.COMPLETE), body, (back,), answer
    )
    return call_row(interpret(exchange), None, None)


def cost(row: CallRow, **own: Price) -> tuple[int | None, str | None]:
    found = priced(row, PriceBook(own))
    return found.cost, found.price_note


def messages(model: str = "claude-opus-4-6", upstream: str = "anthropic", **usage: Any) -> CallRow:
    counted = {"input_tokens": 100, "output_tokens": 10, "cache_read_input_tokens": 1_000, **usage}
    reply = {"id": "m", "type": "message", "role": "assistant", "model": model, "content": [], "usage": counted}
    return call(upstream, "/v1/messages", {"model": model, "messages": []}, reply)


def chat(model: str, upstream: str = "openai", tier: str | None = None, **usage: Any) -> CallRow:
    counted = {"prompt_tokens": 1_100, "completion_tokens": 10, "total_tokens": 1_110, **usage}
    reply = {
        "id": "c", "object": "chat.completion", "model": model, "usage": counted, "service_tier": tier,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    }  # fmt: skip
    return call(upstream, "/v1/chat/completions", {"model": model, "messages": []}, reply)


CACHED: dict[str, Any] = {"prompt_tokens_details": {"cached_tokens": 1_000}}


def test_cached_tokens_stand_beside_the_input_of_anthropic_and_inside_that_of_others() -> None:
    # 100 fresh, 1,000 cached, 10 written: per million 5, 0.5 and 25 dollars
    assert cost(messages()) == (100 * 5_000 + 1_000 * 500 + 10 * 25_000, None)
    # gpt-5.4: 2.5, 0.25, 15
    assert cost(chat("gpt-5.4", **CACHED)) == (100 * 2_500 + 1_000 * 250 + 10 * 15_000, None)
    told = {"promptTokenCount": 1_100, "cachedContentTokenCount": 1_000, "candidatesTokenCount": 4}
    reply = {
        "modelVersion": "gemini-2.5-pro", "usageMetadata": {**told, "thoughtsTokenCount": 6, "totalTokenCount": 1_110},
        "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
    }  # fmt: skip
    row = call("gemini", "/v1beta/models/gemini-2.5-pro:generateContent", {"contents": []}, reply)
    # gemini-2.5-pro: 1.25, 0.125, 10; thoughts are output
    assert cost(row) == (100 * 1_250 + 1_000 * 125 + 10 * 10_000, None)


def test_the_responses_api_says_tokens_and_tier() -> None:
    usage = {"input_tokens": 1_100, "input_tokens_details": {"cached_tokens": 1_000}, "output_tokens": 10}
    reply = {"id": "r", "object": "response", "status": "completed", "model": "gpt-5.4", "output": [], "usage": usage}
    asked = {"model": "gpt-5.4", "input": "hi", "service_tier": "auto"}
    plain = call("openai", "/v1/responses", asked, {**reply, "service_tier": "default"})
    flex = call("openai", "/v1/responses", asked, {**reply, "service_tier": "flex"})
    assert cost(plain) == (100 * 2_500 + 1_000 * 250 + 10 * 15_000, None)
    assert cost(flex) == (100 * 1_250 + 1_000 * 130 + 10 * 7_500, None)
    assert cost(chat("gpt-5.4", tier="priority", **CACHED)) == (100 * 5_000 + 1_000 * 500 + 10 * 30_000, None)


def test_cache_writes_of_an_hour_cost_more_than_those_of_five_minutes() -> None:
    split = {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 300}
    row = messages(cache_creation_input_tokens=500, cache_creation=split)
    assert cost(row)[0] == 100 * 5_000 + 1_000 * 500 + 200 * 6_250 + 300 * 10_000 + 10 * 25_000


def test_long_prompts_cost_more_cached_tokens_counted() -> None:
    usage: dict[str, Any] = {
        "prompt_tokens": 272_001,
        "prompt_tokens_details": {"cached_tokens": 272_000},
        "total_tokens": 272_011,
    }
    assert cost(chat("gpt-5.4", **usage))[0] == 1 * 5_000 + 272_000 * 500 + 10 * 22_500


def test_where_it_ran_and_how_fast_and_what_was_searched_counts() -> None:
    base = 100 * 5_000 + 1_000 * 500 + 10 * 25_000
    assert cost(messages(inference_geo="us"))[0] == base * 11 // 10
    assert cost(messages(inference_geo="global"))[0] == base
    assert cost(messages(server_tool_use={"web_search_requests": 2}))[0] == base + 20_000_000
    assert cost(messages("claude-opus-4-8", speed="fast"))[0] == 2 * (cost(messages("claude-opus-4-8"))[0] or 0)


def test_models_of_bedrock_and_vertex_are_named_by_the_path() -> None:
    usage = {"input_tokens": 100, "output_tokens": 10}
    reply = {"type": "message", "role": "assistant", "model": "claude-opus-4-6", "content": [], "usage": usage}
    asked = {"anthropic_version": "x", "messages": []}
    us = call("bedrock", "/model/us.anthropic.claude-opus-4-6-v1%3A0/invoke", asked, reply)
    assert cost(us) == (100 * 5_500 + 10 * 27_500, "at the list price of us.anthropic.claude-opus-4-6-v1")
    arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.anthropic.claude-opus-4-6-v1"
    assert cost(call("bedrock", f"/model/{arn}/invoke", asked, reply))[0] == 100 * 5_500 + 10 * 27_500
    path = "/v1/projects/p/locations/{}/publishers/anthropic/models/claude-sonnet-5@20260901:rawPredict"
    regional, world = (call("vertex", path.format(place), asked, reply) for place in ("us-east5", "global"))
    assert cost(world)[0] == 100 * 2_000 + 10 * 10_000
    assert cost(regional)[0] == (cost(world)[0] or 0) * 11 // 10


def test_a_dated_name_that_the_table_lacks_has_the_price_of_the_model_and_says_so() -> None:
    found, note = cost(chat("gpt-5.4-2027-01-01"))
    assert (found, note) == (cost(chat("gpt-5.4"))[0], "at the list price of gpt-5.4")


def test_at_an_unknown_provider_the_makers_list_price_is_told_and_said_to_be_that() -> None:
    assert cost(messages(upstream="gateway")) == (cost(messages())[0], "at the list price of claude-opus-4-6")


def test_an_unknown_model_has_no_price_and_says_so_and_never_0() -> None:
    assert cost(messages("acme-7")) == (None, "no price is known for acme-7 at anthropic")
    assert cost(chat("llama3:8b", "gateway")) == (None, "no price is known for llama3:8b at an unknown provider")


def test_a_reply_without_usage_has_no_cost_and_says_so() -> None:
    reply = {"id": "m", "type": "message", "role": "assistant", "model": "claude-opus-4-6", "content": []}
    row = call("anthropic", "/v1/messages", {"model": "claude-opus-4-6", "messages": []}, reply)
    assert cost(row) == (None, "the reply says no usage")


def test_a_call_that_failed_and_one_that_only_counts_cost_nothing_and_need_no_note() -> None:
    asked = {"model": "claude-opus-4-6", "messages": []}
    failed = call("anthropic", "/v1/messages", asked, {"type": "error", "error": {"type": "overloaded_error"}}, 529)
    assert cost(failed) == (None, None)
    assert cost(call("anthropic", "/v1/messages/count_tokens", asked, {"input_tokens": 5})) == (None, None)


def test_the_users_prices_win_a_name_over_a_pattern_and_a_long_pattern_over_a_short_one() -> None:
    row, version = messages(), "own "
    dear, cheap = Price(input=10, output=100, cache_read=1), Price(input=1, output=1)
    assert cost(row, **{"*": cheap})[0] == 1_110 * 1_000, "what it does not say of the cache costs as input"
    assert cost(row, **{"*": cheap, "claude-*": dear})[0] == 100 * 10_000 + 1_000 * 1_000 + 10 * 100_000
    assert cost(row, **{"anthropic/claude-*": dear, "claude-opus-4-6": cheap})[0] == 1_110 * 1_000
    assert cost(messages("acme-7"), **{"acme-?": cheap}) == (1_110 * 1_000, None)
    found = priced(row, PriceBook({"*": cheap}))
    assert found.price_version and found.price_version.startswith(version)
    assert priced(row, PriceBook({"*": dear})).price_version != found.price_version
    tiered = Price(input=1, output=1, tiers={"flex": Rates(input=0.5)}, above={"1000": Rates(output=4)})
    assert cost(chat("m", "gateway", tier="flex"), m=tiered)[0] == 1_100 * 500 + 10 * 4_000


def test_what_openrouter_says_that_a_call_cost_is_its_cost() -> None:
    row = chat("anthropic/claude-sonnet-4.5", "router", cost=0.0123)
    found = priced(row, PriceBook())
    assert (found.cost, found.price_version) == (12_300_000, TOLD)
    own = chat("m", "router", cost=0.001, is_byok=True, cost_details={"upstream_inference_cost": 0.02})
    assert cost(own)[0] == 21_000_000
    assert cost(chat("gpt-5.4", cost=0.5))[0] == cost(chat("gpt-5.4"))[0], "only OpenRouter's word is taken"
    assert cost(row, **{"*": Price(input=1, output=1)})[0] == 1_110 * 1_000


def test_reasoning_that_a_server_counts_beside_the_output_is_paid_for() -> None:
    beside: dict[str, Any] = {"completion_tokens_details": {"reasoning_tokens": 90}, "total_tokens": 1_200}
    assert chat("gpt-5.4", **beside).output_tokens == 100
    inside: dict[str, Any] = {"completion_tokens_details": {"reasoning_tokens": 5}}
    assert chat("gpt-5.4", **inside).output_tokens == 10


def test_a_stored_call_is_priced_as_the_fresh_one() -> None:
    row = chat("anthropic/claude-sonnet-4.5", "router", cost=0.0123)
    again = msgspec.convert(json.loads(msgspec.json.encode(row)), CallRow)
    assert cost(again) == cost(row)


@pytest.mark.anyio
async def test_recorded_calls_have_their_cost_and_the_version_of_the_prices(tmp_path: Path) -> None:
    relay = Relay(tmp_path / "journal" / "worker-0")
    relay.call([user("hi")], assistant("hello"), session="one")
    relay.close()
    for prices, expected in (({}, 10 * 5_000 + 3 * 500 + 5 * 25_000), ({"*": Price(input=1, output=1)}, 18_000)):
        async with await open_store(sqlite_file(tmp_path / f"{expected}.db")) as store:
            await Ingest(store, tmp_path / "journal", prices=prices).catch_up()
            (row,) = await store.calls()
            assert row.cost == expected
            assert row.price_version == table().version or row.price_version.startswith("own ")  # type: ignore[union-attr]
