"""`ocproxy usage`: tokens and money, by day, model, agent, session or folder."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any, Literal

import typer

from ocproxy import query
from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.moments import Since, Until, Zone, begin_of, end_of, zone_of
from ocproxy.cli.terminal import SHORT_ID, amount, money, one_line, plain, print_table
from ocproxy.service.answers import ask

COMMAND = typer.Typer()
By = Annotated[
    Literal["day", "model", "agent", "session", "workdir"],
    typer.Option(help="What a line is about.", show_default=True),
]
Csv = Annotated[bool, typer.Option("--csv", help="Write CSV, numbers whole.")]

_HEADS = ("CALLS#", "SIDE#", "RETRIED#", "FAILED#", "IN#", "CACHED#", "WRITTEN#", "OUT#", "THOUGHT#", "COST#", "NOTE~")
_MODELS_NAMED = 10  # of those without a price


@COMMAND.command()
def usage(
    ctx: typer.Context,
    by: By = "day",
    since: Since = None,
    until: Until = None,
    timezone: Zone = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Add up tokens and money. SIDE is what agents ask for beside the conversation: titles, summaries, checks."""
    run: Invocation = ctx.obj
    zone = zone_of(timezone)
    begin, end = (begin_of(since, zone) if since else None), (end_of(until, zone) if until else None)
    found = ask(run.settings(), lambda store: query.usage(store, by, since=begin, until=end, zone=zone))
    if as_json:
        run.print_json(found)
    elif as_csv:
        _write_csv(found)
    elif not found["rows"]:
        run.say("no calls in that time")
    else:
        rows = [_row(_name(row, by), row) for row in found["rows"]]
        if len(rows) > 1:
            rows.append(_row("TOTAL", found["total"]))
        what = f"DAY ({found['timezone']})" if by == "day" else by.upper()
        print_table(run.out, (f"{what}~", *_HEADS), rows)
        for line in _unpriced(found):
            run.say(line)


def _name(row: dict[str, Any], by: str) -> str:
    if row["key"] is None:
        return "(no session)" if by in ("session", "workdir") else "(none)"
    if by == "session":
        return one_line(f"{row['key'][:SHORT_ID]} {row['title'] or ''}", 60)
    return one_line(row["key"] or "(unknown)", 60)


def _row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    kinds = ("input", "cache_read", "cache_write", "output", "reasoning")
    return (
        name,
        *(str(row[count]) for count in ("calls", "side_calls", "retried", "failed")),
        *(amount(row[f"{kind}_tokens"]) for kind in kinds),
        money(row["cost_usd"]) + "+?" * bool(row["unpriced"]),
        usage_note(row),
    )


def usage_note(row: dict[str, Any]) -> str:
    """What the cost leaves out, or is only the least of."""
    said = {
        "unpriced": "without a price",
        "without_usage": "did not say their usage",
        "cut_short": "broke off: at least this",
    }
    return "; ".join(f"{row[name]} {words}" for name, words in said.items() if row[name])


def _unpriced(found: dict[str, Any]) -> list[str]:
    lines = [
        plain(f"{one['calls']} calls without a price: {one['note'] or 'never priced (ocproxy reprice does it)'}")
        for one in found["unpriced"][:_MODELS_NAMED]
    ]
    if lines:
        lines.append('give them one under [prices."MODEL"] in the settings, then `ocproxy reprice`')
    return lines


def _write_csv(found: dict[str, Any]) -> None:
    rows = found["rows"]
    names = [name for name in (rows or [found["total"]])[0] if name != "cost_nanos"]
    writer = csv.DictWriter(sys.stdout, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cost = row["cost_nanos"]
        writer.writerow(row | {"cost_usd": "" if cost is None else f"{cost / 1e9:.9f}"})
