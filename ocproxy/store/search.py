"""What is searched, and how each kind of database narrows it down to what `terms` then looks at.

The trigrams of a word say in which rows it may be: in SQLite's FTS5 table `search_index`, kept by triggers, or in GIN
indexes with the operators of pg_trgm. Both are made by the migration `20261130_add_search`. Words of one or two
characters have no trigram, and a database may have no index (FTS5 or pg_trgm are missing): then rows are read, the
newest first.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from ocproxy.store import schema
from ocproxy.store.base import Hit, Scope
from ocproxy.store.terms import Sieve, Term, is_cased
from ocproxy.work import clean

# Longer words are looked for by their beginning: databases bound their patterns (SQLite at 50,000 bytes).
_PATTERN_CHARACTERS = 200
# The most terms, and trigrams of one term, that the database is asked for: more of them exclude little.
_TERMS, _TRIGRAMS = 16, 32
# Of how many letters with two forms SQLite is asked for each form; it knows those of ASCII alone.
_SPELLED = 3
# How many rows are asked for first; each time they were not enough, four times as many.
_FIRST_ROWS, _MORE, _MOST_ROWS = 64, 4, 1024
# From so many on, SQLite goes through the rows by time: most likely enough are among the newest, and asking the index
# for all would take longer. Fewer are fetched and sorted.
_MANY, _NEWEST_ROWS = 2000, 4000


class _Source(NamedTuple):
    what: str
    table: sa.Table
    text: Any  # the expression that the index is on, as the migration wrote it
    place: str  # the column that orders what has one time


_MESSAGE, _EVENT = schema.MESSAGES.c, schema.FILE_EVENTS.c
_NOTHING: Any = sa.literal_column("''")
_BREAK: Any = sa.literal_column("'\n'")
_EVENT_TEXTS = ("command", "file_path", "destination")
_command, _path, _destination = (sa.func.coalesce(_EVENT[name], _NOTHING) for name in _EVENT_TEXTS)
_MESSAGES = _Source("message", schema.MESSAGES, _MESSAGE.content, "seq")
_EVENTS = _Source(
    "file_event",
    schema.FILE_EVENTS,
    _command.concat(_BREAK).concat(_path).concat(_BREAK).concat(_destination),
    "ordinal",
)
_INDEXES = {"message": "search_messages", "file_event": "search_file_events"}
_COLUMNS = {
    "message": ("id", "session_id", "created_at", "role", "content"),
    "file_event": ("id", "session_id", "message_id", "created_at", "event_type", "status", "tool_name", *_EVENT_TEXTS),
}


class Searching:
    """The half of a `SqlStore` that searches."""

    _engine: Any  # of SQLAlchemy, whatever kind
    _is_indexed: bool | None = None

    async def _all(self, query: sa.Select[Any], **given: Any) -> Sequence[sa.RowMapping]:
        raise NotImplementedError

    async def search_is_indexed(self) -> bool:
        if self._is_indexed is None:
            named = sa.table("sqlite_master", sa.column("name"))
            query = sa.select(named.c.name).where(named.c.name == "search_index")
            if not self._is_sqlite:
                query = sa.select(sa.cast(sa.func.to_regclass("search_messages"), sa.Text).label("name"))
            self._is_indexed = any(row["name"] for row in await self._all(query))
        return self._is_indexed

    @property
    def _is_sqlite(self) -> bool:
        return bool(self._engine.dialect.name == "sqlite")

    async def search(self, terms: Sequence[Term], scope: Scope) -> AsyncIterator[Hit]:
        waiting: list[tuple[AsyncIterator[Hit], Hit]] = []
        for source in (_MESSAGES, _EVENTS):
            feed = self._of(source, terms, scope)
            if (first := await anext(feed, None)) is not None:
                waiting.append((feed, first))
        while waiting:
            newest = max(range(len(waiting)), key=lambda place: waiting[place][1].created_at)
            feed, hit = waiting.pop(newest)
            yield hit
            if (following := await anext(feed, None)) is not None:
                waiting.insert(newest, (feed, following))

    async def events_of_files(self, part: str) -> list[str]:
        where: sa.ColumnElement[bool] = _EVENT.file_path.is_not(None) | _EVENT.destination.is_not(None)
        if part:
            term = Term((clean(part),))
            where = self._holds(_EVENT.file_path, term) | self._holds(_EVENT.destination, term)
            where &= (await self._narrow(_EVENTS, [term]))[0]
        in_order = (_EVENT.created_at, _EVENT.session_id, sa.func.coalesce(_EVENT.ordinal, 0))
        return [row["id"] for row in await self._all(sa.select(_EVENT.id).where(where).order_by(*in_order))]

    async def _of(self, source: _Source, terms: Sequence[Term], scope: Scope) -> AsyncIterator[Hit]:
        table = source.table.c
        narrowed, is_many = await self._narrow(source, terms)
        holding = [*_within(table, scope), *[self._holds(source.text, term) for term in terms[:_TERMS]]]
        newest_first = (table.created_at.desc(), sa.func.coalesce(table[source.place], 0).desc(), table.id.desc())
        wheres = [[narrowed, *holding]]
        if is_many:
            times = sa.select(table.created_at).where(*_within(table, scope)).order_by(table.created_at.desc())
            wheres.insert(0, [*holding, table.created_at > times.offset(_NEWEST_ROWS).limit(1).scalar_subquery()])
        seen: set[str] = set()
        for where in wheres:
            async for ids in self._pages(sa.select(table.id).where(*where).order_by(*newest_first)):
                for hit in await self._hits(source, [id for id in ids if id not in seen]):
                    if all(term.is_in(hit.text) for term in terms):
                        yield hit
                seen.update(ids)  # rows that come in meanwhile push others behind the offset

    async def _pages(self, query: sa.Select[Any]) -> AsyncIterator[list[str]]:
        offset, limit = 0, _FIRST_ROWS
        while True:
            ids = [row["id"] for row in await self._all(query.offset(offset).limit(limit))]
            yield ids
            if len(ids) < limit:
                return
            offset, limit = offset + len(ids), min(limit * _MORE, _MOST_ROWS)

    async def _hits(self, source: _Source, ids: Sequence[str]) -> list[Hit]:
        """In the order of the ids."""
        found: dict[str, Hit] = {}
        columns = [source.table.c[name] for name in _COLUMNS[source.what]]
        for start in range(0, len(ids), _FIRST_ROWS):
            some = ids[start : start + _FIRST_ROWS]
            for row in await self._all(sa.select(*columns).where(source.table.c.id.in_(some))):
                found[row["id"]] = _hit(source, dict(row))
        return [found[id] for id in ids if id in found]

    # --- SQL

    async def _narrow(self, source: _Source, terms: Sequence[Term]) -> tuple[sa.ColumnElement[bool], bool]:
        """SQLite's question to its index, and whether many rows answer it. PostgreSQL finds its indexes by itself."""
        asked = " AND ".join(f'"{one}"' for one in _trigrams(terms))
        if not (self._is_sqlite and asked and await self.search_is_indexed()):
            return sa.true(), False
        match = sa.text("search_index MATCH :asked").bindparams(asked=asked)
        rowids: sa.Select[Any] = (
            sa.select(sa.literal_column("rowid")).select_from(sa.table("search_index")).where(match)
        )
        entries = sa.table("search_entries", sa.column("id"), sa.column("what"), sa.column("row_id"))
        ids = sa.select(entries.c.row_id).where(entries.c.id.in_(rowids), entries.c.what == source.what)
        is_many = len(await self._all(rowids.limit(_MANY))) == _MANY
        id: Any = source.table.c.id
        member: sa.ColumnElement[bool] = (id.concat(_NOTHING) if is_many else id).in_(ids)  # of an expression: no index
        return member, is_many

    def _holds(self, text: Any, term: Term) -> sa.ColumnElement[bool]:
        """What is true of every text with the term, and of few others."""
        pieces = _shortened(term.pieces)
        if self._is_sqlite:
            likes = sa.or_(*[text.like(f"%{pattern}%", escape="\\") for pattern in _likes(pieces)])
            if len(pieces) == 1:
                return likes
            # A phrase of common words is nearly everywhere, as far as LIKE and the index can tell.
            blob = sa.cast(text, sa.LargeBinary)
            holds: sa.ColumnElement[bool] = sa.func.ocproxy_holds(blob, " ".join(pieces), type_=sa.Boolean())
            return holds if _trigrams([term]) and not any(map(is_cased, "".join(pieces))) else likes & holds
        if len(pieces) > 1 or any(map(is_cased, pieces[0])):  # not all locales know the other form of these
            return sa.type_coerce(text.op("~")(r"\s+".join(map(_regex, pieces))), sa.Boolean)
        return sa.type_coerce(text.ilike(f"%{_escaped(pieces[0])}%"), sa.Boolean)


