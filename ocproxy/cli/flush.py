"""`ocproxy flush`: wait until everything recorded is in the database."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ocproxy.cli.invocation import Invocation, Json
from ocproxy.service import flush as service

COMMAND = typer.Typer()


@COMMAND.command()
def flush(
    ctx: typer.Context,
    timeout: Annotated[float, typer.Option(metavar="S", min=0, help="Give up after this many seconds.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Return when every call that has ended is in the database; fail when that takes longer than --timeout."""
    run: Invocation = ctx.obj
    done = asyncio.run(service.flush(run.settings(), timeout))
    if as_json:
        run.print_json({"calls": done.calls, "seconds": round(done.seconds, 3)})
    elif done.calls:
        run.say(f"no server is running: stored {done.calls} calls from the journal")
