"""`ocproxy stats`: where the bytes are."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.text import Text

from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.sessions import name_of
from ocproxy.cli.terminal import clock, one_line, print_table, shorten, size
from ocproxy.service import sizes as service

COMMAND = typer.Typer()


@COMMAND.command()
def stats(
    ctx: typer.Context,
    biggest: Annotated[int, typer.Option(min=0, metavar="N", help="How many of the largest sessions.")] = 10,
    as_json: Json = False,
) -> None:
    """Say where the bytes are: journal, database by table, agents, months, the largest sessions.

    TEXTS are what was said and done, as the database has it. WIRE is what the calls sent and got, as the journal had it
    before compression: agents send their history again with each call.
    """
    run: Invocation = ctx.obj
    found = asyncio.run(service.measure(run.settings(), biggest))
    if as_json:
        run.print_json(found)
        return
    _print_places(run, found)
    heads = ("SESSIONS#", "CALLS#", "TEXTS#", "WIRE#")
    for head, groups in (("AGENT~", found["agents"]), ("MONTH", found["months"])):
        _title(run, head.rstrip("~").capitalize() + "s")
        print_table(run.out, (head, *heads), [_group(group) for group in groups])
    if found["sessions"]:
        short = shorten(session["id"] for session in found["sessions"])
        _title(run, "Largest sessions")
        print_table(
            run.out,
            ("ID", "LAST CALL", "AGENT", "TITLE~", "CALLS#", "TEXTS#", "WIRE#"),
            [_session(session, short) for session in found["sessions"]],
        )


def _print_places(run: Invocation, found: dict[str, Any]) -> None:
    _title(run, "Journals")
    rows = [
        (one["id"][:8], *(size(one[name]) for name in ("live", "finished", "compressed", "plain")))
        for one in found["journals"]
    ]
    print_table(run.out, ("JOURNAL", "LIVE#", "FINISHED#", "COMPRESSED#", "BEFORE COMPRESSION#"), rows)
    database = found["database"]
    log = f", its write-ahead log {size(database['log'])}" if database["log"] else ""
    free = f", of which {size(database['free'])} are free for what comes" if database["free"] else ""
    _title(run, f"Database: {size(database['bytes'])}{free}{log}")
    if database["is_estimate"]:
        run.out.print("this SQLite cannot tell the bytes of tables (no dbstat): these are their texts alone")
    print_table(
        run.out,
        ("TABLE", "ROWS#", "BYTES#", "INDEXES#"),
        [
            (one["name"], str(one["rows"]), size(one["bytes"]), size(one["index_bytes"]))
            for one in database["tables"]
            if one["rows"]
        ],
    )


def _title(run: Invocation, text: str) -> None:
    run.out.print(Text(f"\n{text}", style="bold"))


def _group(group: dict[str, Any]) -> tuple[str, ...]:
    name = one_line(group["key"]) or "(calls of no session)"
    return name, str(group["sessions"]), str(group["calls"]), size(group["content"]), size(group["wire"])


def _session(session: dict[str, Any], short: dict[str, str]) -> tuple[str, ...]:
    return (
        short[session["id"]], clock(session["updated_at"]), one_line(session["agent_name"]),
        one_line(name_of(session), 60), str(session["calls"]), size(session["content"]), size(session["wire"]),
    )  # fmt: skip
