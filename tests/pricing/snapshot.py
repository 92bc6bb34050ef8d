"""Makes `ocproxy/pricing/prices.json` of litellm's table: `python -m tests.pricing.snapshot` writes it.

Of each model that answers with text it keeps what tokens cost, in dollars per million, in the shape of
`ocproxy.pricing.rates.Price`. Left out: models without a price or with one of 0 (the table has 0 where it does not
know), audio, images, characters, and whole modes such as embeddings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ocproxy.pricing

Json = dict[str, Any]
SNAPSHOT = Path(ocproxy.pricing.__file__).with_name("prices.json")
LICENCE = SNAPSHOT.with_name("prices.LICENSE")
_MODES = {"chat", "responses", "completion"}
_KINDS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
}
_TIERS = {"batches": "batch", "flex": "flex", "priority": "priority", "balanced": "balanced", "ultrafast": "ultrafast"}
_FIELD = re.compile(
    rf"({'|'.join(sorted(_KINDS, key=len, reverse=True))})(?:_above_(\d+)(k?)_tokens)?(?:_({'|'.join(_TIERS)}))?\Z"
)
_PLACES = {
    "regional_processing_uplift_multiplier_eu": "eu",
    "regional_processing_uplift_multiplier_us": "us",
    "fedramp_uplift_multiplier": "gov",
    "regional_endpoint_uplift_multiplier": "regional",
}


def package() -> Path:
    """The folder of the installed litellm, which is not imported: that takes seconds."""
    spec = find_spec("litellm")
    assert spec is not None and spec.origin is not None, "litellm is not installed (pip install --group dev)"
    return Path(spec.origin).parent


def table() -> dict[str, Json]:
    """litellm's table, aliases resolved, without what is not kept."""
    file = package() / "model_prices_and_context_window_backup.json"
    rows: dict[str, Json] = json.loads(file.read_text("utf-8"), parse_float=Decimal)
    resolved = {name: rows.get(row.get("alias_of", name), {}) for name, row in rows.items()}
    return {name: row for name, row in resolved.items() if row.get("mode") in _MODES and _is_priced(row)}


def _is_priced(row: Json) -> bool:
    costs = [row, *row.get("tiered_pricing", ())]
    return any(cost.get(name) for cost in costs for name in ("input_cost_per_token", "output_cost_per_token"))


def price(row: Json) -> Json:
    """One row in our shape."""
    made: Json = {"provider": row["litellm_provider"], "rates": {}, "tiers": {}, "above": {}}
    for field, value in row.items():
        found = _FIELD.match(field)
        if not found or value is None:
            continue
        kind, tokens, thousand, tier = _KINDS[found[1]], found[2], found[3], found[4]
        holder = made
        if tokens:
            count = int(tokens) * (1000 if thousand else 1)
            holder = made["above"].setdefault(count, {"tokens": count, "rates": {}, "tiers": {}})
        rates = holder["tiers"].setdefault(_TIERS[tier], {}) if tier else holder["rates"]
        rates[kind] = _million(value)
    made["above"] = [made["above"][count] for count in sorted(made["above"])]
    if steps := row.get("tiered_pricing"):
        _read_steps(made, steps)
    if row["litellm_provider"] == "xai":  # its long prompts begin at the bound, by its own price list
        made["reaches"] = True
    made |= _circumstances(row)
    slim: Json = _without_empty(made)
    return slim


def _read_steps(made: Json, steps: list[Json]) -> None:
    """Prices by length of the prompt, as a list: a step says all rates, and what it leaves out is its input's."""
    for step in sorted(steps, key=lambda step: step["range"][0]):
        if "input_cost_per_token" not in step:
            continue
        rates = {kind: _million(step[field]) for field, kind in _KINDS.items() if step.get(field) is not None}
        rates.setdefault("cache_read", rates["input"])
        rates.setdefault("cache_write", rates["input"])
        rates.setdefault("cache_write_1h", rates["cache_write"])
        rates.setdefault("reasoning", rates.get("output", made["rates"].get("output")))
        begin = int(step["range"][0])
        if begin:
            made["above"].append({"tokens": begin, "rates": rates})
        else:
            made["rates"] |= rates


def _circumstances(row: Json) -> Json:
    special = row.get("provider_specific_entry") or {}
    places = {place: _number(row[field]) for field, place in _PLACES.items() if row.get(field)}
    if row["litellm_provider"] == "anthropic":
        places |= {place: _number(factor) for place, factor in special.items() if place != "fast"}
    made: Json = {"places": places}
    if row["litellm_provider"] == "anthropic" and "fast" in special:
        made["fast"] = _number(special["fast"])
    if row["litellm_provider"] == "anthropic" and (search := row.get("search_context_cost_per_query")):
        made["search"] = _number(search["search_context_size_medium"])
    if off := row.get("off_peak_pricing"):
        windows = [*off.get("windows", ())]
        if "hours_utc" in off:
            windows.append({"hours_utc": off["hours_utc"]})
        made["off_peak"] = {
            "windows": [_window(window) for window in windows],
            "rates": {kind: _million(off[field]) for field, kind in _KINDS.items() if field in off},
        }
    return made


def _window(window: Json) -> Json:
    assert window.keys() <= {"hours_utc", "weekdays"}, window
    hours = window["hours_utc"]
    return {"hours": [hours] if isinstance(hours, str) else hours} | (
        {"days": window["weekdays"]} if "weekdays" in window else {}
    )


def _million(rate: Decimal | int | str) -> Decimal:
    return _number(Decimal(rate) * 1_000_000)


def _number(value: Decimal | int) -> Decimal:
    """Without zeros at its end: 5, not 5.00."""
    plain = Decimal(value).normalize()
    return plain.quantize(Decimal(1)) if plain == plain.to_integral_value() else plain


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kept for key, inner in value.items() if (kept := _without_empty(inner)) not in ({}, [], None)}
    return [_without_empty(inner) for inner in value] if isinstance(value, list) else value


def lines() -> Iterator[str]:
    """The file: JSON with one line a model, so that a newer table is a change that can be read."""
    yield "{\n"
    yield f'"version": "litellm {version("litellm")}",\n'
    yield '"prices": {\n'
    rows = [f"{json.dumps(name)}: {_json(price(row))}" for name, row in sorted(table().items())]
    yield ",\n".join(rows)
    yield "\n}}\n"


def _json(value: Any) -> str:
    """As `json.dumps`, with decimals as the numbers that they are."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)


def licence() -> str:
    """litellm's own licence text."""
    (file,) = package().parent.glob(f"litellm-{version('litellm')}.dist-info/licenses/LICENSE")
    return file.read_text("utf-8")


if __name__ == "__main__":
    SNAPSHOT.write_text("".join(lines()), "utf-8")
    LICENCE.write_text(licence(), "utf-8")
