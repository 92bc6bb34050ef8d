"""`ocproxy reprice`: the cost of what is recorded, by the prices in force now."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.moments import Since, Zone, begin_of, zone_of
from ocproxy.cli.terminal import money
from ocproxy.service import reprice as service

COMMAND = typer.Typer()


@COMMAND.command()
def reprice(
    ctx: typer.Context,
    since: Since = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only calls of this model.")] = None,
    timezone: Zone = None,
    as_json: Json = False,
) -> None:
    """Tell what recorded calls cost by today's prices: after a change of yours, or a newer ocproxy."""
    run: Invocation = ctx.obj
    begin = begin_of(since, zone_of(timezone)) if since else None
    done = asyncio.run(service.reprice(run.settings(), since=begin, model=model))
    before, after = done.before / 1e9, done.after / 1e9
    if as_json:
        run.print_json({"calls": done.calls, "changed": done.changed, "before_usd": before, "after_usd": after})
    else:
        run.out.print(
            f"{done.changed} of {done.calls} calls have another cost now: {money(before)} before, {money(after)} now"
        )
