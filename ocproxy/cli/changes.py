"""`ocproxy changes`: what agents changed in files, or wanted to, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from ocproxy import query
from ocproxy.cli.files import event_lines
from ocproxy.cli.invocation import Invocation, Json, SomeSession
from ocproxy.cli.terminal import STATUS_STYLES, clock, days, one_line, print_table, relative, shorten
from ocproxy.service.answers import ask
from ocproxy.store.base import Store
from ocproxy.work import ChangeStatus

COMMAND = typer.Typer()

_HEADS = ("ID", "TIME", "SESSION", "AGENT", "CHANGE", "STATUS", "FILE~", "LINES", "NOTE~")


@COMMAND.command()
def changes(
    ctx: typer.Context,
    session: SomeSession = None,
    status: Annotated[ChangeStatus | None, typer.Option(help="Only those of this status.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest N.")] = None,
    as_json: Json = False,
) -> None:
    """List changes of files of one session, or of all, oldest first: pending, applied, rejected, reverted."""
    run: Invocation = ctx.obj

    async def find(store: Store) -> tuple[list[dict[str, Any]], dict[str, str]]:
        found = await query.pending_changes(store, session, status=status, limit=limit)
        rows = await store.rows_of("session", sorted({change["session_id"] for change in found}))
        return found, {id: row.workdir for id, row in rows.items()}

    found, folders = ask(run.settings(), find)
    if as_json:
        run.print_json(found)
    elif not found:
        run.say("no changes")
    else:
        if not run.out.is_terminal:  # whole paths and times: programs read this
            folders = {}
        dated = not run.out.is_terminal or days(change["created_at"] for change in found) > 1
        ids = shorten(change["id"] for change in found)
        sessions = shorten(change["session_id"] for change in found)
        print_table(run.out, _HEADS, [_row(change, ids, sessions, folders, dated) for change in found])


def _row(
    change: dict[str, Any], ids: dict[str, str], sessions: dict[str, str], folders: dict[str, str], dated: bool
) -> tuple[str | Text, ...]:
    folder = folders.get(change["session_id"])
    target = relative(change["path"], folder)
    if change["destination"]:
        target += f" → {relative(change['destination'], folder)}"
    notes = ["inferred"] if change["certainty"] == "inferred" else []
    if change["event_status"] in ("failed", "unknown"):
        notes.append({"failed": "the tool failed", "unknown": "the result does not tell"}[change["event_status"]])
    return (
        ids[change["id"]],
        clock(change["created_at"], date=dated),
        sessions[change["session_id"]],
        one_line(change["agent"]),
        change["operation"],
        Text(change["status"], style=STATUS_STYLES.get(change["status"], "")),
        one_line(target),
        event_lines(change),
        one_line("; ".join([*notes, *([change["note"]] if change["note"] else [])])),
    )
