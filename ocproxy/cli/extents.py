"""How commands that remove say how much it is, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ocproxy.cli.terminal import size


def counts_of(extent: Any, *, keep_usage: bool = False) -> str:
    """An `Extent` in words."""
    calls = f"of {extent.calls} calls all but tokens and cost" if keep_usage else f"{extent.calls} calls"
    return (
        f"{extent.sessions} sessions, {extent.messages} messages, {extent.file_events} file events, {calls}:"
        f" {size(extent.content_bytes)} in the database, {size(extent.wire_bytes)} in the journal before compression"
    )


def shared_of(extent: Any) -> Iterator[str]:
    """What an `Extent` costs others."""
    if extent.shared_calls:
        yield (
            f"{extent.shared_calls} calls of other sessions went over the same connections: their rows stay, but their"
            " bytes in the journal go, too, so a rebuild would not have them"
        )


def warnings_of(erased: Any, *, is_settled: bool) -> Iterator[str]:
    """What is still to be done, of an `Erased`."""
    if erased.elsewhere:
        yield f"{erased.elsewhere} exchanges are in journals elsewhere: the ocproxy that has them erases them there"
    if erased.waiting:
        yield f"{erased.waiting} exchanges go on, and are erased by the server when they have ended"
    if erased.damaged_bytes:
        yield f"{size(erased.damaged_bytes)} of the journal are damaged: nobody can tell whose they were, so they stay"
    if not is_settled:
        yield "others keep reading the database, whose files may hold traces: `ocproxy db compact` wipes them later"
