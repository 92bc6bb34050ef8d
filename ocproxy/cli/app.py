"""The root of the command line: global options, finding the command, and turning errors into words and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ocproxy import __version__, registry
from ocproxy.cli.invocation import Invocation
from ocproxy.cli.terminal import plain
from ocproxy.errors import ConfigError, OcproxyError


class Commands(TyperGroup):
    """Looks commands up in the registry, and imports only the one that is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [n.replace("_", "-") for n in registry.names(__package__) if self.get_command(ctx, n) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # click's Command, which newer typer carry inside
        app = registry.find(__package__, "COMMAND", cmd_name.replace("-", "_"))
        if app is None:
            return None
        app.rich_markup_mode = None  # plain help everywhere, as of the root
        return typer.main.get_command(app)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # `ocproxy sessions | head`: the reader has all that it wanted
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more at exit
            return None
        return result


APP = typer.Typer(cls=Commands, add_completion=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ocproxy {__version__}\n")
        raise typer.Exit


@APP.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    data_dir: Annotated[str | None, typer.Option(metavar="DIR", help="Where journal and database live.")] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="A configuration file (TOML).")] = None,
    database_url: Annotated[str | None, typer.Option(metavar="URL", help="The database, if not in DIR.")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it.")] = False,
) -> None:
    """A flight recorder for coding agents. Without a command: serve."""
    ctx.obj = Invocation(config, {"data_dir": data_dir, "database_url": database_url})
    if ctx.invoked_subcommand is None:
        serve = Commands.get_command(ctx.command, ctx, "serve")  # type: ignore[arg-type]  # our cls above
        ctx.exit(serve.main([], prog_name="ocproxy serve", standalone_mode=False, parent=ctx))


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (default: the process's). Returns the exit code: 0 done, 1 failed, 2 wrong usage."""
    command = typer.main.get_command(APP)
    try:
        result = command.main(args=arguments, prog_name="ocproxy", standalone_mode=True)
        return result if isinstance(result, int) else 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except OcproxyError as error:
        _complain(error)
        return 2 if isinstance(error, ConfigError) else 1


def _complain(error: OcproxyError) -> None:
    err = Invocation().err
    err.print(f"ocproxy: {plain(str(error))}", style="red", soft_wrap=True)
    if error.hint:
        err.print(f"  {plain(error.hint)}", soft_wrap=True)
