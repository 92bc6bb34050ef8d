"""Token counts as they come: which number counts, and what another event of the same stream changes."""

from __future__ import annotations

from ocproxy.model import Json, Problem
from ocproxy.protocols.problems import note

# No real count is larger; what is does not fit a database column.
MAX_COUNT = 2**53


def read_count(usage: dict[str, Json], key: str, problems: list[Problem]) -> int | None:
    """The count under `key`; None where there is none. What is no count is a Problem."""
    value = usage.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value < MAX_COUNT:
        note(problems, "wrong_type", f"{key} is not a count")
        return None
    return value


def merge_usage(old: dict[str, Json], new: dict[str, Json]) -> dict[str, Json]:
    """Usage after another event reported `new`. Counts are cumulative, so the larger one holds (some gateways send 0
    or null for what an earlier event had told)."""
    merged = dict(old)
    for key, value in new.items():
        known = merged.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            merged[key] = merge_usage(known, value)
        elif type(value) is int and type(known) is int:
            merged[key] = max(value, known)
        elif value is not None:
            merged[key] = value
    return merged
