"""The right to write to one journal folder: its lock, held, and its id."""

from __future__ import annotations

import os
from pathlib import Path

from ocproxy.journal.folder import WRITER_LOCK, ensure_id, lock, make_folder, sweep, write_id


class Claim:
    """Takes the folder for this process, making it when needed. Raises JournalLocked, JournalError, OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)
        self._lock = lock(folder / WRITER_LOCK)
        try:
            sweep(folder)
            self.id = ensure_id(folder)
        except BaseException:
            self.release()
            raise

    def restore(self) -> None:
        """Make folder, lock and id again where they were removed. Raises JournalLocked, OSError."""
        make_folder(self.folder)
        if not self._holds_lock_file():
            taken = lock(self.folder / WRITER_LOCK)
            os.close(self._lock)
            self._lock = taken
            write_id(self.folder, self.id)

    def release(self) -> None:
        os.close(self._lock)

    def _holds_lock_file(self) -> bool:
        try:
            there = (self.folder / WRITER_LOCK).stat()
        except FileNotFoundError:
            return False
        own = os.fstat(self._lock)
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)
