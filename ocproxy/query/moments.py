"""Times as people write them, and the time zone whose days are meant."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ocproxy.errors import ConfigError

_AGO = re.compile(r"(\d{1,6})([mhdw])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMS = "2026-11-28, 2026-11-28T09:30 or 7d"


def zone_of(name: str) -> tzinfo:
    """A time zone by name. Raises ConfigError."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        hint = "give UTC, or a name as Europe/Berlin"
        raise ConfigError(f"{name!r} is no time zone that this machine knows", hint=hint) from None


def begin_of(text: str, zone: tzinfo | None) -> datetime:
    """The moment from which on something is asked for: a day, a time (ISO 8601), or 30m, 12h, 7d, 2w ago. Without a
    zone of its own it is of `zone`, or of this machine's. Raises ConfigError."""
    return _moment(text, zone, 0)


def end_of(text: str, zone: tzinfo | None) -> datetime:
    """As `begin_of`, the moment until which: behind the last of a day."""
    return _moment(text, zone, 1)


def _moment(text: str, zone: tzinfo | None, days: int) -> datetime:
    if found := _AGO.fullmatch(text):
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        except OverflowError:
            raise ConfigError(f"{text} ago is before all times", hint=f"write {_FORMS}") from None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return _aware(datetime.combine(date.fromisoformat(text) + timedelta(days=days), time()), zone)
        return _aware(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        raise ConfigError(f"{text!r} is no time", hint=f"write {_FORMS}") from None


def _aware(moment: datetime, zone: tzinfo | None) -> datetime:
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)
