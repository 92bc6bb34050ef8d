"""`ocproxy delete`: one session, for good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ocproxy.cli.extents import counts_of, shared_of, warnings_of
from ocproxy.cli.invocation import Invocation, Json, SessionId
from ocproxy.cli.sessions import name_of
from ocproxy.cli.terminal import clock, one_line, shorten, size
from ocproxy.service import removal as service
from ocproxy.service.removal import Deletion

COMMAND = typer.Typer()


@COMMAND.command()
def delete(
    ctx: typer.Context,
    session: SessionId,
    keep_forks: Annotated[bool, typer.Option("--keep-forks", help="Leave sessions forked from it.")] = False,
    twins: Annotated[bool, typer.Option("--twins", help="Also sessions that begin with the same messages.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a session for good: its rows, and its bytes in the journal.

    Its subagents go with it, and the sessions that were forked from it: these repeat what it said. With --keep-forks
    they stay, and a rebuild counts as theirs what it had done. Nothing can bring it back. What an agent sends later is
    recorded again: end it first. Copies elsewhere (backups, the provider, the logs of a PostgreSQL) are not touched.
    """
    run: Invocation = ctx.obj
    config = run.settings()
    planned = asyncio.run(service.plan_deletion(config, session, forks=not keep_forks, twins=twins))
    if not as_json:
        for line in _plan(planned):
            run.out.print(line, soft_wrap=True)
    if not dry_run and not yes and not _agrees(run, as_json=as_json):
        raise typer.Exit(1)
    done = planned
    if not dry_run:
        done = asyncio.run(service.delete(config, planned, forks=not keep_forks, twins=twins))
    if as_json:
        run.print_json(_as_json(done))
    else:
        for line in _result(done):
            run.out.print(line, soft_wrap=True)


def _agrees(run: Invocation, *, as_json: bool) -> bool:
    if as_json or not run.out.is_terminal:
        run.say("nothing was deleted: give --yes where nobody can be asked, or --dry-run to see what would go")
        return False
    return typer.confirm("Delete all this for good?")


def _plan(planned: Deletion) -> Iterator[str]:
    family, short = planned.family, shorten(planned.others)
    yield f"session {_line(planned.session, short)}"
    for word, ids in (("subagent", family.subagents), ("fork", family.forks), ("twin", family.twins)):
        yield from (f"  goes with it, {word}: {_line(planned.others[id], short)}" for id in ids)
    if family.strays:
        yield f"  goes with it: {len(family.strays)} calls that are about it without naming it"
    for word, ids in (("begins with the same messages", family.staying), ("may quote it", family.origins)):
        yield from (f"  STAYS, and {word}: {_line(planned.others[id], short)}" for id in ids)
    yield f"in all {counts_of(planned.extent)}"
    yield from shared_of(planned.extent)
    if planned.is_lively:
        yield "it was active a moment ago: an agent that goes on sends its history again, and that is recorded anew"
    yield from (f"an old database is still there and may hold it, too: {one_line(path)}" for path in planned.copies)


def _line(session: dict[str, Any], short: dict[str, str]) -> str:
    counts = f"{session['calls']} calls, {session['messages']} messages"
    last = clock(session["updated_at"])
    return (
        f"{short[session['id']]} {one_line(session['agent_name'])}, {last}, {counts}: {one_line(name_of(session), 60)}"
    )


def _result(done: Deletion) -> Iterator[str]:
    if done.erased is None:
        yield "nothing was deleted (--dry-run)"
        return
    erased = done.erased
    yield f"deleted; {erased.records} records of the journal, {size(erased.payload_bytes)}, are zeros now"
    yield from warnings_of(erased, is_settled=done.is_settled)


def _as_json(done: Deletion) -> dict[str, Any]:
    return {
        "session": done.session["id"],
        **done.family._asdict(),
        "extent": done.extent._asdict(),
        "copies": done.copies,
        "done": done.erased is not None,
        "erased": done.erased._asdict() if done.erased else None,
        "settled": done.is_settled,
    }
