"""`ocproxy rebuild`: the database anew from the journal."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ocproxy.cli.interruption import unwinding
from ocproxy.cli.invocation import Invocation, Json
from ocproxy.service import rebuild as service

COMMAND = typer.Typer()


@COMMAND.command()
def rebuild(
    ctx: typer.Context,
    into: Annotated[str | None, typer.Option(metavar="URL", help="Fill this empty database; replace none.")] = None,
    forget: Annotated[bool, typer.Option(help="Replace it even if the journal does not have all of it.")] = False,
    as_json: Json = False,
) -> None:
    """Make the database anew from the journal. The server must not run."""
    run: Invocation = ctx.obj
    with unwinding():  # half a new database must not stay behind
        made = asyncio.run(service.rebuild(run.settings(), into, forget=forget))
    if as_json:
        run.print_json(made._asdict())
    else:
        run.out.print(
            f"{made.sessions} sessions, {made.messages} messages, {made.file_events} file events, {made.calls} calls"
        )
    if made.kept:
        run.say(f"the old database could not be read; it is kept as {made.kept}")
