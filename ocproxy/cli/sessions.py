"""`ocproxy sessions`: what was recorded, newest first, subagents under whoever started them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ocproxy import query
from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.terminal import amount, brief, clock, money, one_line, print_table, shorten, tail
from ocproxy.service.answers import ask

COMMAND = typer.Typer()

_HEADS = ("ID", "LAST CALL", "AGENT", "TITLE~", "FOLDER~", "MODEL~", "CALLS#", "FILES#", "TOKENS IN#", "OUT#", "COST#")


@COMMAND.command()
def sessions(
    ctx: typer.Context,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest N.")] = None,
    as_json: Json = False,
) -> None:
    """List the recorded sessions, newest first."""
    run: Invocation = ctx.obj
    found = ask(run.settings(), lambda store: query.sessions(store, limit=limit))
    if as_json:
        run.print_json(found)
    elif not found:
        run.say("nothing is recorded yet: point an agent at ocproxy (`ocproxy doctor` says how)")
    else:
        short = shorten(session["id"] for session in found)
        print_table(
            run.out, _HEADS, [_row(session, depth, short, run.out.is_terminal) for session, depth in nest(found)]
        )


def nest(found: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int]]:
    """Each session with its depth, children behind their parent, in the order of `found` otherwise."""
    known = {session["id"] for session in found}
    children: dict[str | None, list[dict[str, Any]]] = {}
    for session in found:
        parent = session["parent_id"] if session["parent_id"] in known else None
        children.setdefault(parent, []).append(session)
    waiting = [(session, 0) for session in reversed(children.get(None, []))]
    while waiting:
        session, depth = waiting.pop()
        yield session, depth
        waiting += [(child, depth + 1) for child in reversed(children.get(session["id"], []))]


def name_of(session: dict[str, Any]) -> str:
    """What a person knows a session by: its title, else how it began."""
    return str(session["title"] or session["prompt"] or "(no title)")


def parent_note(session: dict[str, Any]) -> str:
    """Whether the session that it is a subagent of was only worked out."""
    return " (inferred)" if session.get("parent_certainty") == "inferred" else ""


def cost_of(session: dict[str, Any]) -> str:
    """What its calls cost; with +? where some of them have no price."""
    return money(session["cost_usd"]) + ("+?" if session["unpriced_calls"] else "")


def _row(session: dict[str, Any], depth: int, short: dict[str, str], narrow: bool) -> tuple[str, ...]:
    read = [session[f"{kind}_tokens"] or 0 for kind in ("input", "cache_read", "cache_write")]
    return (
        short[session["id"]],
        brief(session["updated_at"]) if narrow else clock(session["updated_at"]),
        one_line(session["agent_name"]),
        "  " * (depth - 1) + "└ " * bool(depth) + one_line(name_of(session), 60) + parent_note(session),
        one_line(tail(session["workdir"]) if narrow else session["workdir"]),
        one_line(session["model"]),
        str(session["calls"]),
        str(session["file_events"]),
        amount(sum(read)),
        amount(session["output_tokens"]),
        cost_of(session),
    )
