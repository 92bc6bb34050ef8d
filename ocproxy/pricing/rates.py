"""The shape of a price, and what some tokens cost by it.

A price has rates for the kinds of tokens, and other ones for service tiers, long prompts, times of the day and places.
Which one counts is told here; where prices come from is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

_NANOS = 1000  # dollars per million tokens -> nano-dollars per token
_DAY_MINUTES = 24 * 60


class Rates(msgspec.Struct, frozen=True, omit_defaults=True):
    """US dollars per million tokens. None: not said, see `Price.rates_for`."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    reasoning: Decimal | None = None

    def over(self, below: Rates) -> Rates:
        """These rates, and those of `below` where these do not say."""
        own = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(below, **own)


class Above(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changes for a whole call when its prompt, cached tokens included, is longer than `tokens`."""

    tokens: int
    rates: Rates = Rates()
    tiers: dict[str, Rates] = {}


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """A time of the day in UTC, "HH:MM-HH:MM", end excluded; over midnight where it ends before it begins, the whole
    day where both are equal. On `days` of the week in UTC only (1 is Monday)."""

    hours: tuple[str, ...]
    days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)


class OffPeak(msgspec.Struct, frozen=True):
    """Rates that replace all others at certain times."""

    windows: tuple[Window, ...]
    rates: Rates


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """The price of one model at one provider."""

    provider: str = ""
    rates: Rates = Rates()
    tiers: dict[str, Rates] = {}  # by service tier: flex, priority, batch, …
    above: tuple[Above, ...] = ()
    reaches: bool = False  # a prompt of exactly `Above.tokens` is a long one already
    off_peak: OffPeak | None = None
    places: dict[str, Decimal] = {}  # factor by where it ran (usage.inference_geo, a regional host)
    fast: Decimal | None = None  # factor of fast mode (usage.speed)
    search: Decimal | None = None  # dollars for a web search that the provider made

    def rates_for(self, prompt: int, tier: str | None, at: datetime) -> Rates:
        """The rates of a call with a prompt of so many tokens, cached ones included, on this service tier.

        A tier or length that has no rate of its own for a kind of token has that of the standard tier. Of what has no
        rate at all, tokens of the cache cost what input does, one-hour writes what writes do, reasoning what
        output does.
        """
        found = self.tiers.get(tier or "", Rates()).over(self.rates)
        dear = False  # the rates of long prompts count
        for step in sorted(self.above, key=lambda step: step.tokens):
            if prompt > step.tokens or (self.reaches and prompt == step.tokens):
                found = step.tiers.get(tier or "", Rates()).over(step.rates).over(found)
                dear = dear or (step.rates.output is not None and step.rates.reasoning is None)
        own = self.tiers.get(tier or "", Rates())
        if dear or (own.output is not None and own.reasoning is None):
            found = msgspec.structs.replace(found, reasoning=None)  # it is of the output that now costs otherwise
        if self.off_peak is not None and any(_is_within(window, at) for window in self.off_peak.windows):
            found = self.off_peak.rates.over(found)
        return _filled(found)


class Tokens(msgspec.Struct, frozen=True):
    """The tokens of one call. `input` excludes what a cache served or took; `output` includes reasoning."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0  # all of it
    cache_write_1h: int = 0  # what of it is kept for an hour
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write


class Circumstances(msgspec.Struct, frozen=True):
    """What changes a call's price beside its tokens."""

    at: datetime
    tier: str | None = None
    places: tuple[str, ...] = ()
    fast: bool = False
    searches: int = 0


def cost(price: Price, tokens: Tokens, how: Circumstances) -> int:
    """What the call costs, in nano-dollars, rounded once, half to even."""
    rates = price.rates_for(tokens.prompt, how.tier, how.at)
    total: Decimal = sum((count * (rate or Decimal(0)) for count, rate in _billed(tokens, rates)), Decimal(0))
    for place in how.places:
        total *= price.places.get(place, Decimal(1))
    if how.fast and price.fast is not None:
        total *= price.fast
    total += how.searches * (price.search or Decimal(0)) * 1_000_000
    return int((total * _NANOS).to_integral_value(ROUND_HALF_EVEN))


def _billed(tokens: Tokens, rates: Rates) -> Iterator[tuple[int, Decimal | None]]:
    """Each kind of token with its rate. Shares that the wire gives larger than their whole count as the whole."""
    hour = min(tokens.cache_write_1h, tokens.cache_write)
    thought = min(tokens.reasoning, tokens.output)
    yield tokens.input, rates.input
    yield tokens.cache_read, rates.cache_read
    yield tokens.cache_write - hour, rates.cache_write
    yield hour, rates.cache_write_1h
    yield tokens.output - thought, rates.output
    yield thought, rates.reasoning


def _filled(rates: Rates) -> Rates:
    """The rates with every kind of token said."""
    write = rates.cache_write if rates.cache_write is not None else rates.input
    return Rates(
        input=rates.input,
        output=rates.output,
        cache_read=rates.cache_read if rates.cache_read is not None else rates.input,
        cache_write=write,
        cache_write_1h=rates.cache_write_1h if rates.cache_write_1h is not None else write,
        reasoning=rates.reasoning if rates.reasoning is not None else rates.output,
    )


def _is_within(window: Window, at: datetime) -> bool:
    utc = at.astimezone(UTC)
    if utc.isoweekday() not in window.days:
        return False
    now = utc.hour * 60 + utc.minute
    for hours in window.hours:
        begin, end = (int(clock[:2]) * 60 + int(clock[3:]) for clock in hours.split("-"))
        length = (end - begin) % _DAY_MINUTES or _DAY_MINUTES
        if (now - begin) % _DAY_MINUTES < length:
            return True
    return False
