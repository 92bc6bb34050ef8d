"""The demonstration itself: recorder, scripted provider and an agent at work, on free ports, all ended at its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ocproxy import instance
from ocproxy.demo.agent import run_agent
from ocproxy.demo.provider import Provider
from ocproxy.demo.story import PROMPT, prepare, tell_story
from ocproxy.errors import ServerError

Tell = Callable[[str], None]

# The calls come in under /run/demo, and these headers tell what a client of this kind does not say by itself.
RUN = "demo"
_TAGS = {"x-ocproxy-agent": "demo-agent", "x-ocproxy-title": "Repair the failing check"}

# Half a second is usual; a machine that is busy with an install takes longer.
_START_SECONDS, _WORK_SECONDS, _STOP_SECONDS, _FLUSH_SECONDS = 15.0, 60.0, 10.0, 15.0
_PAUSE = 0.05
# Between two events of a stream, in seconds: slow enough to be a stream, fast enough for a tour.
_PACE = 0.003


def options(data: Path) -> list[str]:
    """Global options that point `ocproxy` at the demonstration's own data and at nothing of the user's."""
    return ["--config", str(data / "demo.toml"), "--data-dir", str(data), "--database-url", database_url(data)]


def database_url(data: Path) -> str:
    return f"sqlite:///{data / 'ocproxy.db'}"


async def record(data: Path, workdir: Path, tell: Tell) -> None:
    """Plays the story in `workdir`, recorded into `data` (both exist and are empty). Nothing runs when it returns.

    Raises ServerError when a part cannot be started or hangs, httpx.HTTPError when the traffic is broken.
    """
    (data / "demo.toml").touch()
    prepare(workdir)
    async with Provider([tell_story(workdir)], pace=_PACE).serve() as provider, _recorder(data, provider.url) as url:
        tags = {**_TAGS, "x-ocproxy-workdir": str(workdir)}
        try:
            await asyncio.wait_for(run_agent(f"{url}/run/{RUN}", workdir, PROMPT, tell, tags), _WORK_SECONDS)
        except TimeoutError:
            raise ServerError(f"the agent was not done in {_WORK_SECONDS:.0f} s: no answer comes through") from None
        flush = await _ocproxy(data, "flush", "--timeout", f"{_FLUSH_SECONDS:.0f}")
        output, _ = await flush.communicate()
        if flush.returncode:
            raise ServerError(f"the recording did not reach the database: {output.decode('utf-8', 'replace').strip()}")


@asynccontextmanager
async def _recorder(data: Path, upstream: str) -> AsyncIterator[str]:
    """`ocproxy serve` as a child; yields its URL and stops it."""
    server = await _ocproxy(data, "serve", "--port", "0", "--upstream", f"anthropic={upstream}")
    # Its log is read as it comes, or a full pipe would stop it.
    log = asyncio.create_task(server.stdout.read()) if server.stdout else None
    try:
        async with asyncio.timeout(_START_SECONDS):
            # Another process's file: there is no event to wait for.
            while (running := instance.running(data)) is None and server.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(_PAUSE)
        if running is None:
            said = (await log).decode("utf-8", "replace").strip() if log else ""
            raise ServerError(f"`ocproxy serve` ended at once with code {server.returncode}: {said}")
        yield running.url
    except TimeoutError:
        raise ServerError(f"`ocproxy serve` did not start in {_START_SECONDS:.0f} s") from None
    finally:
        await _stop(server)
        if log:
            await log


async def _stop(server: asyncio.subprocess.Process) -> None:
    if server.returncode is not None:
        return
    server.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(server.wait(), _STOP_SECONDS)
    except TimeoutError:
        os.killpg(server.pid, signal.SIGKILL)  # the supervisor and its children: they have a group of their own
        await server.wait()


async def _ocproxy(data: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Runs `ocproxy` on the demonstration's data, without the user's settings."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ocproxy",
        *options(data),
        *arguments,
        env={name: value for name, value in os.environ.items() if not name.startswith("OCPROXY_")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches the tour, and the tour ends its children in order
    )
