"""`ocproxy tail`: what agents do, as it happens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.text import Text

from ocproxy import query
from ocproxy.cli.calls import call_kind, call_note, seconds
from ocproxy.cli.files import event_note, event_target
from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.terminal import SHORT_ID, STATUS_STYLES, amount, changed_lines, clock, money, one_line
from ocproxy.service.answers import open_for_reading

COMMAND = typer.Typer()

Row = dict[str, Any]


@COMMAND.command()
def tail(
    ctx: typer.Context,
    session: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this session (first letters do).")] = None,
    past: Annotated[bool, typer.Option("--all", help="Begin with what is there already.")] = False,
    as_json: Json = False,
) -> None:
    """Follow messages, file events and calls as they come (Ctrl-C ends it). With --json: one object a line.

    A follower that falls far behind is told how many changes it missed."""
    asyncio.run(_follow(ctx.obj, session, past=past, as_json=as_json))


async def _follow(run: Invocation, session: str | None, *, past: bool, as_json: bool) -> None:
    # Ctrl-C is the usual way to end it, so it is no failure. It comes between two lines, never within one, and does not
    # wait for a look at a database that somebody holds.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _leave)
    async with await open_for_reading(run.settings()) as store:
        only = (await query.show(store, session))["session"]["id"] if session else None
        cursor = 0 if past else await query.cursor(store)
        if not as_json:
            run.say("following; Ctrl-C ends it")
        async for changes in query.follow(store, cursor):
            if changes.missed:
                _tell_missed(run, changes.missed, as_json=as_json)
            for row in changes.rows:
                if only and only not in (row.get("session_id"), row["id"]):
                    continue
                if as_json:
                    sys.stdout.write(json.dumps(row) + "\n")
                elif (line := describe(row)) is not None:
                    run.out.print(line, soft_wrap=True)
            sys.stdout.flush()


def _tell_missed(run: Invocation, count: int, *, as_json: bool) -> None:
    """Only the feed lacks them. For programs also as an object among the rows, at its place."""
    if as_json:
        sys.stdout.write(json.dumps({"what": "missed", "changes": count}) + "\n")
    run.say(f"{count} changes before this are not shown: they are no longer in the feed. `ocproxy show` has everything")


def _leave() -> None:
    with suppress(OSError):  # whoever read it has gone as well
        sys.stdout.flush()
    os._exit(0)


def describe(row: Row) -> Text | None:
    """One row on one line; None for rows that say nothing by themselves (a session's new time)."""
    describers = {"message": _message, "file_event": _file_event, "call": _call}
    if row["what"] not in describers:
        return None
    moment = row.get("created_at") or row.get("started_at")
    line = Text(f"{clock(moment, date=False)} {(row['session_id'] or '-')[:SHORT_ID]:<{SHORT_ID}} ", style="dim")
    return line.append_text(describers[row["what"]](row))


def _message(row: Row) -> Text:
    tools = [part["name"] for part in row["parts"] if part["type"] == "tool_use"]
    results = sum(part["type"] == "tool_result" for part in row["parts"])
    said = [row["content"] or "", f"[{', '.join(tools)}]" if tools else "", f"[{results} results]" if results else ""]
    return Text(f"{row['role']:<9} ", style="bold").append(one_line(" ".join(filter(None, said))), style="not bold")


def _file_event(row: Row) -> Text:
    text = Text(f"{row['event_type']:<9} ", style="bold").append(event_target(row), style="not bold")
    text.append(f"  {row['status']}", style=STATUS_STYLES.get(row["status"], ""))
    return text.append("".join(f"  {extra}" for extra in (changed_lines(row["diff"]), event_note(row)) if extra))


def _call(row: Row) -> Text:
    text = Text("call      ", style="bold").append_text(call_kind(row))
    tokens = f"{amount(row['input_tokens'])} in {amount(row['output_tokens'])} out {money(row['cost_usd'])}".rstrip()
    text.append(f" {one_line(row['model'] or row['path'])} {row['status'] or ''} {seconds(row)} s  {tokens}")
    return text.append(f"  {call_note(row)}", style="red") if row["outcome"] != "complete" else text
