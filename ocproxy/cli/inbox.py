"""`ocproxy inbox`: the runs that need a person, and why."""

from __future__ import annotations

import typer
from rich.text import Text

from ocproxy import query
from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.tasks import task_name
from ocproxy.cli.terminal import STATUS_STYLES, clock, one_line, print_table, shorten
from ocproxy.service.answers import ask

COMMAND = typer.Typer()

_HEADS = ("TASK", "RUN", "SINCE", "STATE", "AGENT", "SESSION", "WHY~")


@COMMAND.command()
def inbox(ctx: typer.Context, as_json: Json = False) -> None:
    """List the runs that are blocked or failed, those that wait longest first."""
    run: Invocation = ctx.obj
    found = ask(run.settings(), query.inbox)
    if as_json:
        run.print_json(found)
    elif not found:
        run.say("nothing waits for you")
    else:
        tasks = shorten(item["task_id"] for item in found)
        sessions = shorten(item["session_id"] for item in found if item["session_id"])
        rows = [
            (
                tasks[item["task_id"]],
                task_name(item),
                clock(item["since"]),
                Text(item["state"], style=STATUS_STYLES.get(item["state"], "")),
                one_line(item["agent"]),
                sessions.get(item["session_id"] or "", ""),
                one_line(item["reason"]),
            )
            for item in found
        ]
        print_table(run.out, _HEADS, rows)
