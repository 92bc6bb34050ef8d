"""The contract of asking a store where its bytes are."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from typing import Protocol as Shape


class TableSize(NamedTuple):
    """The bytes of one table on the disk, and of its indexes."""

    name: str
    bytes: int  # with what stands outside of its rows (TOAST), without indexes
    index_bytes: int
    rows: int


class StoreSize(NamedTuple):
    """Where the bytes of a database are."""

    bytes: int  # all of it
    free_bytes: int  # of these: room that what comes next will use; 0 where the database does not tell
    log_bytes: int  # beside: a write-ahead log that belongs to this database alone
    tables: list[TableSize]  # largest first; tables that are not ours (a full-text index) count, too
    is_estimate: bool  # the bytes of tables are those of their texts, without what is around them


class SessionSize(NamedTuple):
    """The bytes of one session's texts in the database, and what its calls sent and got."""

    id: str
    agent_name: str
    updated_at: datetime
    content_bytes: int
    wire_bytes: int
    calls: int


class Sizes(Shape):
    """The part of a store that measures. All methods raise StoreBusy and StoreError."""

    async def size(self) -> StoreSize:
        """Of the whole database."""
        ...

    async def session_sizes(self) -> list[SessionSize]:
        """Of every session, and under the id "" of calls that have none. Reads all texts: seconds for a gigabyte."""
        ...
