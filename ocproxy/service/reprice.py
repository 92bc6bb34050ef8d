"""Prices stored calls anew, by the prices in force now."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from ocproxy.config import Config
from ocproxy.model import CallRow
from ocproxy.pricing.bills import priced
from ocproxy.pricing.book import PriceBook
from ocproxy.service.answers import open_for_reading
from ocproxy.store.base import CallCost

# Calls read, and those of them that changed written, at once: a writer holds up the ingest for as long as that takes.
_AT_ONCE = 2_000


class Repriced(NamedTuple):
    """How many calls were looked at, how many have another cost now, and what all of them cost (nano-dollars)."""

    calls: int
    changed: int
    before: int
    after: int


async def reprice(config: Config, *, since: datetime | None = None, model: str | None = None) -> Repriced:
    """Give every stored call, or those since a time or of a model, the cost that it has by today's prices. A server
    may run meanwhile; it goes on with the prices that it was started with. Interrupted, it can be done again."""
    book, done, last = PriceBook(config.prices), Repriced(0, 0, 0, 0), ""
    async with await open_for_reading(config) as store:
        while rows := await store.calls_to_price(last, since=since, model=model, limit=_AT_ONCE):
            found = [priced(row, book) for row in rows]
            changed = [_cost(new) for old, new in zip(rows, found, strict=True) if _cost(old) != _cost(new)]
            await store.set_costs(changed)
            done = Repriced(
                done.calls + len(rows),
                done.changed + len(changed),
                done.before + sum(row.cost or 0 for row in rows),
                done.after + sum(row.cost or 0 for row in found),
            )
            last = rows[-1].id
    return done


def _cost(row: CallRow) -> CallCost:
    return CallCost(row.id, row.cost, row.price_version, row.price_note)
