"""`ocproxy files`: what agents did to files, and the commands they ran, in the order of the calls."""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from ocproxy import query
from ocproxy.cli.invocation import Invocation, Json, SomeSession
from ocproxy.cli.terminal import STATUS_STYLES, changed_lines, clock, days, one_line, print_table, relative, shorten
from ocproxy.service.answers import ask
from ocproxy.store.base import Store

COMMAND = typer.Typer()

_HEADS = ("TIME", "SESSION", "EVENT", "STATUS", "FILE OR COMMAND~", "LINES", "TOOL", "NOTE~")


@COMMAND.command()
def files(ctx: typer.Context, session: SomeSession = None, as_json: Json = False) -> None:
    """List file events and commands of one session, or of all."""
    run: Invocation = ctx.obj
    found, folders = ask(run.settings(), lambda store: _find(store, session))
    if as_json:
        run.print_json(found)
    elif not found:
        run.say("no file events")
    else:
        short = shorten(event["session_id"] for event in found)
        if not run.out.is_terminal:  # whole paths and times: programs read this
            folders = {}
        dated = not run.out.is_terminal or days(event["created_at"] for event in found) > 1
        print_table(run.out, _HEADS, [_row(event, short, folders, dated) for event in found])


async def _find(store: Store, session: str | None) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The events, and the working folder of each session."""
    folders = {row["id"]: row["workdir"] for row in await query.sessions(store)}
    return await query.files(store, session), folders


def event_target(event: dict[str, Any], workdir: str | None = None) -> str:
    """What an event was about, on one line: its file, its move, its command."""
    if event["event_type"] == "bash":
        return one_line(event["command"])
    target = relative(event["file_path"], workdir)
    if event.get("destination"):
        target += f" → {relative(event['destination'], workdir)}"
    if event["event_type"] == "search" and event["command"]:
        target = f"{event['command']}  in {target}" if target else event["command"]
    return one_line(target)


def event_lines(event: dict[str, Any]) -> str:
    """ "+3 -1" of what was changed; in parentheses what was only asked for."""
    lines = changed_lines(event["diff"])
    return lines if event["status"] == "applied" or not lines else f"({lines})"


def event_note(event: dict[str, Any]) -> str:
    """What else is to be said: the exit code, what is only inferred, why it failed."""
    code, note = event["exit_code"], event.get("note")
    notes = [f"exit {code}"] if code is not None else []
    if event["certainty"] == "inferred":
        notes.append("inferred")
    if note and note.lower() != f"exit code {code}":
        notes.append(note)
    return one_line("; ".join(notes))


def _row(event: dict[str, Any], short: dict[str, str], folders: dict[str, str], dated: bool) -> tuple[str | Text, ...]:
    return (
        clock(event["created_at"], date=dated),
        short[event["session_id"]],
        event["event_type"],
        Text(event["status"], style=STATUS_STYLES.get(event["status"], "")),
        event_target(event, folders.get(event["session_id"])),
        event_lines(event),
        one_line(event["tool_name"]),
        event_note(event),
    )
