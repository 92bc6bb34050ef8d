"""SQLite: one file, WAL, readers never wait for the writer. Each transaction is done in a thread."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as dialect

from ocproxy.errors import StoreBusy, StoreError, StoreRefused
from ocproxy.store import migrations, search
from ocproxy.store.base import Bell, Store
from ocproxy.store.sizes import StoreSize
from ocproxy.store.sql import SqlStore
from ocproxy.store.sql_sizes import measure_sqlite
from ocproxy.store.transactions import Result, Work
from ocproxy.store.undisturbed import undisturbed

# How long a statement waits for another process's write lock before it is StoreBusy. Long enough for any write of ours,
# short enough that the ingest loop notices and tells.
BUSY_MS = 5_000

# Transactions that are under way at once, each with a connection and a thread of its own; more of them wait.
_CONNECTIONS = 10

# How often a follower asks whether anything changed.
_LOOK_SECONDS = 0.05

# The write-ahead log is copied into the database every 1000 pages (4 MB, SQLite's default) but its file never shrinks
# by itself: one large message would keep its room for ever.
_WAL_BYTES = 8 << 20

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",  # a power cut may cost the last commits; the journal has them
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_MS}",
    f"PRAGMA journal_size_limit={_WAL_BYTES}",
)

# How long compacting waits for others that write, and for the last reader of the write-ahead log.
_SETTLE_SECONDS = 30.0
_FTS_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%USING fts5%'"

_LATER = "try again when whoever holds it is done; the journal keeps everything meanwhile"
_PASSING = ("locked", "busy", "disk is full", "disk I/O", "unable to open", "readonly", "read-only")


class SqliteStore(SqlStore):
    """A file, or what SQLite keeps in memory."""

    insert = staticmethod(dialect.insert)

    def __init__(self, url: sa.URL) -> None:
        super().__init__()
        self._engine = sa.create_engine(url, pool_size=_CONNECTIONS, max_overflow=0)
        prepare_engine(self._engine)
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="ocproxy-store")

    async def transact(self, work: Work[Result], *, writes: bool) -> Result:
        loop = asyncio.get_running_loop()
        return await undisturbed(loop.run_in_executor(self._threads, self._transact, work, writes))

    def _transact(self, work: Work[Result], writes: bool) -> Result:
        try:
            with self._engine.connect() as connection:
                connection.execution_options(writes=writes)
                with connection.begin():
                    return work(connection)
        except Exception as error:
            if (ours := translate(error)) is None:
                raise
            raise ours from None

    async def close(self) -> None:
        await asyncio.to_thread(self._engine.dispose)
        self._threads.shutdown(wait=False)

    def prepare_removing(self, connection: sa.Connection) -> None:
        """Free pages, and free room in pages, are filled with zeros. Slower, so it is off otherwise."""
        connection.execute(sa.text("PRAGMA secure_delete=ON"))

    def measure(self, connection: sa.Connection) -> StoreSize:
        found = measure_sqlite(connection)
        return found._replace(log_bytes=_size(Path(f"{self._engine.url.database}-wal")))

    async def settle(self, *, compact: bool) -> bool:
        return await undisturbed(asyncio.to_thread(self._settle, compact))

    def _settle(self, compact: bool) -> bool:
        try:
            with closing(self._connect_apart(timeout=_SETTLE_SECONDS)) as connection:
                connection.isolation_level = None
                connection.execute("PRAGMA secure_delete=ON").close()
                for (table,) in connection.execute(_FTS_TABLES).fetchall() if compact else ():
                    # What was removed from a full-text index stays in it until its pieces are put together.
                    connection.execute(f'INSERT INTO "{table}" ("{table}") VALUES (\'optimize\')').close()
                if compact:
                    connection.execute("VACUUM").close()
                # The write-ahead log holds pages as they were: it is emptied, once nobody reads them any more.
                is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                return not is_busy
        except sqlite3.OperationalError as error:
            if any(word in str(error) for word in ("locked", "busy")):
                return False
            raise StoreError(f"the database could not be compacted: {error}", hint=way_out(str(error))) from None

    def _connect_apart(self, timeout: float) -> sqlite3.Connection:
        """A connection beside the engine's."""
        url = self._engine.url
        name, is_uri = url.database or "", "vfs" in url.query
        return sqlite3.connect(f"{name}?vfs=memdb" if is_uri else name, uri=is_uri, timeout=timeout)

    @asynccontextmanager
    async def bell(self) -> AsyncIterator[Bell]:
        """SQLite tells nobody of changes, but can be asked, for some microseconds, whether another connection, of
        whatever process, made one."""
        with closing(self._connect_apart(timeout=0)) as watching:
            seen: object = None

            async def wait() -> None:
                nonlocal seen
                while (now := _version(watching)) == seen:  # noqa: ASYNC110  # nobody sets an event for us
                    await asyncio.sleep(_LOOK_SECONDS)
                seen = now

            yield wait


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _version(watching: sqlite3.Connection) -> object:
    try:
        return watching.execute("PRAGMA data_version").fetchone()[0]
    except sqlite3.OperationalError:  # locked for the moment
        return object()


