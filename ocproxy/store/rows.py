"""Rows of the database as structs, and back."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from ocproxy.model import FileEvent, MessageRow

Row = TypeVar("Row", bound=msgspec.Struct)


def to_dict(row: msgspec.Struct) -> dict[str, Any]:
    """Its fields, which are named as the columns."""
    return {name: getattr(row, name) for name in row.__struct_fields__}


def from_row(row: sa.RowMapping, kind: type[Row]) -> Row:
    """A row as its struct. Where code that knows only the seed columns left NULL, ours have their empty value."""
    values = {name: row[name] for name in kind.__struct_fields__}
    if kind in _SEED_EMPTY:
        empty = _SEED_EMPTY[kind] | ({"updated_at": row["created_at"]} if kind is FileEvent else {})
        values |= {name: value for name, value in empty.items() if values[name] is None}
    return msgspec.convert(values, kind, strict=False)


_SEED_EMPTY: dict[type[msgspec.Struct], dict[str, Any]] = {
    MessageRow: {"key": "", "history": "", "depth": 0, "seq": 0, "call_id": ""},
    FileEvent: {"tool_use_id": "", "tool_name": "", "ordinal": 0, "status": "unknown", "certainty": "exact"},
}
