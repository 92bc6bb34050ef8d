"""Calls and prices: what of a decoded reply decides its price, and a stored call's cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from ocproxy.model import CallKind, CallRow, Json, ModelRequest, Reply
from ocproxy.pricing.book import Billing, Cost, PriceBook
from ocproxy.pricing.providers import model_in, places_of, provider_of
from ocproxy.pricing.rates import Tokens

# Words of the wire for service tiers. What is not here is the standard one. OpenAI: `service_tier` of a response;
# Anthropic: `usage.service_tier` (its priority is bought by capacity, at no other rates); Gemini: `serviceTier` and
# Vertex AI: `trafficType` of usageMetadata.
_TIERS = {
    "flex": "flex",
    "on_demand_flex": "flex",
    "priority": "priority",
    "fast": "priority",
    "on_demand_priority": "priority",
    "batch": "batch",
    "balanced": "balanced",
    "ultrafast": "ultrafast",
}
_FREE = {CallKind.COUNT.value}  # the providers count tokens for nothing


def billing_of(upstream: str, url: str, path: str, request: ModelRequest | None, reply: Reply | None) -> Billing | None:
    """What of a call decides its price beside its tokens; None for a call that no model answered."""
    if reply is None or not (request or reply.model):
        return None
    usage, provider = reply.usage.extra, provider_of(upstream, url)
    named = model_in(provider, path) or (request.model if request else None)
    geo = usage.get("inference_geo")
    places = places_of(provider, url, path)
    return Billing(
        provider=provider,
        places=(*places, geo.lower()) if isinstance(geo, str) and geo else places,
        model=named if named != reply.model else None,
        tier=_tier(reply),
        fast=usage.get("speed") == "fast",
        searches=_searches(usage),
        told=_told(usage) if provider == "openrouter" else None,
    )


def priced(row: CallRow, book: PriceBook) -> CallRow:
    """The call with its cost as `book` has it. Calls that ask for no answer of a model stay without."""
    found = cost_of(row, book)
    return msgspec.structs.replace(row, cost=found.nanos, price_version=found.version, price_note=found.note)


def cost_of(row: CallRow, book: PriceBook) -> Cost:
    """What a stored call costs. A call that failed before there was any usage has no cost and needs no reason."""
    tokens = _tokens(row)
    if row.kind in _FREE or (row.billing is None and tokens is None):
        return Cost(None)
    if row.billing is not None:
        billing = msgspec.convert(row.billing, Billing, strict=False)
    else:  # stored before costs were: the upstream's name is what is left
        billing = Billing(provider_of(row.upstream, ""))
    failed = row.error is not None or row.status is None or row.status >= 400
    waits = row.stop_reason in ("queued", "in_progress")  # it runs in the background; who asks later is told the usage
    if tokens is None and (failed or waits or row.kind in (CallKind.MODELS, CallKind.PROBE, CallKind.OTHER)):
        return Cost(None)
    names = [billing.model, row.model] if billing.provider in ("bedrock", "vertex_ai") else [row.model, billing.model]
    return book.cost([name for name in names if name], tokens, billing, row.started_at)


def _tokens(row: CallRow) -> Tokens | None:
    counts: dict[str, int | None] = {
        "input": row.input_tokens,
        "output": row.output_tokens,
        "cache_read": row.cache_read_tokens,
        "cache_write": row.cache_write_tokens,
        "cache_write_1h": row.cache_write_1h_tokens,
        "reasoning": row.reasoning_tokens,
    }
    if all(count is None for count in counts.values()):
        return None
    return Tokens(**{name: count or 0 for name, count in counts.items()})


def _tier(reply: Reply) -> str | None:
    usage = reply.usage.extra
    words = (reply.extra.get("service_tier"), usage.get("service_tier"), usage.get("serviceTier"))
    for word in (*words, usage.get("trafficType")):
        if isinstance(word, str) and (tier := _TIERS.get(word.lower())):
            return tier
    return None


def _searches(usage: dict[str, Json]) -> int:
    """Anthropic's count of web searches (`usage.server_tool_use`)."""
    tools = usage.get("server_tool_use")
    count = tools.get("web_search_requests") if isinstance(tools, dict) else None
    return count if type(count) is int and 0 < count < 1_000_000 else 0


def _told(usage: dict[str, Json]) -> Decimal | None:
    """What OpenRouter says that a call cost, in dollars (`usage.cost`; with a key of the user's own at the provider
    behind it, what that one takes comes on top). Source: https://openrouter.ai/docs/use-cases/usage-accounting."""
    details = usage.get("cost_details")
    parts: list[Any] = [usage.get("cost")]
    if usage.get("is_byok") is True and isinstance(details, dict):
        parts.append(details.get("upstream_inference_cost"))
    counted = [Decimal(str(part)) for part in parts if type(part) in (int, float) and 0 <= part < 1_000_000]
    return sum(counted, Decimal(0)) if counted and type(parts[0]) in (int, float) else None
