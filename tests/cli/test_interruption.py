"""Ctrl-C at any instant: the command ends at once, without a traceback, and leaves nothing half-made."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from ocproxy import config, instance
from ocproxy.exchange import Ended, Kind, Opened, Outcome
from ocproxy.journal import JournalWriter
from tests.cli.rows import fill

# Far below the 5 s for which a statement waits for a lock, far above what a busy machine needs to end a process.
PROMPT_SECONDS = 3.0


def begin(data: Path, *arguments: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "ocproxy", "--data-dir", str(data), *arguments)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Ctrl-C. Returns exit code and standard error; fails when it takes long."""
    with process:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(PROMPT_SECONDS)
            return code, process.stderr.read() if process.stderr else ""
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@contextmanager
def taken(database: Path) -> Iterator[None]:
    """The database as somebody else's alone: even who reads has to wait."""
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN IMMEDIATE")
    holder.execute("UPDATE opencode_sessions SET title = title")
    yield
    holder.execute("ROLLBACK")
    holder.close()


def wait_until_open(process: subprocess.Popen[str], file: Path) -> None:
    descriptors = Path(f"/proc/{process.pid}/fd")
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(FileNotFoundError):  # one of them is closed again, or the process has ended
            if str(file.resolve()) in map(os.readlink, descriptors.iterdir()):
                return
        time.sleep(0.01)
    raise AssertionError(f"it did not open {file}: {process.communicate()}")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "settings.toml").touch()
    monkeypatch.setenv("OCPROXY_CONFIG", str(tmp_path / "settings.toml"))
    asyncio.run(fill(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks for open files in /proc")
@pytest.mark.parametrize("command", [["sessions"], ["show", "aaaa"], ["calls"], ["doctor"], ["db", "current"]])
def test_a_command_that_waits_for_the_database_ends_at_once(command: list[str], data: Path) -> None:
    with taken(data / "ocproxy.db"):
        process = begin(data, *command)
        wait_until_open(process, data / "ocproxy.db")
        assert interrupt(process) == (-signal.SIGINT, "")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks for open files in /proc")
def test_tail_ends_well_even_while_it_waits_for_the_database(data: Path) -> None:
    with taken(data / "ocproxy.db"):
        process = begin(data, "tail")
        wait_until_open(process, data / "ocproxy.db")
        assert interrupt(process) == (0, "")


@pytest.mark.parametrize("command", [["sessions", "--json"], ["files"], ["flush"]])
def test_whenever_it_comes_there_is_no_traceback(command: list[str], data: Path) -> None:
    code = (
        "import os, signal, threading, runpy, sys\n"
        "seconds = float(sys.argv.pop(1))\n"
        "from ocproxy.cli import interruption; interruption.end_at_once()\n"  # Python's own start is not ours
        "threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "runpy.run_module('ocproxy', run_name='__main__')\n"
    )
    for step in range(12):
        arguments = (str(step * 0.06), "--data-dir", str(data), *command)
        done = subprocess.run((sys.executable, "-c", code, *arguments), capture_output=True, text=True, timeout=20)
        # Done before it came, the timer's thread is waited for: then the signal ends what is left of the process.
        assert done.returncode in (0, -signal.SIGINT) and done.stderr == "", (step, done)


def test_a_shell_shows_130(data: Path) -> None:
    script = f'"{sys.executable}" -c "{_RAISES}"; echo $?'
    done = subprocess.run(("sh", "-c", script), capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr.replace("\n", "")) == ("130\n", "")


_RAISES = "import signal; import ocproxy.__main__; signal.raise_signal(signal.SIGINT)"


def test_what_should_ignore_it_goes_on_ignoring_it() -> None:
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " + _RAISES
    assert subprocess.run((sys.executable, "-c", ignored), timeout=20).returncode == 0


def test_an_interrupted_rebuild_leaves_the_old_database_and_nothing_else(data: Path) -> None:
    record(data, 4000)
    before = (data / "ocproxy.db").read_bytes()
    process = begin(data, "rebuild", "--forget")
    deadline = time.monotonic() + 20
    while not (data / "ocproxy.db.rebuild").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "")
    assert (data / "ocproxy.db").read_bytes() == before
    assert not list(data.glob("*.rebuild*"))


def record(data: Path, calls: int) -> None:
    """Calls enough that making rows of them takes some seconds."""
    head = b"GET /anything HTTP/1.1\r\nHost: x\r\n\r\n"
    opened = Opened(head=head, target="/anything", upstream="anthropic", upstream_url="http://x", client="127.0.0.1:1")
    instance.prepare(data)
    writer = JournalWriter.open(data / "journal" / "worker-0", config.Journal(segment_mb=1))
    for _ in range(calls):
        number = writer.next_exchange()
        writer.append(Kind.OPENED, number, msgspec.msgpack.encode(opened))
        writer.append(Kind.ENDED, number, msgspec.msgpack.encode(Ended(Outcome.COMPLETE)))
    assert writer.commit()
    writer.close()