class _Sqlite:
    schemes = ("sqlite",)
    example = "sqlite:///path/to/file.db"
    dialect = "sqlite"

    async def open(self, url: str, *, migrate: bool) -> Store:
        if migrate:
            await undisturbed(asyncio.to_thread(migrations.ensure_newest, url))
        path = self.file(url)
        if not _is_there(path):  # connecting would make it, empty and readable for everybody
            raise StoreError(f"there is no database {path} yet", hint="start ocproxy, or ocproxy db upgrade")
        return SqliteStore(sa.make_url(url).set(drivername="sqlite"))

    def migrate(self, url: str, action: Callable[[sa.Connection], Result]) -> Result:
        path = self.file(url)
        try:  # it and its folder for their owner only
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise _unusable(path, error) from None
        return migrate(sa.make_url(url).set(drivername="sqlite"), action)

    def read(self, url: str, action: Callable[[sa.Connection], Result]) -> Result | None:
        path = self.file(url)
        return read(sa.make_url(url).set(drivername="sqlite"), action, str(path)) if _is_there(path) else None

    def file(self, url: str) -> Path:
        try:
            database = sa.make_url(url).database
        except sa.exc.ArgumentError:
            database = None
        if not database or database == ":memory:":
            hint = "write memory: for one in memory" if database else f"write {self.example}"
            raise StoreError(f"{url!r} names no file", hint=hint)
        return Path(database)


def _is_there(path: Path) -> bool:
    """Raises StoreError where that may not be known."""
    try:
        return path.exists()
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the database file {path} cannot be opened: {error.strerror or error}",
        hint=f"let the user that runs ocproxy write to it and to {path.parent}, or name another file in database_url",
    )


def migrate(url: sa.URL, action: Callable[[sa.Connection], Result]) -> Result:
    """`Backend.migrate`, for a database that is there."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # sqlite3 of its own would commit after every CREATE, each with a sync of the disk.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}").close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            return action(connection)
    except sa.exc.DBAPIError as error:
        reason = str(error.orig)
        if isinstance(error, sa.exc.OperationalError) and "locked" in reason:
            raise StoreBusy("the database is locked", hint="stop whoever uses it, or try again") from None
        raise StoreError(reason, hint=way_out(reason)) from None
    finally:
        engine.dispose()


def read(url: sa.URL, action: Callable[[sa.Connection], Result], name: str) -> Result:
    """`Backend.read`, for a database that is there and is called `name`."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    try:
        with engine.connect() as connection:
            return action(connection)
    except sa.exc.DBAPIError as error:
        kind = StoreBusy if "locked" in str(error.orig) else StoreError
        raise kind(f"the database {name} cannot be read: {error.orig}", hint=way_out(str(error.orig))) from None
    finally:
        engine.dispose()


def translate(error: Exception) -> StoreError | None:
    if isinstance(error, OverflowError):  # an integer beyond 64 bits
        return StoreRefused(f"the database refused: {error}")
    if not isinstance(error, sa.exc.DBAPIError):
        return None
    reason = str(error.orig)
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and any(word in reason for word in _PASSING):
        return StoreBusy(f"the database cannot be used for the moment: {reason}", hint=way_out(reason) or _LATER)
    if "no such table" in reason or "no such column" in reason:
        return StoreError(f"the database is not up to date: {reason}", hint="run ocproxy db upgrade")
    refused = isinstance(error, sa.exc.IntegrityError | sa.exc.DataError)
    return (StoreRefused if refused else StoreError)(f"the database refused: {reason}", hint=way_out(reason))


def way_out(reason: str) -> str | None:
    """The hint for a database error: of a full disk, where even reading fails (it needs a small file), or of a damaged
    database."""
    if any(word in reason for word in ("disk is full", "disk I/O")):
        return "free some space on the disk of the database; the journal keeps what it could record meanwhile"
    if any(word in reason for word in ("not a database", "malformed")):
        return "`ocproxy rebuild` makes it anew from the journal and keeps the old one"
    return None


def prepare_engine(engine: sa.Engine) -> None:
    """Let its connections have our settings, and begin transactions as we want them."""
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)


def _prepare(connection: Any, _: Any) -> None:
    # sqlite3 would begin transactions late, at the first write: a reader that turns writer then fails at once when
    # another wrote in between. Off: `_begin` says what we want.
    connection.isolation_level = None
    connection.create_function("ocproxy_holds", 2, search.holds, deterministic=True)
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("writes", False):  # a statement that reads needs no transaction
        connection.exec_driver_sql("BEGIN IMMEDIATE")


BACKEND = _Sqlite()
