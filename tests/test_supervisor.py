"""The server's life: what refuses to start, what is started in which order, what the end looks like.

The children are small scripts that keep the contract of `ocproxy.process` and write down what they are told; the real
ones are in tests/e2e.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from ocproxy import incidents, instance
from ocproxy.config import Config, Journal, Server, Upstream
from ocproxy.errors import ConfigError, ServerError
from ocproxy.relay.settings import WorkerSettings
from ocproxy.supervisor import Commands, is_loopback, reserve, serve

pytestmark = pytest.mark.anyio

CHILD = """
import os, signal, sys, time
from pathlib import Path
log, name = Path(sys.argv[1]), sys.argv[2]
settings = sys.stdin.buffer.read()
def say(word):
    with open(log, "a") as file:
        file.write(f"{name} {word} {os.getpid()}\\n")
def stop(*_):
    say("told")
    if name != "stubborn":
        time.sleep(0.05)
        say("ended")
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(log.parent / f"{name}.settings").write_bytes(settings)
say("started")
if name == "broken":
    sys.exit("ocproxy: no database today")
if name == "slow":
    time.sleep(float(sys.argv[3]))
print("ready waiting" if name == "waiting" else "ready", flush=True)
while True:
    time.sleep(1)
"""


class Children:
    """Command lines of fake children, and what they wrote down."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        (folder / "child.py").write_text(CHILD)
        self.log.touch()

    def commands(self, relay: str = "relay", control: str = "control") -> Commands:
        return Commands(relay=self._command(relay), control=self._command(control))

    def said(self) -> list[str]:
        return [line.rpartition(" ")[0] for line in self.log.read_text().splitlines()]

    def pids(self, name: str) -> list[int]:
        return [
            int(line.split()[2]) for line in self.log.read_text().splitlines() if line.startswith(f"{name} started")
        ]

    async def until(self, count: int, line: str) -> None:
        async with asyncio.timeout(20):
            while self.said().count(line) < count:
                await asyncio.sleep(0.01)

    def _command(self, name: str) -> tuple[str, ...]:
        return (sys.executable, str(self.folder / "child.py"), str(self.log), name)


@pytest.fixture
def children(tmp_path: Path) -> Children:
    (tmp_path / "children").mkdir()
    return Children(tmp_path / "children")


def settings(tmp_path: Path, **server: object) -> Config:
    return Config(
        data_dir=str(tmp_path / "data"),
        server=msgspec.convert({"port": 0, **server}, Server),
        upstreams={"anthropic": Upstream(url="http://127.0.0.1:9")},
        journal=Journal(mode="strict"),
    )


@asynccontextmanager
async def serving(config: Config, commands: Commands) -> AsyncIterator[list[str]]:
    """A server that runs while the block does; what it tells the person."""
    told: list[str] = []
    server = asyncio.create_task(serve(config, told.append, commands))
    try:
        async with asyncio.timeout(20):
            while not told and not server.done():
                await asyncio.sleep(0.01)
        if server.done():
            await server
        yield told
        if not server.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(server, 20)
    finally:
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


async def test_control_ends_after_the_workers(tmp_path: Path, children: Children) -> None:
    async with serving(settings(tmp_path, workers=2), children.commands()):
        assert sorted(children.said()) == ["control started", "relay started", "relay started"]
    said = children.said()
    assert said[-2:] == ["control told", "control ended"]
    assert said.index("control told") > max(place for place, line in enumerate(said) if line == "relay ended")


async def test_workers_start_while_control_is_not_ready_yet(tmp_path: Path, children: Children) -> None:
    commands = children.commands()
    slow = (*children.commands(control="slow").control, "600")
    serving = asyncio.create_task(serve(settings(tmp_path), print, Commands(relay=commands.relay, control=slow)))
    await children.until(1, "relay started")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 20)


async def test_a_control_that_waits_for_its_database_is_told_of(tmp_path: Path, children: Children) -> None:
    async with serving(settings(tmp_path), children.commands(control="waiting")) as told:
        assert "THE DATABASE IS NOT OPEN" in told[0]
    async with serving(settings(tmp_path), children.commands()) as told:
        assert "DATABASE" not in told[0]


async def test_a_person_is_told_where_it_listens_and_others_find_it(tmp_path: Path, children: Children) -> None:
    config = settings(tmp_path)
    async with serving(config, children.commands()) as told:
        running = instance.running(config.data_path)
        assert running is not None and running.pid == os.getpid()
        assert f"ANTHROPIC_BASE_URL={running.url} claude" in told[0]
        assert str(config.data_path) in told[0] and "http://127.0.0.1:9" in told[0]
    assert instance.running(config.data_path) is None
    assert instance.read(config.data_path) is None


