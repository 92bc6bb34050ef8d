"""The contract of taking sessions out of a store: what hangs on what, how much it is, and what journals must still do.

Removing is three steps, and whoever dies between them is finished by the next: the rows go, and what is to be erased
from which journal is noted, in one transaction (`remove`); whoever has the journal erases there (`ocproxy.journal`);
then the note goes (`forget_erasures`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from typing import Protocol as Shape

from ocproxy.exchange import Position


class Tie(NamedTuple):
    """One session that hangs on another."""

    kind: Literal["subagent", "fork", "twin"]
    of: str  # the session that was there before
    session_id: str  # a fork counts some of its messages as the other's; a twin begins with the same, up to an answer


class Aged(NamedTuple):
    """A session, and when its last call ended."""

    id: str
    updated_at: datetime


class Extent(NamedTuple):
    """How much is or was to go. Bytes are those of the rows' texts, without what a database needs around them."""

    sessions: int = 0
    messages: int = 0
    file_events: int = 0
    calls: int = 0
    rows: int = 0  # of all tables
    content_bytes: int = 0
    wire_bytes: int = 0  # that the calls sent and got, as the journal has them before it is compressed
    shared_calls: int = 0  # calls of other sessions over the same connections, whose bytes go with them

    def __add__(self, other: tuple[int, ...]) -> Extent:  # type: ignore[override]  # sums, not one behind the other
        return Extent(*(one + two for one, two in zip(self, other, strict=True)))


class Removal(NamedTuple):
    """One removal that was done."""

    seq: int
    at: datetime
    reason: str
    sessions: int
    messages: int
    calls: int


Exchanges = dict[int, Position | None]
"""What is to be erased of one journal, as `ocproxy.journal.erase` takes it."""


class Removals(Shape):
    """The part of a store that removes. All methods raise StoreBusy and StoreError."""

    async def ties(self, ids: Sequence[str]) -> list[Tie]:
        """The ties that one of these sessions has, at either end."""
        ...

    async def old_sessions(self, before: datetime, *, keep_usage: bool, after: Aged | None, limit: int) -> list[Aged]:
        """Sessions whose last call ended before then, oldest first, those behind `after`. With `keep_usage` only those
        whose content is still there."""
        ...

    async def old_strays(self, before: datetime, *, keep_usage: bool, after: str, limit: int) -> list[str]:
        """Ids of calls of no session that ended before then, in order, those behind `after`. With `keep_usage` only
        those whose bytes may still be in a journal."""
        ...

    async def extent(self, ids: Sequence[str], strays: Sequence[str] = (), *, keep_usage: bool = False) -> Extent:
        """What `remove` would take away."""
        ...

    async def remove(
        self, ids: Sequence[str], strays: Sequence[str] = (), *, keep_usage: bool = False, reason: str
    ) -> Extent:
        """Remove these sessions with all that belongs to them, and these calls, in one transaction, and note what is to
        be erased from journals. What belongs to a session is told by the foreign keys: rows that point at something
        that goes, go too, unless the key says SET NULL; calls go always. Prompts that no call needs any more go.

        With `keep_usage` sessions, calls and their totals stay, without a word of what was said.
        """
        ...

    async def removed_since(self, count: int | None) -> tuple[int, set[str]]:
        """How many removals there were, and which sessions those took away that came after the first `count` (None:
        only the count is asked for). Who holds sessions in memory forgets these, and hands the number to `commit`."""
        ...

    async def removals(self, limit: int) -> list[Removal]:
        """The newest, newest first."""
        ...

    async def pruned(self, ids: Sequence[str]) -> dict[str, datetime]:
        """When the content of these sessions was removed; those that have all are not in it."""
        ...

    async def erasures(self, journals: Collection[str] | None = None) -> dict[str, Exchanges]:
        """What is still to be erased, by journal id."""
        ...

    async def count_erasures(self) -> dict[str, int]:
        """How many exchanges are still to be erased, by journal id."""
        ...

    async def forget_erasures(self, journal: str, exchanges: Collection[int]) -> None:
        """They are erased."""
        ...

    async def settle(self, *, compact: bool) -> bool:
        """Let nothing of what was removed stay in files of the database beside its rows. With `compact` also give free
        space back, which copies the database: others that write wait. Returns whether all was done; not, where others
        kept reading. What a server of its own keeps, in logs, copies and unused space, is its administrator's."""
        ...


def by_journal(rows: Mapping[tuple[str, int], str | None]) -> dict[str, Exchanges]:
    """Rows of `erasures` as they are handed on."""
    found: dict[str, Exchanges] = {}
    for (journal, exchange), position in rows.items():
        found.setdefault(journal, {})[exchange] = None if position is None else Position.parse(position)
    return found
