"""Every row of every table, as it is in the database, to be compared between databases that must not differ."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ocproxy.store.base import Store
from ocproxy.store.schema import CHANGES, METADATA, TURNS
from ocproxy.store.sql import SqlStore

# Clock readings of who stored, which only databases with several of them have.
_NOT_COMPARED = {TURNS.name}
# And the feed, which has as many lines as there were commits.
BUT_FEED = {*_NOT_COMPARED, CHANGES.name}


async def tables(store: Store, but: Collection[str] = _NOT_COMPARED) -> dict[str, list[dict[str, Any]]]:
    """Rows by table, in the order of their primary keys, with values as Python has them (times in UTC, JSON read); all
    tables `but` those."""
    assert isinstance(store, SqlStore)
    found = {}
    for table in METADATA.sorted_tables:
        if table.name not in but:
            rows = [dict(row) for row in await store._all(sa.select(table))]
            keys = [column.name for column in table.primary_key]
            found[table.name] = sorted(
                rows, key=lambda row: [row[key] for key in keys]
            )  # databases sort text their ways
    return found


def assert_equal(one: dict[str, list[dict[str, Any]]], other: dict[str, list[dict[str, Any]]]) -> None:
    """Asserts it table by table, so that a failure shows rows of one."""
    assert one.keys() == other.keys()
    for name, rows in one.items():
        assert len(rows) == len(other[name]), name
        for row, its in zip(rows, other[name], strict=True):
            assert row == its, name
