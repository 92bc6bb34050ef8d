"""`ocproxy doctor`: whether all is well, and what to do where it is not."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import typer
from rich.text import Text

from ocproxy.cli.invocation import Invocation, Json
from ocproxy.cli.terminal import clock, one_line, plain, size
from ocproxy.service.doctor import examine

COMMAND = typer.Typer()

# What agents and SDKs read the address of their provider from.
_VARIABLES = ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL")
_SHOWN = 5  # incidents, and reasons of gaps: enough to see what is wrong; --json has all


@COMMAND.command()
def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Check server, journal and database; exit with 1 when something is wrong."""
    run: Invocation = ctx.obj
    facts = asyncio.run(examine(run.settings()))
    facts["agents"] = {name: os.environ.get(name) for name in _VARIABLES}
    if as_json:
        run.print_json(facts)
    else:
        for head, text in _lines(facts):
            run.out.print(Text(f"{head:<11}", style="bold"), plain(text), soft_wrap=True)
        _print_problems(run, facts["problems"])
    if facts["problems"]:
        raise typer.Exit(1)


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    server = facts["server"]
    url = f"http://{server['host']}:{server['port']}" if server else None
    lines = [
        ("server", f"{url}, pid {server['pid']}, {server['workers']} relay workers" if server else "not running"),
        ("data", f"{facts['data_dir']}, {size(facts['disk_free_bytes'] or 0)} free"),
    ]
    for journal in facts["journals"]:
        behind = journal["behind_bytes"]
        state = f"{size(behind)} not yet in the database" if behind else "all of it in the database"
        if "revision" not in facts["database"]:
            state = "how much of it is in the database cannot be told"
        lines.append(
            ("journal", f"{journal['id'][:8]}: {journal['segments']} segments, {size(journal['bytes'])}, {state}")
        )
    database = facts["database"]
    extent = f", {size(database['bytes'])}" if "bytes" in database else ""
    revision = f"revision {database['revision'] or 'none'}" if "revision" in database else "cannot be read"
    if database.get("in_memory"):
        revision = (
            "in the memory of the server, which alone can look, and does not answer"
            if server
            else "in the memory of a server, and there is none now; the next one fills it again from the journal"
        )
    lines.append(("database", f"{database['url']}{extent}, {revision}"))
    lines += [("retention", line) for line in _retention(facts["retention"])]
    lines += [("gap", line) for line in _gaps(facts["gaps"])]
    lines += [("incident", f"{clock(i['at'])} {one_line(i['what'])}") for i in facts["incidents"][-_SHOWN:]]
    for name, value in facts["agents"].items():
        if value:
            here = url is not None and value.startswith(url)
            lines.append(("agents", f"{name}={value}" + ("" if here else " (not this server)")))
    if not any(facts["agents"].values()) and url:
        lines.append(("agents", f"in this shell none is pointed here; ANTHROPIC_BASE_URL={url} claude does it"))
    return lines


def _retention(rules: dict[str, Any]) -> list[str]:
    lines = []
    if rules["older_than"]:
        stays = ", their usage stays" if rules["keep_usage"] else ""
        lines.append(f"sessions whose last call is older than {rules['older_than']} go{stays}")
    if last := rules.get("last"):
        counts = f"{last['sessions']} sessions, {last['messages']} messages, {last['calls']} calls"
        lines.append(f"last removal {clock(last['at'])}: {counts} ({one_line(last['reason'])})")
    return lines + [
        f"{count} exchanges are still to be erased from journal {journal[:8]}, by the ocproxy that has it"
        for journal, count in sorted(rules.get("waiting", {}).items())
    ]


def _gaps(gaps: list[dict[str, Any]]) -> list[str]:
    """One line for each reason, the ones that cost most first."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for gap in gaps:
        by_reason.setdefault(gap["reason"], []).append(gap)
    groups = [(sum(g["bytes"] for g in group), sum(g["records"] for g in group), group) for group in by_reason.values()]
    groups.sort(key=lambda group: group[:2], reverse=True)
    lines = [
        f"{clock(group[-1]['created_at'])} {records} records, {size(lost)}: {one_line(group[-1]['reason'])}"
        for lost, records, group in groups[:_SHOWN]
    ]
    return lines + ([f"and {len(groups) - _SHOWN} more reasons"] if len(groups) > _SHOWN else [])


def _print_problems(run: Invocation, problems: list[dict[str, Any]]) -> None:
    if not problems:
        run.out.print("all is well", style="green")
    for problem in problems:
        run.out.print(f"problem: {plain(problem['what'])}", style="red", soft_wrap=True)
        if problem["hint"]:
            run.out.print(f"  {plain(problem['hint'])}", soft_wrap=True)
