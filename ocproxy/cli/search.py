"""`ocproxy search`: what was said, run and touched, found by words."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from ocproxy.cli.invocation import Invocation, Json, typed_path
from ocproxy.cli.moments import Since, begin_of
from ocproxy.cli.terminal import clock, days, one_line, plain, print_table, shorten
from ocproxy.query.search import DEFAULT_LIMIT, Wanted
from ocproxy.query.search import search as find
from ocproxy.service.answers import ask

COMMAND = typer.Typer()

_HEADS = ("TIME", "SESSION", "AGENT", "KIND", "TEXT")
_UNINDEXED = (
    "the database has no index to search by, so everything was read: PostgreSQL needs the extension pg_trgm (then"
    " `ocproxy db upgrade` makes one), SQLite 3.34 or later with FTS5 (then `ocproxy rebuild` does)"
)

Words = Annotated[list[str], typer.Argument(metavar="TEXT", help='Words, "quoted phrases", code, paths.')]
Path = Annotated[str | None, typer.Option(metavar="GLOB", help="Only in sessions that touched such a file.")]
OfAgent = Annotated[str | None, typer.Option(metavar="NAME", help="Only sessions of this agent.")]
OfSession = Annotated[str | None, typer.Option(metavar="ID", help="Only this session (first letters do).")]
Limit = Annotated[int, typer.Option(min=1, help="How many of the newest.", show_default=True)]


@COMMAND.command()
def search(
    ctx: typer.Context,
    text: Words,
    path: Path = None,
    agent: OfAgent = None,
    session: OfSession = None,
    since: Since = None,
    limit: Limit = DEFAULT_LIMIT,
    as_json: Json = False,
) -> None:
    """Find messages, commands and paths that hold all words, newest first.

    Words are found anywhere, inside of other words too, whatever the case of their letters. A phrase in double quotes
    is found as a whole (in a shell: '"such a phrase" word'). No character has another meaning. Before words that begin
    with a dash, write --.
    """
    run: Invocation = ctx.obj
    begin = begin_of(since, None) if since else None
    wanted = Wanted(" ".join(text), session, agent, begin, typed_path(path) if path else None, limit)
    found = ask(run.settings(), lambda store: find(store, wanted))
    if as_json:
        run.print_json(found)
        return
    hits = found["hits"]
    if hits:
        _print(run, hits)
    else:
        run.say(f"nothing found: no message, command or path holds {_listed(found['terms'])}{_where(wanted)}")
    if found["more"]:
        run.say(f"there are more: these are the newest {limit} (--limit, --since and --session choose others)")
    if not found["indexed"]:
        run.say(_UNINDEXED)


def _print(run: Invocation, hits: list[dict[str, Any]]) -> None:
    """A table for programs. On a terminal each text stands below its facts, so that what was found is not cut off."""
    short = shorten(hit["session_id"] for hit in hits)
    dated = not run.out.is_terminal or days(hit["created_at"] for hit in hits) > 1
    rows = [_row(hit, short, dated) for hit in hits]
    if not run.out.is_terminal:
        print_table(run.out, _HEADS, rows)
        return
    for *facts, text in rows:
        run.out.print(Text("  ".join(map(str, facts)), style="dim"))
        run.out.print(Padding(text, (0, 0, 0, 4)))


def _row(hit: dict[str, Any], short: dict[str, str], dated: bool) -> tuple[str | Text, ...]:
    kind = hit["role"] if hit["kind"] == "message" else hit["kind"]
    return (
        clock(hit["created_at"], date=dated),
        short[hit["session_id"]],
        one_line(hit["agent_name"], 30),
        one_line(kind),
        marked(hit["snippet"], hit["marks"]),
    )


def marked(text: str, marks: list[list[int]]) -> Text:
    """A snippet on one line, inert, with what was found in bold."""
    line, at = Text(), 0
    for start, end in [*marks, [len(text), len(text)]]:
        line.append(_flat(text[at:start]))
        line.append(_flat(text[start:end]), style="bold yellow")
        at = end
    return line


def _flat(text: str) -> str:
    return plain(text).replace("\n", " ⏎ ").replace("\t", " ")


def _listed(terms: list[str]) -> str:
    return one_line(" and ".join(f'"{term}"' for term in terms))


def _where(wanted: Wanted) -> str:
    names = {"session": wanted.session, "agent": wanted.agent, "path": wanted.path}
    told = [f"--{name} {value}" for name, value in names.items() if value]
    told += ["--since"] if wanted.since else []
    return f" (with {one_line(', '.join(told))})" if told else ""