async def test_each_child_is_told_what_it_needs(tmp_path: Path, children: Children) -> None:
    config = settings(tmp_path)
    async with serving(config, children.commands()):
        running = instance.running(config.data_path)
    assert running is not None
    told = WorkerSettings.decode((children.folder / "relay.settings").read_bytes())
    assert (told.host, told.port, told.control) == (running.host, running.port, f"127.0.0.1:{running.control_port}")
    assert told.journal_folder == str(config.journal_path / "worker-0")
    assert (told.upstreams, told.journal.mode) == (config.upstreams, "strict")
    assert told.redaction_key == (config.data_path / "redaction.key").read_bytes()
    control = (children.folder / "control.settings").read_bytes()
    assert msgspec.msgpack.decode(control, type=tuple[instance.Running, Config]) == (running, config)


async def test_everything_in_the_data_folder_is_for_its_owner_only(tmp_path: Path, children: Children) -> None:
    config = settings(tmp_path)
    async with serving(config, children.commands()):
        places = [config.data_path, *config.data_path.rglob("*")]
        assert len(places) > 3
        assert not [place for place in places if stat.S_IMODE(place.stat().st_mode) & 0o077]


async def test_a_control_process_that_cannot_start_blocks_the_start(tmp_path: Path, children: Children) -> None:
    with pytest.raises(ServerError, match="the control process could not start"):
        async with serving(settings(tmp_path), children.commands(control="broken")):
            raise AssertionError("it started")
    for pid in children.pids("relay"):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not instance.held(tmp_path / "data" / instance.SERVER_LOCK)


async def test_a_worker_that_cannot_start_ends_the_start_and_leaves_nothing(tmp_path: Path, children: Children) -> None:
    config = settings(tmp_path)
    with pytest.raises(ServerError, match="relay worker 0 could not start"):
        async with serving(config, children.commands(relay="broken")):
            raise AssertionError("it started")
    for pid in children.pids("control"):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not instance.held(config.data_path / instance.SERVER_LOCK)


async def test_a_second_server_of_the_same_folder_is_told_where_the_first_one_is(
    tmp_path: Path, children: Children
) -> None:
    config = settings(tmp_path)
    async with serving(config, children.commands()):
        running = instance.running(config.data_path)
        assert running is not None
        with pytest.raises(ServerError, match=f"runs already, at {running.url}"):
            await serve(config, print, children.commands())


async def test_a_dead_worker_comes_back_and_doctor_can_tell_of_it(tmp_path: Path, children: Children) -> None:
    config = settings(tmp_path)
    async with serving(config, children.commands()) as told:
        os.kill(children.pids("relay")[0], signal.SIGKILL)
        await children.until(2, "relay started")
        async with asyncio.timeout(20):
            while told[-1] != "relay worker 0 runs again":
                await asyncio.sleep(0.01)
        assert children.said().count("control started") == 1, "the other child was left alone"
    assert "relay worker 0 was killed by SIGKILL" in incidents.recent(config.data_path)[0].what


async def test_a_second_signal_ends_it_at_once(tmp_path: Path, children: Children) -> None:
    async with serving(settings(tmp_path), children.commands(relay="stubborn")):
        os.kill(os.getpid(), signal.SIGINT)
        await children.until(1, "stubborn told")
    for pid in children.pids("stubborn"):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, children: Children) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        config = settings(tmp_path, port=other.getsockname()[1])
        with pytest.raises(ServerError, match=f"cannot listen on 127.0.0.1 port {config.server.port}"):
            await serve(config, print, children.commands())
    assert children.said() == []


async def test_an_address_that_others_reach_needs_a_token(tmp_path: Path, children: Children) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(ConfigError, match="server.token"):
            await serve(settings(tmp_path, host=host), print, children.commands())
    async with serving(settings(tmp_path, host="0.0.0.0", token="t0ken"), children.commands()):
        running = instance.running(tmp_path / "data")
        assert running is not None and running.url == f"http://127.0.0.1:{running.port}"


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False)]
)
def test_what_is_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_a_reserved_port_keeps_nobody_waiting_and_lets_a_worker_in() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        address = reserved.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 5)
        with (
            socket.create_server(address, reuse_port=True) as worker,
            socket.create_connection(address, 5) as client,
            worker.accept()[0] as served,
        ):
            client.sendall(b"x")
            assert served.recv(1) == b"x"
