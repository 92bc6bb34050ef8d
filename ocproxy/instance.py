"""One server a data folder: the folder itself, the locks in it, and what a running server tells of itself.

    <data_dir>/            0700
      server.lock          held (flock) by the supervisor for as long as it lives
      ingest.lock          held by whoever writes the database from the journal: the control process, `flush`, `rebuild`
      server.json          where the server listens; of use only while server.lock is held
      journal/             one folder per relay worker
      ocproxy.db           the database, unless another one is configured

Locks are flock(2): the kernel releases them when the holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ocproxy.errors import ServerError

SERVER_LOCK, INGEST_LOCK, STATE = "server.lock", "ingest.lock", "server.json"

# How often and how long a busy lock is tried again. `held` takes a lock for some microseconds to see whether it is
# free; a server that starts in just that moment must not be told that another one runs.
_TRIES, _PAUSE_SECONDS = 5, 0.02


class Running(msgspec.Struct, frozen=True):
    """What server.json says."""

    pid: int
    host: str
    port: int
    workers: int
    control_host: str
    control_port: int
    started_at: str  # ISO 8601, UTC
    version: str

    @property
    def url(self) -> str:
        """Where agents and people reach it: a wildcard address is no place to connect to."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Lock:
    """A held lock. Use as a context manager, or `release` it; the death of the process releases it too."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """The lock on `path` (made when it is not there), or None when another process holds it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE_SECONDS)
                continue
            return cls(descriptor)
        os.close(descriptor)
        return None

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def held(path: Path) -> bool:
    """Whether some process (this one included) holds the lock on `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def prepare(data: Path) -> None:
    """Make the data folder, for its owner only. Raises ServerError when it cannot be used.

    A folder that is there already is closed to others when it is empty or ours; one with foreign files in it (somebody
    gave `--data-dir .`) keeps its mode: everything that ocproxy puts into it is 0600 or 0700 by itself.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = set(os.listdir(data))
        ours = not names or SERVER_LOCK in names or "journal" in names or "ocproxy.db" in names
        if ours and data.stat().st_mode & 0o077:
            data.chmod(0o700)
        if not os.access(data, os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to write to {data}")
    except OSError as error:
        raise ServerError(
            f"the data folder {data} cannot be used: {error.strerror or error}",
            hint="give another one with --data-dir or OCPROXY_DATA_DIR",
        ) from None


def claim(data: Path) -> Lock:
    """The right to be the one server of this data folder. Raises ServerError when there is one already."""
    if (lock := Lock.take(data / SERVER_LOCK)) is not None:
        return lock
    other = read(data)
    where = f"at {other.url} (pid {other.pid})" if other else "and is starting or stopping right now"
    raise ServerError(
        f"a server with the data folder {data} runs already, {where}",
        hint="use that one, stop it first, or give this one its own --data-dir and --port",
    )


def claim_ingest(data: Path) -> Lock:
    """The right to write the database without a server. Raises ServerError while a server runs, even if its control
    process is away for the moment, and while another process stores."""
    lock = None if held(data / SERVER_LOCK) else Lock.take(data / INGEST_LOCK)
    if lock is None:
        raise ServerError(
            f"the database of {data} is in use by a running server, a flush or a rebuild",
            hint="stop it, or wait for it",
        )
    return lock


def write(data: Path, running: Running) -> None:
    """Tell others. Whole or not at all: written beside and moved into place."""
    draft = data / f"{STATE}.new"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(running), indent=2) + b"\n")
    draft.replace(data / STATE)


def erase(data: Path) -> None:
    (data / STATE).unlink(missing_ok=True)


def read(data: Path) -> Running | None:
    """What server.json says, whether or not that server still lives; None when there is nothing to read."""
    try:
        return msgspec.json.decode((data / STATE).read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.DecodeError):  # half a file of another version is as good as none
        return None


def running(data: Path) -> Running | None:
    """The server that runs with this data folder; None when there is none, or it has not said yet where it listens."""
    return read(data) if held(data / SERVER_LOCK) else None
