"""Times on the command line, and the time zone whose days are meant."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

Since = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="From then on: a day, a time (ISO 8601), or 30m, 12h, 7d, 2w ago."),
]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Until then; a day is meant to its end.")]
Zone = Annotated[
    str | None,
    typer.Option(metavar="ZONE", help="Whose days: UTC, Europe/Berlin, … Without it: this machine's."),
]
_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def zone_of(name: str | None) -> tzinfo | None:
    """A time zone by name; None: this machine's own. Raises BadParameter."""
    if name is None:
        return None
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(f"{name!r} is no time zone that this machine knows") from None


def begin_of(text: str, zone: tzinfo | None) -> datetime:
    """The moment that `--since` names. Raises BadParameter."""
    return _moment(text, zone, 0)


def end_of(text: str, zone: tzinfo | None) -> datetime:
    """The moment that `--until` names: behind the last of a day. Raises BadParameter."""
    return _moment(text, zone, 1)


def _moment(text: str, zone: tzinfo | None, days: int) -> datetime:
    if found := _AGO.fullmatch(text):
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        except OverflowError:
            raise typer.BadParameter(f"{text} ago is before all times") from None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return _aware(datetime.combine(date.fromisoformat(text) + timedelta(days=days), time()), zone)
        return _aware(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no time; write 2026-11-28, 2026-11-28T09:30 or 7d") from None


def _aware(moment: datetime, zone: tzinfo | None) -> datetime:
    """A time without a zone is of `zone`, or of this machine's."""
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)
