"""Money and tokens of many calls, added up by the database; and the calls that are to be priced anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from ocproxy.model import CallKind
from ocproxy.store import schema
from ocproxy.store.base import SLOT_SECONDS, CallCost, Spending, Unpriced, UsageBy

TOKENS = ("input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning")
_COUNTS = (*(f"{name}_tokens" for name in TOKENS), "cost")


def has_usage() -> sa.ColumnElement[bool]:
    """Whether the wire said tokens that a model took or made: those that were only counted are none."""
    call = schema.CALLS.c
    return (call.kind != CallKind.COUNT.value) & (call.input_tokens.is_not(None) | call.output_tokens.is_not(None))


def is_unpriced() -> sa.ColumnElement[bool]:
    """Whether tokens were used whose price is not known."""
    return schema.CALLS.c.cost.is_(None) & has_usage()


def spending(by: UsageBy | None, since: datetime | None, until: datetime | None) -> sa.Select[Any]:
    """The query for `Store.spending`."""
    call = schema.CALLS.c
    failed = call.error.is_not(None) | call.status.is_(None) | (call.status >= 400)
    broken = failed | (call.outcome != "complete")
    other = schema.CALLS.alias("other")
    # Looked for only where it can be: a call that ended well was not made again.
    again = sa.exists().where(
        other.c.request_message_id == call.request_message_id, other.c.started_at > call.started_at
    )
    sums = {
        "calls": sa.func.count(),
        **{name: sa.func.sum(sa.case((call.kind != CallKind.COUNT.value, call[name]))) for name in _COUNTS},
        "unpriced": _count(is_unpriced()),
        "without_usage": _count(call.price_note.is_not(None) & call.cost.is_(None) & ~has_usage()),
        "failed": _count(failed),
        "retried": _count(broken & again),
        "cut_short": _count(broken & call.cost.is_not(None)),
    }
    key = _key(by)
    query = sa.select(key.label("key"), call.kind, *[sums[name].label(name) for name in Spending._fields[2:]])
    if by == "workdir":
        query = query.join_from(schema.CALLS, schema.SESSIONS, schema.SESSIONS.c.id == call.session_id, isouter=True)
    return _within(query, since, until).group_by("key", call.kind)


def read_spending(row: sa.RowMapping) -> Spending:
    """A row of that query. Sums come as decimals from some databases."""
    # The columns stand as the fields do, so none is looked up by name: there are thousands of quarters of an hour.
    values: list[Any] = list(row.values())
    found = Spending(*values[:2], *[int(value or 0) for value in values[2:]])
    return found._replace(cost=None) if row["cost"] is None else found


def unpriced(since: datetime | None, until: datetime | None) -> sa.Select[Any]:
    """The query for `Store.unpriced`."""
    call = schema.CALLS.c
    query = sa.select(call.model, call.upstream, call.price_note, sa.func.count().label("calls")).where(is_unpriced())
    return (
        _within(query, since, until)
        .group_by(call.model, call.upstream, call.price_note)
        .order_by(sa.func.count().desc(), call.model)
    )


def read_unpriced(row: sa.RowMapping) -> Unpriced:
    return Unpriced(row["model"], row["upstream"], row["price_note"], row["calls"])


def to_price(after: str, since: datetime | None, model: str | None, limit: int) -> sa.Select[Any]:
    """The query for `Store.calls_to_price`."""
    call = schema.CALLS.c
    query = sa.select(schema.CALLS).where(call.id > after, call.model.is_not(None))
    if model is not None:
        query = query.where(call.model == model)
    return _within(query, since, None).order_by(call.id).limit(limit)


def set_costs(costs: Sequence[CallCost]) -> tuple[sa.Update, list[dict[str, Any]]]:
    """The statement of `Store.set_costs` and what it is run with."""
    call = schema.CALLS.c
    names = ("cost", "price_version", "price_note")
    statement = (
        sa.update(schema.CALLS)
        .where(call.id == sa.bindparam("call_id"))
        .values({name: sa.bindparam(f"new_{name}") for name in names})
    )
    rows = [{"call_id": cost.id, **{f"new_{name}": getattr(cost, name) for name in names}} for cost in costs]
    return statement, rows


def _key(by: UsageBy | None) -> sa.ColumnElement[Any]:
    call = schema.CALLS.c
    if by is None:
        return sa.null()
    if by == "slot":
        return _Slot(call.started_at)
    keys = {"model": call.model, "agent": call.agent_name, "session": call.session_id}
    return schema.SESSIONS.c.workdir if by == "workdir" else keys[by]


class _Slot(sa.sql.functions.GenericFunction[int]):
    """The number of the quarter of an hour that a moment is in. No function of all databases rounds down."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(_Slot)
def _slot(element: _Slot, compiler: Any, **options: Any) -> str:
    moment = compiler.process(element.clauses, **options)
    return f"CAST(FLOOR(EXTRACT(EPOCH FROM {moment}) / {SLOT_SECONDS}) AS BIGINT)"


@compiles(_Slot, "sqlite")
def _slot_of_sqlite(element: _Slot, compiler: Any, **options: Any) -> str:
    moment = compiler.process(element.clauses, **options)
    return f"CAST(STRFTIME('%s', {moment}) AS INTEGER) / {SLOT_SECONDS}"


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _within(query: sa.Select[Any], since: datetime | None, until: datetime | None) -> sa.Select[Any]:
    if since is not None:
        query = query.where(schema.CALLS.c.started_at >= since)
    return query.where(schema.CALLS.c.started_at < until) if until is not None else query
