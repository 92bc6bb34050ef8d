"""A child process: ready, dead, started again, gone with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ocproxy import process
from ocproxy.errors import ServerError
from ocproxy.process import Child, describe

pytestmark = pytest.mark.anyio

READY = "import sys; sys.stdin.buffer.read(); print('ready 127.0.0.1 80', flush=True); "
WAIT = "import time; time.sleep(60)"


def child(code: str, *, settings: bytes = b"", start_seconds: float | None = 20) -> Child:
    return Child("the child", (sys.executable, "-c", code), settings, start_seconds=start_seconds)


def gone(pid: int) -> bool:
    """Whether no process has this id, or only a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_it_is_started_when_it_says_ready() -> None:
    one = child(READY + WAIT)
    assert await one.start() == ["127.0.0.1", "80"]
    assert one.pid is not None
    await one.kill()
    assert one.pid is None


async def test_its_settings_reach_it_whole(tmp_path: Path) -> None:
    written = tmp_path / "settings"
    settings = os.urandom(300_000)  # more than a pipe holds
    one = child(
        f"import sys; open({str(written)!r}, 'wb').write(sys.stdin.buffer.read()); print('ready', flush=True)",
        settings=settings,
    )
    await one.start()
    assert await one.wait() == 0
    assert written.read_bytes() == settings


async def test_one_that_ends_before_it_is_ready_is_an_error_that_says_how() -> None:
    with pytest.raises(ServerError, match=r"the child could not start \(it ended with exit code 3\)"):
        await child("import sys; sys.exit(3)").start()


async def test_one_that_says_nothing_is_killed_after_its_time() -> None:
    one = child(WAIT, start_seconds=0.3)
    with pytest.raises(ServerError, match="not ready after 0.3 s"):
        await one.start()
    assert one.pid is None


async def test_a_program_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ServerError, match="could not start"):
        await Child("the child", ("/does/not/exist",), b"", start_seconds=5).start()


async def test_a_dead_one_is_started_again_and_it_is_told_why() -> None:
    told: list[str] = []
    pids: list[int] = []
    one = child(READY + WAIT)
    await one.start()
    assert one.pid is not None
    keeping = asyncio.create_task(one.keep_alive(told.append))
    for _ in range(2):
        pids.append(one.pid)
        os.kill(pids[-1], signal.SIGKILL)
        async with asyncio.timeout(20):
            while one.pid in (None, pids[-1]) or told[-1:] != ["the child runs again"]:
                await asyncio.sleep(0.01)
        told.append("--")
    keeping.cancel()
    await one.kill()
    assert told[0] == "the child was killed by SIGKILL; starting it again in 0.1 s"
    assert "starting it again in 0.2 s" in told[3]


async def test_one_that_dies_at_once_is_tried_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(process, "LONGEST_PAUSE", 0.002)
    told: list[str] = []
    broken = child("import sys; sys.exit(1)")
    with pytest.raises(ServerError):
        await broken.start()
    keeping = asyncio.create_task(broken.keep_alive(told.append))
    async with asyncio.timeout(20):
        while len(told) < 6:
            await asyncio.sleep(0.01)
    keeping.cancel()
    assert [line for line in told if line.startswith("the child could not start")]
    await asyncio.gather(keeping, return_exceptions=True)
    await broken.kill()


async def test_one_that_does_not_end_in_time_is_killed() -> None:
    stubborn = child("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + WAIT)
    await stubborn.start()
    assert not await stubborn.stop(0.2)
    assert stubborn.pid is None


async def test_one_that_ends_by_itself_is_not_killed() -> None:
    willing = child(READY + WAIT)
    await willing.start()
    assert await willing.stop(20)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death signal is Linux's")
def test_kill_9_of_the_parent_takes_the_child_along() -> None:
    code = f"""
import asyncio, sys
from ocproxy.process import Child
async def main():
    child = Child("the child", (sys.executable, "-c", {(READY + WAIT)!r}), b"", start_seconds=20)
    await child.start()
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""
    with subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    end = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < end, "the child outlived its parent"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with exit code 0"), (-9, "was killed by SIGKILL"), (-127, "was killed by signal 127")],
)
def test_the_end_of_a_process_in_words(code: int, words: str) -> None:
    assert describe(code) == words
