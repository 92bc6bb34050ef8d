"""`ocproxy serve`: starts the control process and the relay workers, keeps them alive, and stops them in order.

    supervisor ── control   migrates the database, follows the journals, answers the API (a loopback port)
               ├─ relay 0   the public port (SO_REUSEPORT), its own journal folder
               └─ relay N

The supervisor does no work of its own and stays small: it imports neither the relay's engine nor the database. It binds
both ports without listening, so that they stay ours while a child is away, and a taken port is told before it starts.
Starting: all at once; the workers take traffic whatever keeps control, which waits for a database that is away.
Stopping: the workers drain, then control takes in what they wrote, then the end.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from ocproxy import __version__, instance
from ocproxy.config import Config
from ocproxy.errors import ConfigError, ServerError
from ocproxy.incidents import Diary
from ocproxy.process import Child, Tell
from ocproxy.relay.redaction import load_key
from ocproxy.relay.settings import WorkerSettings

# A worker imports little and is ready in a tenth of a second; on a machine that swaps, in seconds. No answer after this
# long means that it hangs.
RELAY_START_SECONDS = 20.0
# Above `server.drain_seconds`: a worker ends its own drain, then writes and syncs its last records.
DRAIN_MARGIN_SECONDS = 5.0
# What control may take at the end to store what the workers wrote last. Ingest does far more than a day's traffic in
# this time; when the database is locked, the rest is taken in by the next start (the journal has it).
FINISH_SECONDS = 30.0


class Commands(msgspec.Struct, frozen=True):
    """The command lines of the children. Tests put others here."""

    relay: tuple[str, ...] = (sys.executable, "-m", "ocproxy.relay")
    control: tuple[str, ...] = (sys.executable, "-m", "ocproxy.control")


async def serve(config: Config, tell: Tell, commands: Commands | None = None) -> None:
    """Run the server until SIGTERM or SIGINT (a second one ends it at once). `tell` is given lines for a person.

    Raises ConfigError or ServerError when it cannot start; then nothing is left running.
    """
    refuse_exposure(config)
    os.umask(0o077)
    data = config.data_path
    instance.prepare(data)
    with ExitStack() as stack:
        stack.enter_context(instance.claim(data))
        public = stack.enter_context(reserve(config.server.host, config.server.port))
        private = stack.enter_context(reserve("127.0.0.1", 0))
        supervisor = Supervisor(config, (public, private), tell, commands or Commands())
        stack.callback(instance.erase, data)
        await supervisor.run()


class Supervisor:
    """The children of one server."""

    def __init__(self, config: Config, ports: tuple[socket.socket, socket.socket], tell: Tell, use: Commands) -> None:
        self._config = config
        self._tell = tell
        self._diary = Diary(config.data_path)
        self._is_waiting = False  # control has no database yet
        (host, port), (control_host, control_port) = (s.getsockname()[:2] for s in ports)
        self.running = instance.Running(
            pid=os.getpid(),
            host=host,
            port=port,
            workers=config.server.workers,
            control_host=control_host,
            control_port=control_port,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
        )
        told = msgspec.msgpack.encode((self.running, config))
        # No limit for control's start: it waits, for half a minute, until `flush` is done, and says so if it is not.
        self._control = Child("the control process", use.control, told, start_seconds=None)
        key = load_key(config.data_path / "redaction.key")
        self._workers = [
            Child(f"relay worker {settings.worker}", use.relay, settings.encode(), start_seconds=RELAY_START_SECONDS)
            for settings in worker_settings(self.running, config, key)
        ]

    async def run(self) -> None:
        """Start, keep alive until told to stop, drain. Raises ServerError when a child cannot start."""
        stop, force = asyncio.Event(), asyncio.Event()
        _on_signals(stop, force)
        try:
            if await _unless(stop, self._start()):
                instance.write(self._config.data_path, self.running)
                self._tell(greeting(self.running, self._config, is_waiting=self._is_waiting))
                await _unless(stop, self._keep_alive())
                await _unless(force, self._drain())
        finally:
            await asyncio.gather(*(child.kill() for child in (*self._workers, self._control)))

    async def _start(self) -> None:
        starting = [asyncio.ensure_future(child.start()) for child in (self._control, *self._workers)]
        try:
            words = await asyncio.gather(*starting)
        except BaseException:  # of one that cannot start, or a signal: the others need not
            for one in starting:
                one.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            raise
        self._is_waiting = words[0] == ["waiting"]

    async def _keep_alive(self) -> None:
        await asyncio.gather(*(child.keep_alive(self._note) for child in (self._control, *self._workers)))

    def _note(self, said: str) -> None:
        """Tell it now, and keep it for `ocproxy doctor`."""
        self._tell(said)
        if failure := self._diary.note(said):
            self._tell(failure)

    async def _drain(self) -> None:
        seconds = self._config.server.drain_seconds
        self._tell(f"stopping: open streams may end within {seconds:g} s (once more to stop at once)")
        await asyncio.gather(*(worker.stop(seconds + DRAIN_MARGIN_SECONDS) for worker in self._workers))
        if not await self._control.stop(FINISH_SECONDS):
            self._tell("the database did not take everything in time; the journal has it, the next start goes on")
        self._tell("stopped")


def refuse_exposure(config: Config) -> None:
    """Raises ConfigError for an address that others can reach, unless there is a token for API and UI."""
    host = config.server.host
    if config.server.token or is_loopback(host):
        return
    raise ConfigError(
        f"server.host is {host}, which other machines can reach, and server.token is not set",
        hint="set OCPROXY_SERVER_TOKEN (API and UI then ask for it), or bind to 127.0.0.1",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name counts by all of its addresses. Raises ServerError."""
    return all(ipaddress.ip_address(address[4][0]).is_loopback for address in _resolve(host, 0))


