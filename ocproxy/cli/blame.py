"""`ocproxy blame`: which session, message and agent last wrote each line of a file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.terminal import SHORT_ID, clock, one_line, plain, print_table, shorten
from ocproxy.errors import NotFound
from ocproxy.query.blame import Wanted
from ocproxy.query.blame import blame as find
from ocproxy.service.answers import ask

COMMAND = typer.Typer()

_HEADS = ("SESSION", "MESSAGE", "AGENT", "TIME", "LINE#", "TEXT")
_LINES = re.compile(r"(.+):(\d+)(?:-(\d+))?", re.DOTALL)
_BY = {
    "before": "(before the record)",
    "outside": "(outside: a command, or by hand)",
    "unknown": "(not known)",
    "unseen": "(never seen)",
}

Place = Annotated[str, typer.Argument(metavar="PATH[:LINE|:FROM-TO]", help="A file, and which of its lines.")]


@COMMAND.command()
def blame(ctx: typer.Context, place: Place, as_json: Json = False) -> None:
    """Say of each line which session last wrote it, as far as the record knows.

    The lines are those of the file as it is now; of one that is not here, those last known. A ? behind a session says
    that the record makes it likely, but does not show it.
    """
    run: Invocation = ctx.obj
    path, first, last = _parted(place)
    wanted = Wanted(_names(path), first, last, _content(path))
    found = ask(run.settings(), lambda store: find(store, wanted))
    if as_json:
        run.print_json(found)
        return
    lines = found["lines"]
    short = shorten(line["session_id"] for line in lines if line["session_id"])
    rows = [_row(line, short) for line in lines]
    if run.out.is_terminal:
        _print(run, rows)
    else:
        print_table(run.out, _HEADS, rows)
    if not found["is_current"]:
        run.say(f"the content of {plain(found['path'])} as it was last known")
    for note in found["notes"]:
        run.say(f"note: {one_line(note)}")


def _parted(place: str) -> tuple[str, int | None, int | None]:
    """PATH:LINE and PATH:FROM-TO, unless there is a file of the whole name."""
    found = _LINES.fullmatch(place)
    if found is None or os.path.exists(place):
        return place, None, None
    first, last = int(found[2]), int(found[3] or found[2])
    if not 1 <= first <= last:
        raise typer.BadParameter(f"{found[2]}-{found[3] or found[2]} is no range of lines: they are counted from 1")
    return found[1], first, last


def _names(path: str) -> list[str]:
    """As seen from here, without symbolic links, and as the end of a recorded path."""
    names = [os.path.abspath(path), os.path.realpath(path)]
    return list(dict.fromkeys(names if path.startswith(("./", "../")) else [*names, path]))


def _content(path: str) -> str | None:
    try:
        return Path(path).read_bytes().decode("utf-8", "replace") if os.path.isfile(path) else None
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", hint="look at its rights") from None


def _row(line: dict[str, Any], short: dict[str, str]) -> tuple[str, ...]:
    whose = _BY.get(line["by"], ""), "", "", ""
    if line["by"] == "session":
        doubt = "?" * (line["certainty"] == "inferred")
        agent, message = one_line(line["agent_name"], 30), plain(line["message_id"][:SHORT_ID])
        whose = short[line["session_id"]] + doubt, message, agent, clock(line["at"])
    code = plain(line["text"] or "").replace("\t", "    ")
    return (*whose, str(line["number"]), code)


def _print(run: Invocation, rows: list[tuple[str, ...]]) -> None:
    """As git does: whose a line is, its number, and the line itself, whole."""
    widths = [max(cell_len(row[place]) for row in rows) for place in range(5)] if rows else []
    for *whose, number, code in rows:
        named = "  ".join(set_cell_size(cell, width) for cell, width in zip(whose[:4], widths, strict=False))
        head = Text(f"{named.rstrip() if not any(widths[1:4]) else named}  {number:>{widths[4]}}  ", style="dim")
        run.out.print(head.append(Text(code, style="not dim")), soft_wrap=True)
