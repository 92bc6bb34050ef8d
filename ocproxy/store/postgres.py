"""PostgreSQL (14 and later) by asyncpg: one database for any number of replicas.

URLs are those of libpq (`postgresql://user:password@host:port/database?sslmode=require`): asyncpg reads them itself, so
several hosts, `sslmode` and a password file work as everywhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ocproxy.errors import StoreBusy, StoreError, StoreRefused
from ocproxy.store import migrations
from ocproxy.store.base import Bell, Store
from ocproxy.store.schema import METADATA
from ocproxy.store.sizes import StoreSize
from ocproxy.store.sql import SqlStore
from ocproxy.store.sql_sizes import measure_postgres
from ocproxy.store.transactions import Result, Work
from ocproxy.store.undisturbed import undisturbed

_LEAST_VERSION = 14

# Connections kept open, and how many more when all are at work: the ingest needs one, the API one a question.
_POOL_SIZE, _POOL_MORE, _POOL_WAIT_SECONDS = 5, 5, 10.0
_CONNECT_SECONDS = 10.0
# The server gives up a statement after this time, and a lock; the client a little later, when the server has gone
# without a word. The longest of ours, a list of sessions among millions, takes seconds.
_STATEMENT_SECONDS, _LOCK_SECONDS = 60, 20
_SILENCE_SECONDS = 75.0
# What asyncpg sends at the start of each connection.
_SETTINGS = {
    "application_name": "ocproxy",
    "statement_timeout": f"{_STATEMENT_SECONDS}s",
    "lock_timeout": f"{_LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "synchronous_commit": "on",  # what was committed is there after a crash, whatever the server's own default
}
# A migration rewrites tables and waits for another that does.
_MIGRATION_SETTINGS = {**_SETTINGS, "statement_timeout": "0", "lock_timeout": "0"}

# Advisory locks, held to the end of a transaction: of who stores, and of who migrates. Any numbers that nobody else in
# the database uses ("ocpr" and a count).
_STORE_LOCK, _MIGRATION_LOCK = 0x6F637072_00000001, 0x6F637072_00000002

# Followers look at least this often, should a notification be lost on the way (a proxy between us and the server).
_LOOK_SECONDS = 5.0

_REACH = "start the PostgreSQL server, or look at host and port in database_url"
_LATER = "nothing is lost: the journal keeps what comes until it is back"

# What the server says when it ends a connection: shut down, crashed, ended by somebody, idle for too long.
_ENDED = {"57P01", "57P02", "57P05"}

# SQLSTATE, or its first two letters -> (what to raise, what to do). https://www.postgresql.org/docs/current/errcodes-appendix.html
_CODES: dict[str, tuple[type[StoreError], str | None]] = {
    "08": (StoreBusy, _LATER),  # connection
    "25006": (StoreBusy, "the server only reads, as a stand-by does; see target_session_attrs for several hosts"),
    "25P03": (StoreBusy, _LATER),  # idle in a transaction: we were stopped in the middle
    "28": (StoreError, "look at user and password in the URL (or in ~/.pgpass), and at the server's pg_hba.conf"),
    "3D000": (StoreError, "create it first: createdb NAME; ocproxy makes the tables itself"),
    "40": (StoreBusy, _LATER),  # serialization failures and deadlocks
    "42501": (StoreError, "give the user the right: it must own the tables, or may create some in the schema"),
    "42P01": (StoreError, "the tables are not up to date: run ocproxy db upgrade"),
    "42703": (StoreError, "the tables are not up to date: run ocproxy db upgrade"),
    "3F000": (StoreError, "there is no schema to make tables in: look at the user's search_path"),
    "22": (StoreRefused, None),  # a value of the wrong form
    "23": (StoreRefused, None),  # a broken constraint
    "54": (StoreRefused, None),  # too large
    "53": (StoreBusy, "the server has no room (disk, memory or connections): " + _LATER),
    "55P03": (StoreBusy, _LATER),  # a lock was not to be had
    "57": (StoreBusy, _LATER),  # shut down, starting, cancelled
    "58": (StoreBusy, _LATER),  # the server's disk
    "XX": (StoreBusy, _LATER),  # internal error, damaged data
}


class _LostError(Exception):
    """The server ended a connection that the pool had kept: its cause. Another one may do."""


class PostgresStore(SqlStore):
    """One database. `url` for the connection that listens, which the pool cannot lend; `own` are the processes of the
    server that work for us."""

    is_shared = True
    insert = staticmethod(postgresql.insert)

    def __init__(self, engine: AsyncEngine, url: str, own: Collection[int]) -> None:
        super().__init__()
        self._engine = engine
        self._url = url
        self._own = own

    async def transact(self, work: Work[Result], *, writes: bool) -> Result:
        return await undisturbed(self._transact(work, writes))

    async def _transact(self, work: Work[Result], writes: bool) -> Result:
        try:
            for _ in range(_POOL_SIZE + _POOL_MORE):  # all of them may be lost
                with suppress(_LostError):
                    return await self._run(work, writes)
            return await self._run(work, writes)
        except Exception as error:
            if isinstance(error, _LostError) and isinstance(error.__cause__, Exception):
                error = error.__cause__
            if (ours := translate(error)) is None:
                raise
            raise ours from None

    async def _run(self, work: Work[Result], writes: bool) -> Result:
        """Raises _LostError where the connection was gone and nothing can have been stored."""
        async with self._engine.connect() as connection:
            if not writes:  # each statement for itself: one message there and back, not three
                await connection.execution_options(isolation_level="AUTOCOMMIT")
            transaction = await connection.begin()
            try:
                result: Result = await connection.run_sync(work)
            except sa.exc.DBAPIError as error:
                if not _is_lost(error):
                    raise
                await connection.invalidate()
                raise _LostError from error
            await transaction.commit()
            return result

    async def close(self) -> None:
        await self._engine.dispose()

    def begin_writing(self, connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_STORE_LOCK)))

    def bell(self) -> AbstractAsyncContextManager[Bell]:
        return self._listen("ocproxy_changes")

    def turn_bell(self) -> AbstractAsyncContextManager[Bell]:
        return self._listen("ocproxy_turns", but=self._own)

    def measure(self, connection: sa.Connection) -> StoreSize:
        return measure_postgres(connection)

    async def settle(self, *, compact: bool) -> bool:
        """The server reuses the room of removed rows, and its autovacuum finds it by itself; VACUUM does so now. It
        stops nobody."""
        if compact:
            try:
                connection = await _connect(self._url, _MIGRATION_SETTINGS, silence=None)
                try:
                    for table in METADATA.sorted_tables:
                        await connection.execute(f'VACUUM "{table.name}"')
                finally:
                    await connection.close()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise translate(error) or error from None
        return True

    @asynccontextmanager
    async def _listen(self, channel: str, but: Collection[int] = ()) -> AsyncIterator[Bell]:
        """A bell that rings for what others than `but` say on the channel."""
        rang = asyncio.Event()

        def ring(_: object, pid: int, *__: object) -> None:
            if pid not in but:
                rang.set()

        try:
            connection = await _connect(self._url, _SETTINGS)
            try:
                connection.add_termination_listener(lambda _: rang.set())
                await connection.add_listener(channel, ring)

                async def wait() -> None:
                    if connection.is_closed():
                        raise StoreBusy("the connection to the database was lost", hint=_LATER)
                    try:
                        await asyncio.wait_for(rang.wait(), _LOOK_SECONDS)
                    except TimeoutError:
                        return
                    rang.clear()

                yield wait
            finally:
                connection.terminate()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise translate(error) or error from None


class _Postgres:
    schemes = ("postgresql", "postgres", "postgresql+asyncpg")
    example = "postgresql://user:password@host/database"
    dialect = "postgresql"

    async def open(self, url: str, *, migrate: bool) -> Store:
        url = plain(url)
        if migrate:
            await undisturbed(asyncio.to_thread(migrations.ensure_newest, url))
        own: set[int] = set()
        opened: list[PostgresStore] = []

        async def connect() -> Any:
            connection = await _connect(url, _SETTINGS)
            pid = connection.get_server_pid()
            own.add(pid)
            if opened:  # the first time there is nothing yet that could be remembered
                opened[0].forget()  # it may be another server, that took over without our last commits
            connection.add_termination_listener(lambda _: own.discard(pid))  # the server gives it to others then
            return connection

        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_MORE,
            pool_timeout=_POOL_WAIT_SECONDS,
        )
        store = PostgresStore(engine, url, own)
        opened.append(store)
        try:
            await store.ready()
        except BaseException:
            await engine.dispose()
            raise
        return store

    def migrate(self, url: str, action: Callable[[sa.Connection], Result]) -> Result:
        def locked(connection: sa.Connection) -> Result:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            return action(connection)

        return _run(_once(plain(url), locked))

    def read(self, url: str, action: Callable[[sa.Connection], Result]) -> Result | None:
        return _run(_once(plain(url), action))

    def file(self, url: str) -> Path | None:
        plain(url)
        return None


def plain(url: str) -> str:
    """The URL as libpq has it. Raises StoreError, which does not show it: it may hold a password."""
    scheme, colon, rest = url.partition("://")
    if not colon or re.search(r"\s", rest):
        raise StoreError("that is not the URL of a database", hint=f"write {_Postgres.example}")
    return f"{scheme.partition('+')[0]}://{rest}"


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Its result. Where a loop runs already, which waits like for any other blocking call, in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


async def _once(url: str, action: Callable[[sa.Connection], Result]) -> Result:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: _connect(url, _MIGRATION_SETTINGS, silence=None),
        poolclass=sa.pool.NullPool,
    )
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(action)
    except Exception as error:
        if (ours := translate(error)) is None:
            raise
        raise ours from None
    finally:
        await engine.dispose()


async def _connect(url: str, settings: dict[str, str], silence: float | None = _SILENCE_SECONDS) -> Any:
    try:
        connection = await asyncpg.connect(
            url, timeout=_CONNECT_SECONDS, command_timeout=silence, server_settings=settings
        )
    except (ValueError, asyncpg.ClientConfigurationError):
        raise StoreError("that is not the URL of a database", hint=f"write {_Postgres.example}") from None
    major = connection.get_server_version().major
    if major < _LEAST_VERSION:
        await connection.close()
        raise StoreError(
            f"the server is PostgreSQL {major}, and ocproxy needs {_LEAST_VERSION} or later",
            hint="upgrade the server, or use another one",
        )
    return connection


def _is_lost(error: sa.exc.DBAPIError) -> bool:
    """Whether the connection is of no use any more, though the server may be."""
    cause = getattr(error.orig, "__cause__", None)
    is_ended = isinstance(cause, asyncpg.PostgresError) and (cause.sqlstate or "") in _ENDED
    return error.connection_invalidated or is_ended or isinstance(cause, asyncpg.PostgresConnectionError | OSError)


def translate(error: Exception) -> StoreError | None:
    """A database error as ours; None for what is none."""
    if isinstance(error, sa.exc.TimeoutError):
        return StoreBusy("all connections to the database are in use", hint=_LATER)
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    cause = getattr(cause, "__cause__", None) or cause  # asyncpg's own, behind SQLAlchemy's
    if isinstance(cause, StoreError):
        return cause
    if isinstance(cause, OSError | TimeoutError):
        said = f"{cause}" if str(cause) else "it does not answer"
        return StoreBusy(f"the database cannot be reached: {said}", hint=f"{_REACH}; {_LATER}")
    if isinstance(cause, asyncpg.PostgresError):
        code = cause.sqlstate or ""
        kind, hint = _CODES.get(code) or _CODES.get(code[:2]) or (StoreError, None)
        said = str(cause).partition("\n")[0]
        return kind(f"the database {_VERBS[kind]}: {said}", hint=hint)
    if isinstance(cause, asyncpg.DataError | asyncpg.exceptions.DataError):
        return StoreRefused(f"the database refused: {cause}")
    if isinstance(cause, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return StoreBusy(f"the database cannot be used for the moment: {cause}", hint=_LATER)
    if isinstance(error, sa.exc.DBAPIError):
        return StoreError(f"the database refused: {cause}")
    return None


_VERBS = {StoreBusy: "cannot be used for the moment", StoreError: "cannot be used", StoreRefused: "refused"}

BACKEND = _Postgres()
