"""`ocproxy db upgrade | downgrade | current | compact`: the database's tables, and the room that it takes."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ocproxy import instance
from ocproxy.cli.invocation import Invocation, Json
from ocproxy.service import removal
from ocproxy.service.answers import refuse_memory
from ocproxy.store import migrations, search
from ocproxy.store.base import backend_of

COMMAND = typer.Typer(no_args_is_help=True)

_UNINDEXED = (
    "there is no index to search by: this user may not create the extension pg_trgm, or the server does not have it;"
    " when an administrator did (CREATE EXTENSION pg_trgm), this command makes the index"
)

Revision = Annotated[str, typer.Argument(help="A revision, `head`, `base`, or a step such as -1.")]


@COMMAND.callback()
def db() -> None:
    """Move the database's tables to another revision, or give unused room back."""


@COMMAND.command(context_settings={"ignore_unknown_options": True})  # so that -1 is a revision
def upgrade(ctx: typer.Context, revision: Revision = "head") -> None:
    """Bring the database to the newest revision, or the one named. The server does it when it starts."""
    _move(ctx.obj, revision, down=False)


@COMMAND.command(context_settings={"ignore_unknown_options": True})
def downgrade(ctx: typer.Context, revision: Revision) -> None:
    """Take the database back to a revision. What only newer tables hold is lost (`ocproxy rebuild` brings it back)."""
    _move(ctx.obj, revision, down=True)


@COMMAND.command()
def current(ctx: typer.Context, as_json: Json = False) -> None:
    """Say which revision the database is at."""
    run: Invocation = ctx.obj
    config = run.settings()
    refuse_memory(config)
    revision = migrations.current(config.store_url)
    if as_json:
        run.print_json({"revision": revision, "newest": migrations.NEWEST})
    else:
        newest = " (newest)" if revision == migrations.NEWEST else ""
        run.out.print(f"{revision}{newest}" if revision else "none: there are no tables yet")


@COMMAND.command()
def compact(ctx: typer.Context) -> None:
    """Give unused room back to the disk, and wipe what removed rows left in it. A SQLite file is copied: that takes as
    much room for a moment, and others that write wait. PostgreSQL uses the room again, and is only told to."""
    run: Invocation = ctx.obj
    if not asyncio.run(removal.compact(run.settings())):
        run.say("others kept reading the database: its write-ahead log could not be emptied; try again")
        raise typer.Exit(1)
    run.say("done")


def _move(run: Invocation, revision: str, *, down: bool) -> None:
    config = run.settings()
    refuse_memory(config)
    instance.prepare(config.data_path)
    with instance.claim_ingest(config.data_path):
        (migrations.downgrade if down else migrations.upgrade)(config.store_url, revision)
        if not down and revision == "head" and not backend_of(config.store_url).migrate(config.store_url, search.index):
            run.say(_UNINDEXED)
        run.say(f"the database is at revision {migrations.current(config.store_url) or 'base (no tables)'}")
