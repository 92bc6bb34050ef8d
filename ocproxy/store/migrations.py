"""Runs the Alembic migrations that travel with the package: `migrations/` in a checkout, inside the wheel elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from ocproxy.errors import StoreBusy, StoreError
from ocproxy.store.base import way_out

_PACKAGED = Path(__file__).parent.parent / "_migrations"
_CHECKOUT = Path(__file__).parent.parent.parent / "migrations"


def prepared_url(url: str) -> sa.URL:
    """The synchronous form of a database URL. Raises StoreError when the kind of database is unknown."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise StoreError(f"{url!r} is not a database URL", hint="write sqlite:///path/to/file.db") from None
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(
            f"databases of the kind {parsed.get_backend_name()!r} are not supported",
            hint="write sqlite:///path/to/file.db",
        )
    return parsed.set(drivername="sqlite")


def migration_engine(url: str) -> sa.Engine:
    """An engine for migrations: all of one `upgrade` is one transaction, so a failing one changes nothing."""
    engine = sa.create_engine(prepared_url(url), poolclass=sa.pool.NullPool)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # sqlite3 of its own would commit after every CREATE, each with a sync of the disk.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("PRAGMA busy_timeout=5000").close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def prepare_file(url: str) -> None:
    """Make the file of a SQLite database, and its folder, readable for its owner only. Raises StoreError."""
    database = prepared_url(url).database
    if not database or database == ":memory:":
        return
    path = Path(database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"the database file {path} cannot be opened: {error.strerror or error}") from None


def ensure_newest(url: str) -> None:
    """`upgrade`, where there is something to do: one that is up to date is only read, even while another writes to it.
    Raises as `upgrade`."""
    if (revision := current(url)) == newest():
        return
    if not knows(revision):
        raise StoreError(
            f"the database {prepared_url(url).database} is at revision {revision},"
            " which a newer version of ocproxy made",
            hint="use that version, or `ocproxy rebuild`, which makes it anew from the journal and keeps the old one",
        )
    upgrade(url)


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` up to `revision`, making it when it is not there.

    Raises StoreBusy when it is locked, StoreError when it cannot be used or the revision is unknown.
    """
    prepare_file(url)
    _run(url, lambda config: command.upgrade(config, revision), f"upgrade to {revision}")


def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` ("base", "-1", an id). Raises as `upgrade`."""
    _run(url, lambda config: command.downgrade(config, revision), f"downgrade to {revision}")


def current(url: str) -> str | None:
    """The revision of the database; None when no migration ran on it or it does not exist.

    Raises StoreBusy and StoreError.
    """
    target = prepared_url(url)
    if target.database and target.database != ":memory:" and not Path(target.database).exists():
        return None
    engine = sa.create_engine(target)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except sa.exc.DBAPIError as error:
        kind = StoreBusy if "locked" in str(error.orig) else StoreError
        raise kind(
            f"the database {target.database} cannot be read: {error.orig}", hint=way_out(str(error.orig))
        ) from None
    finally:
        engine.dispose()


def newest() -> str:
    """The newest revision that this version of ocproxy knows."""
    return str(ScriptDirectory.from_config(_config("")).get_current_head())


def knows(revision: str | None) -> bool:
    """Whether this version of ocproxy has the migration of that id; None is the empty database."""
    return revision is None or any(
        script.revision == revision for script in ScriptDirectory.from_config(_config("")).walk_revisions()
    )


def _config(url: str) -> Config:
    location = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    config = Config()
    config.set_main_option("script_location", str(location))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def _run(url: str, action: Callable[[Config], None], what: str) -> None:
    try:
        action(_config(url))
    except CommandError as error:
        raise StoreError(f"cannot {what}: {error}", hint="ocproxy db current shows where the database is") from None
    except sa.exc.OperationalError as error:
        if "locked" in str(error.orig):
            raise StoreBusy(
                f"cannot {what}: the database is locked", hint="stop whoever uses it, or try again"
            ) from None
        raise StoreError(f"cannot {what}: {error.orig}", hint=way_out(str(error.orig))) from None
    except sa.exc.DBAPIError as error:
        raise StoreError(f"cannot {what}: {error.orig}", hint=way_out(str(error.orig))) from None