def _within(table: Any, scope: Scope) -> list[sa.ColumnElement[bool]]:
    where = []
    if scope.session_ids is not None:
        where.append(table.session_id.in_(scope.session_ids))
    if scope.agent is not None:
        session = schema.SESSIONS.c
        named = (session.agent_name == scope.agent) | (session.plugin == scope.agent)
        where.append(table.session_id.in_(sa.select(session.id).where(named)))
    if scope.since is not None:
        where.append(table.created_at >= scope.since)
    return where


def _hit(source: _Source, row: dict[str, Any]) -> Hit:
    if source is _MESSAGES:
        return Hit(source.what, text=row.pop("content") or "", message_id=row["id"], **row)
    text = "\n".join(row[name] for name in _EVENT_TEXTS if row[name])
    return Hit(source.what, text=text, **{**row, "status": row["status"] or "unknown"})


@lru_cache(64)
def _sieve(spaced: str) -> Sieve:
    return Sieve(Term(spaced.split()))


def holds(text: bytes | None, spaced: str) -> bool:
    """SQLite's function `ocproxy_holds`: whether a text, as a blob of UTF-8, has this phrase."""
    return text is not None and _sieve(spaced).passes(text)


def _shortened(pieces: Sequence[str]) -> list[str]:
    found, room = [], _PATTERN_CHARACTERS
    for piece in pieces:
        if room > 0:
            found.append(piece[:room])
        room -= len(piece)
    return found