def reserve(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not listening: the port stays ours and nobody is kept waiting on it.

    Raises ServerError when the port is taken. SO_REUSEPORT alone would not tell: it lets a second server of the same
    user share the port, and the kernel would deal connections out to both. So a port that was asked for is bound
    without it first; a free one (0) the kernel chooses among those that nobody has.
    """
    family, _, _, _, address = _resolve(host, port)[0]
    reserved = socket.socket(family, socket.SOCK_STREAM)
    try:
        if port:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)
    except OSError as error:
        reserved.close()
        raise ServerError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            hint="give another one with --port (0 takes any free one), or stop whoever uses it",
        ) from None
    return reserved


def worker_settings(running: instance.Running, config: Config, key: bytes) -> list[WorkerSettings]:
    """What each relay worker is told. Each has its own journal folder, the same one at every start."""
    return [
        WorkerSettings(
            host=running.host,
            port=running.port,
            journal_folder=str(config.journal_path / f"worker-{number}"),
            redaction_key=key,
            upstreams=config.upstreams,
            default_upstream=config.routes.default,
            control=f"{running.control_host}:{running.control_port}",
            worker=number,
            journal=config.journal,
            drain_seconds=config.server.drain_seconds,
        )
        for number in range(config.server.workers)
    ]


def greeting(running: instance.Running, config: Config, *, is_waiting: bool = False) -> str:
    """What a person reads when the server runs; `is_waiting`: for its database."""
    given = f" --data-dir {config.data_dir}" if config.data_dir else ""
    waits = (
        f"  THE DATABASE IS NOT OPEN (see above, and ocproxy{given} doctor): calls are forwarded and kept in the"
        " journal, and stored when it is\n"
        if is_waiting
        else ""
    )
    upstreams = "\n".join(f"    {name:<10} {upstream.url}" for name, upstream in config.upstreams.items())
    return (
        f"ocproxy {__version__} listens at {running.url}\n"
        f"  point an agent at it   ANTHROPIC_BASE_URL={running.url} claude\n"
        f"  see what it did        ocproxy{given} sessions\n"
        f"  data are in            {config.data_path}\n"
        f"  it forwards to\n{upstreams}\n"
        f"{waits}"
        "  Ctrl-C stops it."
    )


def _resolve(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[return-value]  # IPv6: 4 items
    except OSError as error:
        raise ServerError(
            f"the address {host!r} is not known here: {error.strerror or error}",
            hint="use an IP address of this machine",
        ) from None


def _on_signals(stop: asyncio.Event, force: asyncio.Event) -> None:
    def arrived() -> None:
        if stop.is_set():
            force.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # SIGHUP: the terminal was closed
        loop.add_signal_handler(number, arrived)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work` until it is done (True) or `event` is set (False: it was cancelled). Raises what `work` raises."""
    doing, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((doing, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not doing.done():
            doing.cancel()
            with suppress(asyncio.CancelledError):
                await doing
    if doing.cancelled():
        return False
    doing.result()
    return True
