"""A child process that says when it is ready, is started again when it dies, and dies with its parent.

The contract with the child: it reads its settings from standard input until the end, writes one line `ready …` to
standard output when it does its work, writes what a person should read to standard error, ends by itself on SIGTERM,
and exits with something other than 0 when it could not start.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from ocproxy.errors import ServerError

# The pause before a dead child is started again. The first is short, because agents are refused while a relay worker is
# away and most deaths are single ones; it doubles, so that a child that dies at once (a broken disk, a bad library)
# costs next to nothing; it ends at ten seconds, so that service is back soon after the cause is gone.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
# A child that lived this long was healthy: the next death starts again at the first pause.
HEALTHY_SECONDS = 30.0

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

Tell = Callable[[str], None]


class Child:
    """One child process: started, watched, stopped."""

    def __init__(self, name: str, command: Sequence[str], settings: bytes, *, start_seconds: float | None) -> None:
        """`start_seconds` bounds the wait for `ready`; None waits for as long as the child lives."""
        self.name = name
        self._command = tuple(command)
        self._settings = settings
        self._start_seconds = start_seconds
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> list[str]:
        """Start it and wait until it is ready. Returns the words behind `ready`. Raises ServerError when it fails."""
        # Its own process group: Ctrl-C goes to the supervisor alone, which stops its children in the right order.
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                process_group=0,
                preexec_fn=_die_with(os.getpid()),
            )
        except OSError as error:  # no memory, too many processes
            raise ServerError(f"{self.name} could not start: {error.strerror or error}") from None
        assert process.stdin is not None and process.stdout is not None
        with suppress(ConnectionError):  # it died already: the missing `ready` tells
            process.stdin.write(self._settings)
            process.stdin.close()
        try:
            line = await asyncio.wait_for(process.stdout.readline(), self._start_seconds)
        except TimeoutError:
            await self.kill()
            raise ServerError(f"{self.name} was not ready after {self._start_seconds:g} s") from None
        except asyncio.CancelledError:
            await self.kill()
            raise
        words = line.decode("utf-8", "replace").split()
        if words[:1] != ["ready"]:
            await self.kill()
            raise ServerError(f"{self.name} could not start (it {describe(process.returncode)})")
        return words[1:]

    async def wait(self) -> int:
        """Wait until it has ended; returns its exit code (negative: the signal that killed it)."""
        assert self._process is not None and self._process.stdout is not None
        while await self._process.stdout.read(65536):
            pass  # nothing more is expected there; read on, so that a talkative child cannot block on a full pipe
        return await self._process.wait()

    def terminate(self) -> None:
        """Ask it to finish what it is at and end."""
        self._send(signal.SIGTERM)

    async def kill(self) -> None:
        """End it at once, and wait until it has gone."""
        self._send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def stop(self, seconds: float) -> bool:
        """Ask it to end, and kill it when it has not after `seconds`. Returns whether it ended by itself."""
        if self.pid is None:
            return True
        self.terminate()
        try:
            await asyncio.wait_for(self.wait(), seconds)
        except TimeoutError:
            await self.kill()
            return False
        return True

    async def keep_alive(self, tell: Tell) -> None:
        """Start it again whenever it ends, for ever. Cancel this before stopping it."""
        pause, since = FIRST_PAUSE, time.monotonic()
        while True:
            reason = describe(await self.wait())
            if time.monotonic() - since > HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            tell(f"{self.name} {reason}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            pause, since = min(pause * 2, LONGEST_PAUSE), time.monotonic()
            try:
                await self.start()
            except ServerError as error:
                tell(str(error))
            else:
                tell(f"{self.name} runs again")

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            # Not Process.send_signal: that looks whether the child has ended, which takes its exit code away from the
            # watcher that waits for it ("Unknown child process, will report returncode 255").
            with suppress(ProcessLookupError):  # it ended a moment ago
                os.kill(self._process.pid, number)


def describe(code: int | None) -> str:
    """How a process ended, in words: "was killed by SIGKILL", "ended with exit code 1"."""
    if code is not None and code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def _die_with(parent: int) -> Callable[[], None]:
    """What a child does before its program begins: arrange to be killed when its parent dies (Linux), even by -9.
    Otherwise an orphan would hold the port and the journal's lock, and no new server could start."""

    def arrange() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent died before the call
                os._exit(1)

    return arrange
