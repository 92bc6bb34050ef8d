"""`ocproxy diff`: what a session changed, as one patch that `git apply` takes."""

from __future__ import annotations

import sys

import typer

from ocproxy import query
from ocproxy.cli.invocation import Invocation, Json, SessionId
from ocproxy.cli.terminal import one_line, paint_diff
from ocproxy.service.answers import ask

COMMAND = typer.Typer()


@COMMAND.command()
def diff(ctx: typer.Context, session: SessionId, as_json: Json = False) -> None:
    """Show what a session changed as unified diffs, applicable with git apply. What commands did is not in it."""
    run: Invocation = ctx.obj
    found = ask(run.settings(), lambda store: query.diff(store, session))
    if as_json:
        run.print_json({"text": found.text, "notes": found.notes})
        return
    if run.out.is_terminal:
        run.out.print(paint_diff(found.text), end="", soft_wrap=True)
    else:
        # The exact bytes: a patch must not be touched. A lone surrogate of the wire is U+FFFD in every file that an
        # agent can have written, for UTF-8 has no other form for it.
        sys.stdout.flush()
        sys.stdout.buffer.write(found.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode())
        sys.stdout.buffer.flush()
    for note in found.notes:
        run.say(f"note: {one_line(note)}")
