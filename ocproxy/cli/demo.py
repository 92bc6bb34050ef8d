"""`ocproxy demo`: a scripted model, an agent that really works, the recorder between them, and what it tells."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ocproxy import query
from ocproxy.cli import app
from ocproxy.cli.interruption import unwinding
from ocproxy.cli.invocation import Invocation
from ocproxy.cli.terminal import one_line, shorten
from ocproxy.config import Server
from ocproxy.demo import tour
from ocproxy.demo.story import PROMPT
from ocproxy.errors import OcproxyError, ServerError
from ocproxy.service.answers import ask

COMMAND = typer.Typer()

_HEAD, _TYPED, _QUIET = "bold", "bold cyan", "dim"


@COMMAND.command()
def demo(
    ctx: typer.Context,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep project and recording in this folder.")] = None,
) -> None:
    """Record a small agent at work and show what ocproxy tells of it. Needs no key and no network."""
    run: Invocation = ctx.obj
    with unwinding(), _folder(keep) as folder:  # server and folder go with it
        data, project = folder / "recording", folder / "project"
        data.mkdir(mode=0o700)
        project.mkdir()
        _play(run, data, project)
        _show(run, data)
    _say_what_next(run, keep)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where everything happens: a temporary folder, gone at the end, or the one to keep."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="ocproxy-demo-") as name:
            yield Path(name)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        used = any(keep.iterdir())
    except OSError as error:
        raise ServerError(f"{keep} cannot be used: {error.strerror}", hint="give another folder with --keep") from None
    if used:
        raise ServerError(f"{keep} is not empty", hint="give a new folder with --keep")
    yield keep.resolve()


def _play(run: Invocation, data: Path, project: Path) -> None:
    _say(
        run, "A small agent repairs a small project. Its model is a script; its tools really read, edit and run.", _HEAD
    )
    _say(run, "All its calls go through ocproxy: its base URL points there, and that is all it takes.\n", _QUIET)
    _say(run, f"  asked: {PROMPT}")

    def tell(line: str) -> None:
        _say(run, f"  agent: {one_line(line.replace(f'{project}/', ''))}", _QUIET)

    asyncio.run(tour.record(data, project, tell))


def _show(run: Invocation, data: Path) -> None:
    """The commands that a user would type, run as they are."""
    settings = run.settings({"data_dir": str(data), "database_url": tour.database_url(data)})
    found = ask(settings, query.sessions)
    if not found:
        raise OcproxyError("the agent worked, but nothing was recorded", hint="please report this")
    short = shorten(session["id"] for session in found)[found[0]["id"]]
    _say(run, "\nThis is what ocproxy recorded. Nothing runs any more: these commands ask the database.", _HEAD)
    for command in (["sessions"], ["show", short], ["files", short], ["diff", short]):
        _say(run, f"\n$ ocproxy {' '.join(command)}", _TYPED)
        if code := app.main([*tour.options(data), *command]):
            raise OcproxyError(f"`ocproxy {' '.join(command)}` ended with {code}", hint="please report this")


def _say(run: Invocation, line: str, style: str = "") -> None:
    run.out.print(line, style=style, soft_wrap=True)


def _say_what_next(run: Invocation, keep: Path | None) -> None:
    url = f"http://{Server().host}:{Server().port}"
    _say(run, "\nNow with your own agent:", _HEAD)
    for command, why in [
        ("ocproxy", "start the recorder; it forwards to the provider and stops with Ctrl-C"),
        (f"ANTHROPIC_BASE_URL={url} claude", "in another terminal: work as always"),
        ("ocproxy sessions", "then see what it did"),
    ]:
        run.out.print(f"  {command:<48}", style=_TYPED, end="")
        run.out.print(f"  {why}", style=_QUIET)
    if keep is not None:
        run.out.print(
            f"\nKept: the project in {keep}/project; ask with `ocproxy --data-dir {keep}/recording sessions`."
        )
