"""The folder of one journal: its id, and the lock that lets one writer in."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from pathlib import Path
from typing import Final

from ocproxy.errors import JournalError, JournalLocked
from ocproxy.journal.segments import COMPRESSED, PLAIN, UNFINISHED, list_segments, sync_folder
from ocproxy.journal.tape import open_tape

ID_FILE: Final = "id"
WRITER_LOCK: Final = "lock"
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_folder(folder: Path) -> None:
    """Make the folder and what is above it for the user alone; tighten it when it is open to others. Raises OSError."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=FOLDER_MODE, exist_ok=True)
        sync_folder(place.parent)
    if folder.stat().st_mode & 0o077:
        folder.chmod(FOLDER_MODE)


def lock(path: Path) -> int:
    """Take the lock file `path` and return its descriptor; closing it, or dying, frees the lock.

    Raises JournalLocked when another holds it, OSError when the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise JournalLocked(
            f"the journal folder {path.parent} is in use by the process {holder}",
            hint="stop that ocproxy, or give this one another --data-dir",
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_id(folder: Path) -> str:
    """The id of the journal in `folder` (32 hex digits). Raises JournalError when it holds none."""
    known = _from_file(folder) or _from_segments(folder)
    if known is None:
        raise JournalError(
            f"there is no journal in {folder}",
            hint="`ocproxy journal ls` shows those in the data folder; `ocproxy serve` makes one",
        )
    return known


def ensure_id(folder: Path) -> str:
    """The id of the journal in `folder`; a new one is made and written when there is none. Raises OSError."""
    known = _from_file(folder)
    if known is None:
        known = _from_segments(folder) or secrets.token_hex(16)
        write_id(folder, known)
    return known


def write_id(folder: Path, journal: str) -> None:
    """Write the id file, whole or not at all. Raises OSError."""
    unfinished = folder / (ID_FILE + UNFINISHED)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    try:
        os.write(descriptor, f"{journal}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    unfinished.rename(folder / ID_FILE)
    sync_folder(folder)


def sweep(folder: Path) -> None:
    """Remove what a writer left unfinished when it died. Only for the holder of the writer's lock. Raises OSError."""
    for path in folder.glob(f"*{PLAIN}{UNFINISHED}"):
        path.unlink(missing_ok=True)


def list_journals(root: Path) -> list[Path]:
    """The journal folders under `root` (one for each relay worker), by name; none when there is no `root`."""
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and ((p / ID_FILE).exists() or _holds_segments(p)))


def _holds_segments(folder: Path) -> bool:
    return any(folder.glob(f"[0-9]*{PLAIN}")) or any(folder.glob(f"[0-9]*{COMPRESSED}"))


def _from_file(folder: Path) -> str | None:
    try:
        text = (folder / ID_FILE).read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(
            f"the journal folder {folder} cannot be read: {error.strerror}",
            hint="check that it belongs to the user who runs ocproxy",
        ) from error
    return text if re.fullmatch(r"[0-9a-f]{32}", text) else None


def _from_segments(folder: Path) -> str | None:
    """The id file can be lost (a power cut, a careless copy); every segment names the journal too."""
    if not folder.is_dir():
        return None
    for segment in reversed(list_segments(folder)):
        tape = open_tape(folder, segment.number)
        if tape is None:
            continue  # removed since it was listed
        with tape:
            if tape.header is not None:
                return tape.header.journal
    return None
