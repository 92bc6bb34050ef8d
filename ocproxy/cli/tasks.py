"""`ocproxy tasks`: the runs: what they did, how they stand, what they cost."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from ocproxy import query
from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.terminal import STATUS_STYLES, amount, clock, money, one_line, print_table, shorten
from ocproxy.service.answers import ask
from ocproxy.work import TaskState

COMMAND = typer.Typer()

_HEADS = ("ID", "RUN", "BEGAN", "STATE", "AGENT", "MODEL~", "ASKED~", "CALLS#", "TOKENS#", "COST#", "NOTE~")


@COMMAND.command()
def tasks(
    ctx: typer.Context,
    state: Annotated[TaskState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest N.")] = None,
    as_json: Json = False,
) -> None:
    """List the runs, newest first: what calls have in common whose base URL ends in /run/NAME."""
    run: Invocation = ctx.obj
    found = ask(run.settings(), lambda store: query.tasks(store, state=state, limit=limit))
    if as_json:
        run.print_json(found)
    elif not found:
        run.say("no runs: put /run/NAME behind an agent's base URL to group its calls")
    else:
        ids = shorten(task["id"] for task in found)
        print_table(run.out, _HEADS, [_row(task, ids) for task in found])


def task_name(task: dict[str, Any]) -> str:
    """What a person knows it by: its title, else the name of the run."""
    return one_line(task["title"] or task["run"] or "", 40)


def _row(task: dict[str, Any], ids: dict[str, str]) -> tuple[str | Text, ...]:
    return (
        ids[task["id"]],
        task_name(task),
        clock(task["created_at"]),
        Text(task["state"], style=STATUS_STYLES.get(task["state"], "")),
        one_line(task["agent"]),
        one_line(task["model"]),
        one_line(task["input"]),
        str(task["calls"]),
        amount(task["cost_tokens"]),
        money(task["cost_usd"]) + ("+?" if task["unpriced_calls"] else ""),
        one_line(task["reason"]),
    )
