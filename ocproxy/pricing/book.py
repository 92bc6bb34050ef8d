"""The prices in force: the user's own before the table's, and what one call costs by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from ocproxy import config
from ocproxy.model import digest
from ocproxy.pricing.providers import is_of, keys, stand_ins
from ocproxy.pricing.rates import Above, Circumstances, Price, Rates, Tokens, cost

_FILE = Path(__file__).with_name("prices.json")
TOLD = "told by the provider"  # the version of a cost that the reply itself says


class Billing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What beside its tokens decides a call's price; stored with it, so that it can be priced anew."""

    provider: str = ""  # empty: not known
    places: tuple[str, ...] = ()
    model: str | None = None  # that the path or the request names, where the reply names another
    tier: str | None = None  # service tier that served it
    fast: bool = False
    searches: int = 0  # web searches that the provider made
    told: Decimal | None = None  # dollars that the reply says it costs


class Cost(NamedTuple):
    """What a call costs by which prices. `nanos` None: not known, and `note` says why; a note beside a cost says how
    it was come by where that is not plain."""

    nanos: int | None
    version: str | None = None
    note: str | None = None


class Table(msgspec.Struct, frozen=True):
    """The price table of this version of ocproxy."""

    version: str
    prices: dict[str, Price]


class Found(NamedTuple):
    """A price and where it is from."""

    price: Price
    version: str
    note: str | None = None


@cache
def table() -> Table:
    """The table that this version of ocproxy carries."""
    return msgspec.json.decode(_FILE.read_bytes(), type=Table)


class PriceBook:
    """All prices. `own` are the user's, by model name or glob."""

    def __init__(self, own: Mapping[str, config.Price] | None = None) -> None:
        self._own = [(pattern, _own_price(price), _version(pattern, price)) for pattern, price in (own or {}).items()]
        # A name as it is before a glob; of globs the one that says more.
        self._own.sort(key=lambda entry: (any(c in entry[0] for c in "*?["), -len(entry[0])))
        self._found: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Found | None] = {}

    def cost(self, models: Sequence[str], tokens: Tokens | None, billing: Billing, at: datetime) -> Cost:
        """What a call costs whose model has these names, the most telling first. `tokens` None: the reply said none."""
        own = self._find_own(models, billing.provider)
        if own is None and billing.told is not None:
            return Cost(int((billing.told * 1_000_000_000).to_integral_value()), TOLD)
        if tokens is None:
            return Cost(None, None, "the reply says no usage")
        found = own or self._find(models, billing)
        if found is None:
            where = billing.provider or "an unknown provider"
            return Cost(
                None, None, f"no price is known for {models[0] if models else 'a call without a model'} at {where}"
            )
        how = Circumstances(at, billing.tier, billing.places, billing.fast, billing.searches)
        return Cost(cost(found.price, tokens, how), found.version, found.note)

    def _find_own(self, models: Sequence[str], provider: str) -> Found | None:
        for pattern, price, version in self._own:
            for model in models:
                if fnmatchcase(model, pattern) or fnmatchcase(f"{provider}/{model}", pattern):
                    return Found(price, version)
        return None

    def _find(self, models: Sequence[str], billing: Billing) -> Found | None:
        key = (billing.provider, tuple(models), billing.places)
        if key not in self._found:
            self._found[key] = _search(*key)
        return self._found[key]


def _search(provider: str, models: tuple[str, ...], places: tuple[str, ...]) -> Found | None:
    prices, version = table().prices, table().version
    for seller in (provider, *stand_ins(provider)):
        for model in models:
            for key in keys(seller, model, places):
                price = prices.get(key)
                if price is not None and (not seller or is_of(price.provider, seller)):
                    exact = seller == provider != "" and _is_same(key, model)
                    return Found(price, version, None if exact else f"at the list price of {key}")
    return None


def _is_same(key: str, model: str) -> bool:
    return key.rpartition("/")[2] == model.removeprefix("models/").rpartition("/")[2]


def _version(pattern: str, price: config.Price) -> str:
    return f"own {digest(pattern, repr(price))[:8]}"


def _own_price(price: config.Price) -> Price:
    return Price(
        rates=_own_rates(price),
        tiers={tier: _own_rates(rates) for tier, rates in price.tiers.items()},
        above=tuple(Above(int(tokens), _own_rates(rates)) for tokens, rates in price.above.items()),
    )


def _own_rates(rates: config.Rates) -> Rates:
    said = {name: getattr(rates, name) for name in Rates.__struct_fields__}
    return Rates(**{name: Decimal(str(value)) for name, value in said.items() if value is not None})
