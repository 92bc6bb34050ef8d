"""Runs the Alembic migrations that travel with the package: `migrations/` in a checkout, inside the wheel elsewhere.

Nearly every database is at the newest revision, and importing Alembic takes longer than most questions: it is imported
where something moves, and not at the top.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ocproxy.errors import StoreError
from ocproxy.store.base import backend_of, mask

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

NEWEST = "20261130_add_blobs"  # the last of migrations/versions

_PACKAGED = Path(__file__).parent.parent / "_migrations"
_CHECKOUT = Path(__file__).parent.parent.parent / "migrations"

# Alembic's own table (https://alembic.sqlalchemy.org/en/latest/tutorial.html#running-our-first-migration).
_VERSION = sa.table("alembic_version", sa.column("version_num"))

# Alembic keeps what a migration works with in modules: one at a time in a process.
_alone = threading.Lock()


def ensure_newest(url: str) -> None:
    """`upgrade`, where there is something to do: one that is up to date is only read, even while another writes to it.
    Raises as `upgrade`."""
    if (revision := current(url)) == NEWEST:
        return
    if not knows(revision):
        is_file = backend_of(url).file(url) is not None
        raise StoreError(
            f"the database {mask(url)} is at revision {revision}, which a newer version of ocproxy made",
            hint="use that version, or `ocproxy rebuild`, which makes it anew from the journal and keeps the old one"
            if is_file
            else "use that version here, too; or give database_url an empty database, which is filled from the journal",
        )
    upgrade(url)


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` up to `revision`, making it when it is not there.

    All of one upgrade is one transaction, so a failing one changes nothing; who comes while another is at it waits, and
    finds it done. Raises StoreBusy when it is locked or away, StoreError when it cannot be used or the revision is
    unknown.
    """
    from alembic import command

    _run(url, lambda config: command.upgrade(config, revision), f"upgrade to {revision}")


def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` ("base", "-1", an id). Raises as `upgrade`."""
    from alembic import command

    _run(url, lambda config: command.downgrade(config, revision), f"downgrade to {revision}")


def current(url: str) -> str | None:
    """The revision of the database; None when no migration ran on it or it does not exist.

    Raises StoreBusy and StoreError.
    """
    return backend_of(url).read(url, _current)


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(sa.select(_VERSION.c.version_num)).scalar()


def revisions() -> list[str]:
    """All that this version of ocproxy has a migration to, the newest first."""
    return [script.revision for script in _scripts().walk_revisions()]


def knows(revision: str | None) -> bool:
    """Whether this version of ocproxy has the migration of that id; None is the empty database."""
    return revision in (None, NEWEST) or revision in revisions()


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config(""))


def _config(url: str) -> Config:
    from alembic.config import Config

    location = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    config = Config()
    config.set_main_option("script_location", str(location))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def _run(url: str, action: Callable[[Config], None], what: str) -> None:
    from alembic.util.exc import CommandError

    try:
        with _alone:
            action(_config(url))  # comes back to us through migrations/env.py
    except CommandError as error:
        raise StoreError(f"cannot {what}: {error}", hint="ocproxy db current shows where the database is") from None
    except StoreError as error:
        raise type(error)(f"cannot {what}: {error}", hint=error.hint) from None
