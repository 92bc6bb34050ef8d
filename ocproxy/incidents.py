"""What went wrong while the server ran, kept for `ocproxy doctor`: a child died, the database did not answer.

One JSON line an incident in `<data_dir>/incidents.jsonl`. Lost records are not here but in the journal itself (GAP).
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

FILE = "incidents.jsonl"
# Enough to see a pattern; small enough to be read whole, and rewritten whole when it is passed by half.
KEPT = 200


class Incident(NamedTuple):
    at: str  # ISO 8601, UTC
    what: str  # a sentence for the user


class Diary:
    """Where one process notes its incidents. What cannot be written is kept and written with the next one that can:
    a full disk may be the very incident."""

    def __init__(self, data: Path) -> None:
        self._path = data / FILE
        self._waiting: list[str] = []

    def note(self, what: str) -> str | None:
        """Add an incident. Returns why it cannot be written now, or None."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), "what": what})
        self._waiting = [*self._waiting, line][-KEPT:]
        return self.catch_up()

    def catch_up(self) -> str | None:
        """Write what is waiting. Returns why that cannot be, or None."""
        if not self._waiting:
            return None
        try:
            lines = [*_lines(self._path), *self._waiting]
            if len(lines) > KEPT * 3 // 2:
                draft = self._path.with_suffix(".new")
                _append(draft, lines[-KEPT:])
                draft.replace(self._path)
            else:
                _append(self._path, self._waiting)
        except OSError as error:
            return f"{self._path} cannot be written: {error.strerror or error}"
        self._waiting = []
        return None


def recent(data: Path) -> list[Incident]:
    """All that are kept, oldest first. Lines that are not whole (the disk was full) are passed over."""
    found = []
    for line in _lines(data / FILE):
        try:
            item = json.loads(line)
            found.append(Incident(str(item["at"]), str(item["what"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found[-KEPT:]


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8", "replace").splitlines() if line]
    except FileNotFoundError:
        return []


def _append(path: Path, lines: list[str]) -> None:
    # Begins with a newline: the line before may have been cut off by a full disk.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "a") as file:
        file.write("\n" + "".join(f"{line}\n" for line in lines))
