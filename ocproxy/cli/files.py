"""`ocproxy files`: what agents did to files, and the commands they ran, in the order of the calls."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from ocproxy import query
from ocproxy.cli.invocation import Invocation, Json, SomeSession, typed_path
from ocproxy.cli.terminal import (
    STATUS_STYLES,
    changed_lines,
    clock,
    days,
    one_line,
    plain,
    print_table,
    relative,
    shorten,
)
from ocproxy.query.history import files_of
from ocproxy.service.answers import ask
from ocproxy.store.base import Store

COMMAND = typer.Typer()

Path = Annotated[
    str | None,
    typer.Option(metavar="P", help="Only files of this path, the end of one, a folder/ or a pattern: a.py, src/*.py."),
]

_HEADS = ("TIME", "SESSION", "EVENT", "STATUS", "FILE OR COMMAND~", "LINES", "TOOL", "NOTE~")


@COMMAND.command()
def files(ctx: typer.Context, session: SomeSession = None, path: Path = None, as_json: Json = False) -> None:
    """List file events and commands of one session, or of all; with --path what happened to these files."""
    run: Invocation = ctx.obj
    if path is not None:
        _list_history(run, ask(run.settings(), lambda store: files_of(store, typed_path(path), session)), path, as_json)
        return
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


def _list_history(run: Invocation, found: list[dict[str, Any]], path: str, as_json: bool) -> None:
    """Whole paths, for the sessions' folders differ, and whose sessions they are."""
    if as_json:
        run.print_json(found)
    elif not found:
        run.say(f"no session touched {plain(path)}, as far as the record knows")
    else:
        short = shorten(event["session_id"] for event in found)
        dated = not run.out.is_terminal or days(event["created_at"] for event in found) > 1
        rows = [_row(event, short, {}, dated) for event in found]
        agents = [one_line(event["agent_name"], 30) for event in found]
        heads = (*_HEADS[:2], "AGENT", *_HEADS[2:])
        print_table(run.out, heads, [(*row[:2], agent, *row[2:]) for row, agent in zip(rows, agents, strict=True)])


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
