"""`ocproxy prune`: what is older than a time."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from ocproxy.cli.extents import counts_of, shared_of, warnings_of
from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.terminal import clock
from ocproxy.config import age
from ocproxy.service import removal as service

COMMAND = typer.Typer()


@COMMAND.command()
def prune(
    ctx: typer.Context,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="As 12h, 90d or 26w: since the last call.")],
    keep_usage: Annotated[bool, typer.Option("--keep-usage", help="Calls stay, with tokens and cost alone.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what would go; --no-dry-run does it.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="The same as --no-dry-run.")] = False,
    compact: Annotated[bool, typer.Option("--compact", help="Give the free room back to the disk.")] = False,
    as_json: Json = False,
) -> None:
    """Remove sessions whose last call is older than AGE, from database and journal. Says what would go, unless --yes.

    Subagents and forks go with the session that they came of, as soon as all of them are so old. With --keep-usage
    sessions and calls stay with their totals, without a word of what was said. May run beside a server.
    """
    run: Invocation = ctx.obj
    period = age(older_than)
    if period is None:
        raise typer.BadParameter(f"{older_than!r} is no age; write 12h, 90d or 26w", param_hint="--older-than")
    do = yes or not dry_run
    done = asyncio.run(service.prune_old(run.settings(), period, keep_usage=keep_usage, do=do, compact=compact))
    gone, erased = done.pruned.extent, done.erased
    if as_json:
        run.print_json({
            "before": done.before.isoformat(), "keep_usage": keep_usage, "extent": gone._asdict(),
            "held": done.pruned.held, "done": do, "erased": erased._asdict() if erased else None,
            "settled": done.is_settled,
        })  # fmt: skip
        return
    said = f"{'removed' if do else 'would go'}, last call before {clock(done.before.isoformat())}:"
    run.out.print(f"{said} {counts_of(gone, keep_usage=keep_usage)}", soft_wrap=True)
    if done.pruned.held:
        run.out.print(f"{done.pruned.held} old sessions stay with younger ones that came of them", soft_wrap=True)
    for line in shared_of(gone):
        run.out.print(line, soft_wrap=True)
    if erased is None:
        run.out.print("nothing was removed: give --yes to do it", soft_wrap=True)
        return
    run.out.print(
        f"journal: {erased.removed} whole segments removed, {erased.records} records in others are zeros now",
        soft_wrap=True,
    )
    for line in warnings_of(erased, is_settled=done.is_settled):
        run.out.print(line, soft_wrap=True)
