"""`ocproxy serve`: the server. Also what `ocproxy` does without a command."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from ocproxy.cli.invocation import Invocation
from ocproxy.cli.terminal import plain
from ocproxy.supervisor import serve as run_server

COMMAND = typer.Typer()


@COMMAND.command()
def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one [default: 4141].")] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Relay workers [default: 1].")] = None,
    journal_mode: Annotated[
        str | None, typer.Option(metavar="normal|strict", help="strict: fsync before forwarding [default: normal].")
    ] = None,
    upstream: Annotated[
        list[str] | None, typer.Option(metavar="NAME=URL", help="Where an upstream is; may be repeated.")
    ] = None,
) -> None:
    """Start the server: forward every call to its provider, and record it."""
    run: Invocation = ctx.obj
    flags = {
        "server": {"host": host, "port": port, "workers": workers},
        "journal": {"mode": journal_mode},
        "upstreams": {name: {"url": url} for name, url in map(_parse, upstream or [])},
    }

    def tell(text: str) -> None:
        run.out.print(plain(text), soft_wrap=True)
        run.out.file.flush()

    asyncio.run(run_server(run.settings(flags), tell))


def _parse(given: str) -> tuple[str, Any]:
    name, equals, url = given.partition("=")
    if not equals or not name or not url:
        raise typer.BadParameter(f"{given!r}: write NAME=URL", param_hint="--upstream")
    return name, url
