"""`ocproxy calls`: every exchange with a provider: what for, how it ended, how long, how many tokens, what it cost."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from ocproxy import query
from ocproxy.cli.invocation import Invocation, Json, SomeSession
from ocproxy.cli.terminal import amount, clock, days, money, one_line, print_table, shorten, size
from ocproxy.service.answers import ask

COMMAND = typer.Typer()

_HEADS = (
    "STARTED",
    "SESSION",
    "KIND",
    "MODEL~",
    "HTTP#",
    "END",
    "SECONDS#",
    "IN#",
    "CACHED#",
    "OUT#",
    "COST#",
    "BYTES#",
    "NOTE~",
)


@COMMAND.command()
def calls(
    ctx: typer.Context,
    session: SomeSession = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest N.")] = None,
    as_json: Json = False,
) -> None:
    """List the calls of one session, or of all, oldest first."""
    run: Invocation = ctx.obj
    found = ask(run.settings(), lambda store: query.calls(store, session, limit=limit))
    if as_json:
        run.print_json(found)
    elif not found:
        run.say("no calls")
    else:
        short = shorten(call["session_id"] for call in found if call["session_id"])
        dated = not run.out.is_terminal or days(call["started_at"] for call in found) > 1
        print_table(run.out, _HEADS, [_row(call, short, dated) for call in found])


def call_note(call: dict[str, Any]) -> str:
    """Why it ended as it did, what of it was not understood, and why it has no cost or at whose price it is told."""
    problems = [problem["message"] for problem in call.get("problems") or []]
    return one_line("; ".join(filter(None, [call["error"], call["detail"], *problems, call.get("price_note")])))


def call_kind(call: dict[str, Any]) -> Text:
    """What it was for. Only `main` calls belong to the conversation; the others are marked."""
    return Text(call["kind"]) if call["kind"] == "main" else Text(f"({call['kind']})", style="dim")


def seconds(call: dict[str, Any]) -> str:
    taken = datetime.fromisoformat(call["ended_at"]) - datetime.fromisoformat(call["started_at"])
    return f"{taken.total_seconds():.1f}"


def _row(call: dict[str, Any], short: dict[str, str], dated: bool) -> tuple[str | Text, ...]:
    outcome, status = call["outcome"], call["status"]
    good = outcome == "complete" and status is not None and status < 400
    return (
        clock(call["started_at"], date=dated),
        short.get(call["session_id"] or "", ""),
        call_kind(call),
        one_line(call["model"] or f"{call['method']} {call['path']}", 60),
        Text("" if status is None else str(status), style="" if good else "red"),
        Text(outcome, style="" if outcome == "complete" else "yellow"),
        seconds(call),
        amount(call["input_tokens"]),
        amount(call["cache_read_tokens"]),
        amount(call["output_tokens"]),
        money(call["cost_usd"]),
        size(call["request_bytes"] + call["response_bytes"]),
        call_note(call),
    )
