"""What every command is given: the settings in force and where to write."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console

from ocproxy import config

Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
SessionId = Annotated[str, typer.Argument(metavar="ID", help="A session's id, or the first letters of it.")]
SomeSession = Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this session (first letters do).")]


def typed_path(path: str) -> str:
    """A path as it was typed, but absolute where it says that it is seen from here: `./…` or `../…`."""
    return os.path.join(os.getcwd(), path) if path.startswith(("./", "../")) else path


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would end the program with 1; `ocproxy.cli.app` knows better


def _console(*, stderr: bool) -> Console:
    # Markup, emoji codes and highlighting are off: what agents write must stay what it is. Colours follow the
    # terminal and NO_COLOR by rich's own rules.
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@dataclass
class Invocation:
    """One run of the program: the global options, read once, and both outputs."""

    config_file: str | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def settings(self, flags: Mapping[str, Any] | None = None) -> config.Config:
        """The settings in force; `flags` are the command's own, nested like the file. Raises ConfigError."""
        return config.load(self.config_file, flags={**self.flags, **(flags or {})})

    def print_json(self, value: Any) -> None:
        """One JSON document and a newline on standard output. ASCII only: it is safe on any terminal and lossless,
        lone surrogates included."""
        sys.stdout.write(json.dumps(value, indent=2 if self.out.is_terminal else None) + "\n")

    def say(self, message: str) -> None:
        """A message for the person, on standard error."""
        self.err.print(message, soft_wrap=True)
