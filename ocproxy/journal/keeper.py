"""The right to change sealed segments of one journal folder: the keeper's lock, held. It need not be the writer's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ocproxy.errors import JournalError
from ocproxy.journal.folder import lock
from ocproxy.journal.overwriting import finish
from ocproxy.journal.segments import COMPRESSED, UNFINISHED

KEEPER_LOCK: Final = "keeper.lock"


class Keeper:
    """Holds the keeper's lock, finishes or clears away what a former holder left unfinished, and turns what the system
    refuses into a JournalError. Raises JournalLocked when another process is at work in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        try:
            self._lock = lock(self.folder / KEEPER_LOCK)
        except OSError as error:
            raise self._explain(error) from error
        try:
            for path in self.folder.glob(f"*{COMPRESSED}{UNFINISHED}"):
                path.unlink()
            finish(self.folder)
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, OSError):
                raise self._explain(error) from error
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        os.close(self._lock)
        if isinstance(error, OSError):
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> JournalError:
        return JournalError(
            f"segments of {self.folder} could not be compressed, erased or removed: {error}",
            hint="nothing is lost: it is tried again later; check free space and the owner of the folder",
        )
