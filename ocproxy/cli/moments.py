"""Times on the command line: `ocproxy.query.moments`, whose mistakes are wrong usage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from typing import Annotated

import typer

from ocproxy.errors import ConfigError
from ocproxy.query import moments

Since = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="From then on: a day, a time (ISO 8601), or 30m, 12h, 7d, 2w ago."),
]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Until then; a day is meant to its end.")]
Zone = Annotated[
    str | None,
    typer.Option(metavar="ZONE", help="Whose days: UTC, Europe/Berlin, … Without it: this machine's."),
]


def zone_of(name: str | None) -> tzinfo | None:
    """A time zone by name; None: this machine's own. Raises BadParameter."""
    with _usage():
        return moments.zone_of(name) if name is not None else None


def begin_of(text: str, zone: tzinfo | None) -> datetime:
    """The moment that `--since` names. Raises BadParameter."""
    with _usage():
        return moments.begin_of(text, zone)


def end_of(text: str, zone: tzinfo | None) -> datetime:
    """The moment that `--until` names: behind the last of a day. Raises BadParameter."""
    with _usage():
        return moments.end_of(text, zone)


@contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise typer.BadParameter(f"{error}; {error.hint}") from None
