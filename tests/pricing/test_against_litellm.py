"""The price table and the sums, held against the litellm that they come from (group dev, never imported here)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.pricing.book import Billing, PriceBook, table
from ocproxy.pricing.rates import Tokens
from tests.pricing import snapshot

ROOT = Path(__file__).parent.parent.parent
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday, off-peak at DeepSeek
MORNING = datetime(2026, 11, 25, 2, tzinfo=UTC)

# (provider, our names of it, model as the wire has it)
MODELS = [
    ("anthropic", "claude-opus-4-6"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("anthropic", "claude-haiku-4-5"),
    ("openai", "gpt-5.4"),
    ("openai", "gpt-5.2-2025-12-11"),
    ("openai", "gpt-5-codex"),
    ("openai", "gpt-6-sol"),
    ("openai", "gpt-4.1-mini"),
    ("gemini", "gemini-2.5-pro"),
    ("gemini", "gemini-2.5-flash"),
    ("gemini", "gemini-3.1-pro-preview"),
    ("vertex_ai", "claude-opus-4-6@default"),
    ("vertex_ai", "claude-sonnet-5"),
    ("bedrock", "us.anthropic.claude-opus-4-6-v1"),
    ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("azure", "gpt-5.4"),
    ("deepseek", "deepseek-v4-pro"),
    ("xai", "grok-4.6"),
    ("moonshot", "kimi-k2.6"),
    ("dashscope", "qwen3-coder-plus"),
    ("dashscope", "qwen-turbo"),
    ("groq", "openai/gpt-oss-120b"),
    ("mistral", "codestral-2508"),
]
USAGES = [
    Tokens(input=1_234, output=567),
    Tokens(input=7, output=1_000, cache_read=91_000, cache_write=4_321, cache_write_1h=4_000, reasoning=800),
    Tokens(input=12, output=30, cache_write=2_000),
    Tokens(input=200_000, output=10),
    Tokens(input=200_001, output=10, reasoning=4),
    Tokens(input=1_000, output=9_000, cache_read=300_000, cache_write=10_000, reasoning=8_000),
    Tokens(input=32_000, output=1),
    Tokens(input=128_001, output=1),
    Tokens(input=3, output=0),
    Tokens(input=9, output=90, cache_read=250_000, reasoning=80),
]


def case(provider: str, model: str, tokens: Tokens, **how: Any) -> dict[str, Any]:
    at = how.pop("at", NOON)
    return {"provider": provider, "model": model, "tokens": msgspec.to_builtins(tokens), "at": at.isoformat(), **how}


def cases() -> list[dict[str, Any]]:
    plain = [
        case(provider, model, tokens)
        for (provider, model), tokens in itertools.product(MODELS, USAGES)
        if not (provider == "xai" and tokens.cache_write)  # it tells no such count, and litellm takes none
    ]
    tiers = [
        case(provider, model, tokens, service_tier=tier)
        for (provider, model), tier, tokens in itertools.product(MODELS, ("flex", "priority"), USAGES[:2] + USAGES[4:6])
        if provider in ("openai", "azure", "gemini")
    ]
    special: list[tuple[tuple[str, str], dict[str, Any]]] = [
        (("anthropic", "claude-opus-4-6"), {"inference_geo": "us"}),
        (("anthropic", "claude-opus-4-6"), {"inference_geo": "global"}),
        (("anthropic", "claude-opus-4-8"), {"speed": "fast"}),
        (("openai", "gpt-6-sol"), {"data_residency": "eu"}),
        (("vertex_ai", "claude-sonnet-5"), {"vertex_location": "us-east5"}),
        (("deepseek", "deepseek-v4-pro"), {"at": MORNING}),
    ]
    others = [case(*where, tokens, **how) for tokens in USAGES[:2] for where, how in special]
    return plain + tiers + others


@pytest.fixture(scope="module")
def theirs() -> list[float]:
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # no look at the network for a newer table
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.pricing.litellm_costs"],
        cwd=ROOT, env=environ, input=json.dumps(cases()), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)
    return found


def ours(asked: dict[str, Any], book: PriceBook) -> int:
    places = [asked[name] for name in ("inference_geo", "data_residency") if name in asked]
    places += ["regional"] * ("vertex_location" in asked)
    billing = Billing(asked["provider"], tuple(places), tier=asked.get("service_tier"), fast="speed" in asked)
    at = datetime.fromisoformat(asked["at"])
    found = book.cost([asked["model"]], Tokens(**asked["tokens"]), billing, at)
    assert found.nanos is not None, (asked, found)
    assert (found.version, found.note) == (table().version, None), asked
    return found.nanos


def test_calls_cost_what_litellm_says(theirs: list[float]) -> None:
    book, wrong = PriceBook(), []
    for asked, dollars in zip(cases(), theirs, strict=True):
        # litellm adds binary fractions; ours are exact decimals, rounded once to a nano-dollar
        if ours(asked, book) != pytest.approx(dollars * 1e9, rel=1e-12, abs=0.500001):
            wrong.append((asked, ours(asked, book), dollars * 1e9))
    assert not wrong
    assert len(theirs) > 300 and min(theirs) > 0


def test_the_table_is_the_one_that_this_version_of_litellm_carries() -> None:
    assert "".join(snapshot.lines()) == snapshot.SNAPSHOT.read_text("utf-8")
    assert snapshot.licence() == snapshot.LICENCE.read_text("utf-8")


def test_every_price_of_the_table_can_be_used() -> None:
    book = PriceBook()
    for key, price in table().prices.items():
        assert price.rates.input is not None or price.rates.output is not None or price.above, key
        for tier, tokens in itertools.product((None, *price.tiers), USAGES[:2]):
            billing = Billing(price.provider, tier=tier)
            found = book.cost([key], tokens, billing, NOON)
            assert found.nanos is not None, (key, found)