def _trigrams(terms: Sequence[Term]) -> list[str]:
    """Those to ask the index for, as strings of FTS5."""
    found: dict[str, None] = {}
    for term in terms[:_TERMS]:
        pieces = _shortened(term.pieces)
        every = [piece[at : at + 3] for piece in pieces for at in range(len(piece) - 2)]
        found.update(dict.fromkeys(every[:: len(every) // _TRIGRAMS + 1]))
    return [one.replace('"', '""') for one in found]


def _escaped(piece: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", piece)


def _likes(pieces: Sequence[str]) -> list[str]:
    """Patterns for SQLite, whose LIKE knows the two forms of ASCII's letters only."""
    pattern = "%".join(map(_escaped, pieces))
    cased = {character for character in pattern if is_cased(character)}
    if len(cased) > _SPELLED:
        return ["".join("_" if is_cased(character) else character for character in pattern)]
    forms = itertools.product(*[{one, one.lower()[:1], one.upper()[:1]} for one in sorted(cased)])
    return [pattern.translate(dict(zip(map(ord, sorted(cased)), form, strict=True))) for form in forms]


def _regex(piece: str) -> str:
    """For PostgreSQL: each letter in both forms, everything else as itself."""
    return "".join(map(_either, piece))


def _either(character: str) -> str:
    if character.lower() != character.upper():
        return f"[{character.lower()}{character.upper()}]"
    return f"\\{character}" if character.isascii() and not character.isalnum() else character


def index(connection: sa.Connection) -> bool:
    """Make PostgreSQL's indexes where the migration could not, for want of pg_trgm. Returns whether they are there."""
    if connection.dialect.name != "postgresql":
        return True
    if connection.execute(sa.select(sa.func.to_regclass("search_messages").is_not(None))).scalar():
        return True
    query = sa.text(
        "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace"
        " WHERE extname = 'pg_trgm'"
    )
    if connection.execute(query).scalar() is None:
        try:
            with connection.begin_nested():
                connection.execute(sa.text("CREATE EXTENSION pg_trgm"))
        except sa.exc.DBAPIError:  # not installed on the server, or the user may not
            return False
    operators = f"{connection.execute(query).scalar()}.gin_trgm_ops"
    for source in (_MESSAGES, _EVENTS):
        text = source.text.compile(dialect=connection.dialect)
        name = source.table.name
        connection.execute(sa.text(f"CREATE INDEX {_INDEXES[source.what]} ON {name} USING gin (({text}) {operators})"))
    return True
