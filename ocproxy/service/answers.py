"""Questions to the database, for a command that asks one and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ocproxy import instance
from ocproxy.config import Config
from ocproxy.errors import NotFound
from ocproxy.journal import list_journals
from ocproxy.store.base import Store, backend_of, open_store

Answer = TypeVar("Answer")


def ask(config: Config, question: Callable[[Store], Awaitable[Answer]]) -> Answer:
    """Put one question to the database. Raises NotFound when there is none yet, and what the question raises."""

    async def answer() -> Answer:
        async with await open_for_reading(config) as store:
            return await question(store)

    return asyncio.run(answer())


def is_in_memory(config: Config) -> bool:
    """Whether the database is in the memory of the process that serves, and gone when it ends."""
    return config.store_url.startswith("memory:")


def refuse_memory(config: Config) -> None:
    """Raises NotFound where no command can get at the database."""
    if is_in_memory(config):
        raise NotFound(
            "the database is in the memory of the server, where only the server can look",
            hint="ask its API (/api/sessions), or give database_url a file or a PostgreSQL",
        )


async def open_for_reading(config: Config) -> Store:
    """The database, as it is. It is migrated when no server does that: an older one must not find it changed under it.

    Raises NotFound when there is none: a mistyped --data-dir must not look like an empty one.
    """
    refuse_memory(config)
    file = backend_of(config.store_url).file(config.store_url)
    if file is not None and not file.exists():
        if list_journals(config.journal_path):
            raise NotFound(
                f"there is no database {file}, but a journal", hint="ocproxy flush makes the database from the journal"
            )
        raise NotFound(
            f"nothing is recorded here yet: there is no {file}",
            hint="start `ocproxy` and point an agent at it, or name the folder with --data-dir",
        )
    return await open_store(config.store_url, migrate=not instance.held(config.data_path / instance.INGEST_LOCK))
