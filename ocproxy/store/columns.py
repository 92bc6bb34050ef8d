"""What columns hold: types that are the same on every kind of database."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ocproxy.work import clean


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware datetime in UTC, on databases with and without time zones. Naive values are a mistake and raise."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Words(sa.types.TypeDecorator[str]):
    """Text. Lone surrogates and NULs, which agents send and databases refuse, become U+FFFD; the journal has them."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return clean(value) if value is not None else None


# A longer value does not fit into an index of PostgreSQL (2704 bytes) with what stands beside it there.
_KEY_CHARACTERS = 512


def shorten(value: str) -> str:
    """A value of a `Key` column as it is stored. Ids of agents and providers have no bound: some carry signatures."""
    if len(value) <= _KEY_CHARACTERS:
        return value
    full = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{value[: _KEY_CHARACTERS - len(full) - 1]}~{full}"


class Key(Words):
    """Text of the wire in an index. One that is too long keeps its beginning, with a digest of the whole."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return super().process_bind_param(shorten(value) if value is not None else None, dialect)


class Notes(sa.types.TypeDecorator[Any]):
    """JSON that we made ourselves: JSONB on PostgreSQL, to be asked for. That takes no NUL and no lone surrogate, so
    these become U+FFFD, on every kind of database."""

    impl = sa.JSON
    cache_ok = True

    def __init__(self, *, none_as_null: bool = False) -> None:
        super().__init__(none_as_null=none_as_null)
        self.none_as_null = none_as_null

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        kind = postgresql.JSONB if dialect.name == "postgresql" else sa.JSON
        return dialect.type_descriptor(kind(none_as_null=self.none_as_null))

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return _cleaned(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): _cleaned(item) for name, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


# JSON of the wire: the seed's type, and the text as it was sent, on PostgreSQL too. JSONB would sort the fields of
# objects, which agents' tools and people can tell, write 1e2 as 100, and refuse what JSON allows: \u0000.
WIRE_JSON = sa.JSON

# 64 bits. SQLite's INTEGER has them, and only a key of that very name is its rowid, which counts up by itself.
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def text(name: str, *, optional: bool = False) -> sa.Column[Any]:
    """A column of `Words`."""
    return sa.Column(name, Words(), nullable=optional)
