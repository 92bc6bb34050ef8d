"""The worker as a process: starts, says where it listens, serves, drains."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from ocproxy import config
from ocproxy.exchange import Ended, Kind, Outcome
from ocproxy.journal.reader import JournalReader
from ocproxy.relay.server import listen
from ocproxy.relay.settings import WorkerSettings
from tests.support.wire import KEY, Peer, read_message, relay, replies, run, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n"


class Worker:
    """A relay worker in its own process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port
        self.peers: list[Peer] = []

    async def connect(self) -> Peer:
        self.peers.append(peer := Peer(*await asyncio.open_connection("127.0.0.1", self.port)))
        return peer

    async def stopped(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 10)


@asynccontextmanager
async def worker(folder: Path, upstream_port: int, drain_seconds: float = 5.0) -> AsyncIterator[Worker]:
    settings = WorkerSettings(
        host="127.0.0.1",
        port=0,
        journal_folder=str(folder),
        redaction_key=KEY,
        upstreams={"anthropic": config.Upstream(url=f"http://127.0.0.1:{upstream_port}")},
        default_upstream="anthropic",
        drain_seconds=drain_seconds,
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ocproxy.relay", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(settings.encode())
    process.stdin.close()
    try:
        word, host, port = (await process.stdout.readline()).split()
        assert (word, host) == (b"ready", b"127.0.0.1")
        relaying = Worker(process, int(port))
        yield relaying
        for peer in relaying.peers:
            await peer.close()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def accepts(port: int) -> bool:
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) != errno.ECONNREFUSED


def records(folder: Path, kind: Kind) -> list[bytes]:
    with JournalReader(folder) as reader:
        return [record.payload for _, record in reader.follow() if record.kind == kind]


def ends(folder: Path) -> list[Ended]:
    return [msgspec.msgpack.decode(payload, type=Ended) for payload in records(folder, Kind.ENDED)]


def test_a_worker_serves_and_stops_when_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with upstream(replies(OK)) as up, worker(tmp_path / "j", up.port) as relaying:
            client = await relaying.connect()
            await client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.read_until(b"ok")).startswith(b"HTTP/1.1 200 OK\r\n")
            await client.send(GET)
            assert (await client.read(len(OK))) == OK
            relaying.process.send_signal(signal.SIGTERM)
            assert await client.read_all() == b"", "an idle connection is closed"
            assert await relaying.stopped() == 0
        assert [ended.outcome for ended in ends(tmp_path / "j")] == [Outcome.COMPLETE]

    run(scenario())


