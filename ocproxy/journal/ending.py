"""End what dead writers left open, in journals that no writer opens any more (there were more workers once)."""

from __future__ import annotations

from pathlib import Path

from ocproxy import config
from ocproxy.errors import JournalLocked
from ocproxy.journal import records
from ocproxy.journal.segments import HEADER_BYTES, list_segments
from ocproxy.journal.writer import JournalWriter


def end_life(folder: Path, settings: config.Journal) -> bool:
    """Begin and end a writer's life in `folder`: its BEGAN record ends every exchange that an earlier one left open,
    and a torn tail is cut and told. Returns whether that was done: not while a living writer holds the folder, nor when
    nothing was written since the last life began.

    Raises JournalError when the folder cannot be used.
    """
    segments = list_segments(folder)
    if not segments or segments[-1].path.stat().st_size <= HEADER_BYTES + records.HEADER_BYTES:
        return False
    try:
        JournalWriter.open(folder, settings).close()
    except JournalLocked:
        return False
    return True
