"""Runs the Alembic migrations that travel with the package: `migrations/` in a checkout, inside the wheel elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from ocproxy.errors import StoreError
from ocproxy.store.base import backend_of, mask

_PACKAGED = Path(__file__).parent.parent / "_migrations"
_CHECKOUT = Path(__file__).parent.parent.parent / "migrations"

# Alembic keeps what a migration works with in modules: one at a time in a process.
_alone = threading.Lock()


def ensure_newest(url: str) -> None:
    """`upgrade`, where there is something to do: one that is up to date is only read, even while another writes to it.
    Raises as `upgrade`."""
    if (revision := current(url)) == newest():
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
    _run(url, lambda config: command.upgrade(config, revision), f"upgrade to {revision}")


def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` ("base", "-1", an id). Raises as `upgrade`."""
    _run(url, lambda config: command.downgrade(config, revision), f"downgrade to {revision}")


def current(url: str) -> str | None:
    """The revision of the database; None when no migration ran on it or it does not exist.

    Raises StoreBusy and StoreError.
    """
    return backend_of(url).read(url, lambda connection: MigrationContext.configure(connection).get_current_revision())


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
        with _alone:
            action(_config(url))  # comes back to us through migrations/env.py
    except CommandError as error:
        raise StoreError(f"cannot {what}: {error}", hint="ocproxy db current shows where the database is") from None
    except StoreError as error:
        raise type(error)(f"cannot {what}: {error}", hint=error.hint) from None