def test_draining_lets_a_stream_finish_and_accepts_no_more(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await go_on.wait()
        await peer.send(b"0\r\n\r\n")

    async def scenario() -> None:
        async with upstream(talk) as up, worker(tmp_path / "j", up.port) as relaying:
            client = await relaying.connect()
            await client.send(GET)
            await client.read_until(b"a\r\n")
            relaying.process.send_signal(signal.SIGTERM)
            while accepts(relaying.port):
                await asyncio.sleep(0.01)
            go_on.set()
            assert await client.read_all() == b"0\r\n\r\n"
            assert await relaying.stopped() == 0
        assert [ended.outcome for ended in ends(tmp_path / "j")] == [Outcome.COMPLETE]

    run(scenario())


@pytest.mark.parametrize("signals", [1, 2], ids=["time runs out", "a second signal"])
def test_what_does_not_finish_is_broken_off_as_drained(tmp_path: Path, signals: int) -> None:
    async def talk(peer: Peer) -> None:
        await read_message(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        try:
            await peer.read_all()
        except ConnectionError:
            pass  # broken off by a reset

    async def scenario() -> None:
        seconds = 0.2 if signals == 1 else 60.0
        async with upstream(talk) as up, worker(tmp_path / "j", up.port, seconds) as relaying:
            client = await relaying.connect()
            await client.send(GET)
            await client.read_until(b"hello")
            for _ in range(signals):
                relaying.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.1)  # two signals at once are one
            with pytest.raises(ConnectionResetError):
                await client.read_all()
            assert await relaying.stopped() == 0
        assert [ended.outcome for ended in ends(tmp_path / "j")] == [Outcome.DRAINED]

    run(scenario())


def test_what_a_client_got_is_in_the_journal_when_the_worker_is_killed(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        await read_message(peer)
        try:
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", *[b"event %d\n" % n for n in range(200)])
            await peer.read_all()
        except ConnectionError:
            pass  # killed

    async def scenario() -> None:
        async with upstream(talk) as up, worker(tmp_path / "j", up.port) as relaying:
            client = await relaying.connect()
            await client.send(GET)
            await client.read_until(b"event 100\n")
            relaying.process.kill()
            try:
                await client.read_all()
            except ConnectionError:
                pass  # that is how a killed process hangs up
            await relaying.stopped()
            body = bytes(client.received).partition(b"\r\n\r\n")[2]
        assert b"".join(records(tmp_path / "j", Kind.RESPONSE_BYTES)).startswith(body)

    run(scenario())


def start(settings: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "ocproxy.relay"], input=settings, capture_output=True, timeout=20)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    settings = WorkerSettings(
        host="192.0.2.1",  # of the documentation's network: no interface has it
        port=1,
        journal_folder=str(tmp_path / "j"),
        redaction_key=KEY,
        upstreams={"anthropic": config.Upstream(url="http://127.0.0.1:1")},
        default_upstream="anthropic",
    )
    done = start(settings.encode())
    assert done.returncode == 1 and b"cannot listen on 192.0.2.1 port 1" in done.stderr
    done = start(b"\xc1")
    assert done.returncode == 1 and done.stderr.startswith(b"ocproxy relay: ")


def test_a_worker_imports_no_database_and_no_terminal() -> None:
    code = (
        "import sys, ocproxy.relay.__main__;"
        "unwanted = {'sqlalchemy', 'typer', 'rich', 'json', 'httpx', 'starlette', 'tomllib', 'platformdirs'};"
        "sys.exit(' '.join(unwanted & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")


def test_workers_share_a_port() -> None:
    (first,) = listen("127.0.0.1", 0)
    (second,) = listen("127.0.0.1", first.getsockname()[1])
    first.close()
    second.close()


def test_settings_survive_the_pipe() -> None:
    upstreams = {"a": config.Upstream(url="http://x", ca_file="f")}
    settings = WorkerSettings("h", 1, "/j", b"k" * 32, upstreams, "a", "c:1", 3)
    assert WorkerSettings.decode(settings.encode()) == settings


@pytest.mark.parametrize("by_path", [False, True], ids=["port", "unix socket"])
def test_api_and_ui_go_to_the_control_process_unrecorded(tmp_path: Path, by_path: bool) -> None:
    seen: list[bytes] = []

    async def scenario() -> None:
        async with upstream(replies(OK, OK, seen=seen)) as control:
            path = str(tmp_path / "c")
            listening = await asyncio.start_unix_server(control.serve, path)
            async with relay(1, control=path if by_path else f"127.0.0.1:{control.port}") as proxy:
                client = await proxy.connect()
                for line in (b"GET / HTTP/1.1", b"PUT /api/x HTTP/1.1"):
                    request = line + b"\r\nHost: me:4141\r\nX-Y: z\r\n\r\n"
                    await client.send(request)
                    assert await client.read(len(OK)) == OK
                    assert seen[-1] == request
                assert not proxy.journal.records
            listening.close()

    run(scenario())


@pytest.mark.parametrize("control", ["", "127.0.0.1:1"], ids=["none", "away"])
def test_a_control_process_that_is_away_gives_a_clear_503(control: str) -> None:
    async def scenario() -> None:
        async with upstream(replies(OK)) as up, relay(up.port, control=control) as proxy:
            client = await proxy.connect()
            got = await client.ask(b"GET /api/sessions HTTP/1.1\r\nHost: x\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 503 ") and b"control process" in got
            other = await proxy.connect()
            await other.send(GET)
            assert await other.read(len(OK)) == OK, "agents do not need it"

    run(scenario())


def test_healthz_answers_head_and_closes_when_asked() -> None:
    async def scenario() -> None:
        async with relay(1) as proxy:
            client = await proxy.connect()
            got = await client.ask(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n")
            assert got.count(b"HTTP/1.1 200 OK") == 2 and got.endswith(b"\r\n\r\nok")
            assert not proxy.journal.records

    run(scenario())


def test_the_worker_ends_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    """The one who started it dies; nobody is left to stop it, and a successor needs its journal."""
    settings = WorkerSettings("127.0.0.1", 0, str(tmp_path / "j"), KEY, {"a": config.Upstream(url="http://x")}, "a")
    (tmp_path / "settings").write_bytes(settings.encode())
    script = f"{sys.executable} -m ocproxy.relay < {tmp_path}/settings & echo $!; read until_killed"
    shell = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert shell.stdin is not None and shell.stdout is not None
    os.kill(int(shell.stdout.readline()), 0)
    assert shell.stdout.readline().startswith("ready ")
    shell.kill()
    shell.wait()
    assert shell.stdout.read() == ""  # to its end: the worker has it open until it ends
    shell.stdout.close()
    shell.stdin.close()


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc and prlimit(2)")


def lowest_free_descriptor(pid: int) -> int:
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return next(number for number in itertools.count() if number not in used)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@LINUX
def test_a_worker_takes_all_descriptors_that_it_may_have(tmp_path: Path) -> None:
    async def scenario() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 256), hard))
        try:
            async with worker(tmp_path / "j", 1) as relaying:
                assert resource.prlimit(relaying.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    run(scenario())


@LINUX
def test_without_descriptors_it_says_so_does_not_spin_and_recovers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with upstream(replies(OK)) as up, worker(tmp_path / "j", up.port) as relaying:
            pid = relaying.process.pid
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            client = await relaying.connect()
            await client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.read_until(b"ok")
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free_descriptor(pid), before[1]))
            got = await client.ask(GET)
            assert got.startswith(b"HTTP/1.1 502 ") and b"file descriptors" in got
            await client.close()
            waiting = [await relaying.connect() for _ in range(3)]  # at most one gets the last descriptor
            began = cpu_seconds(pid)
            await asyncio.sleep(0.5)
            assert cpu_seconds(pid) - began < 0.25, "it spins while nothing can be accepted"
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            for peer in waiting:
                await peer.close()
            client = await relaying.connect()
            await client.send(GET)
            assert await client.read(len(OK)) == OK
        assert [ended.outcome for ended in ends(tmp_path / "j")] == [Outcome.UPSTREAM_UNREACHABLE, Outcome.COMPLETE]

    run(scenario())
