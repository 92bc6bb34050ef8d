"""What taking turns costs: two replicas whose calls alternate, on one PostgreSQL, against one that has both journals.

    python bench/replicas.py [--calls 400] [--sessions 8]

Writes two journals whose calls end in turns (the worst case: each commit holds one call, and hands over), has them
ingested by one process and by two, each into a fresh database of a real PostgreSQL that keeps what it commits (fsync
on), and prints calls/s. The two processes start together when both are connected. No network.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ocproxy.ingest.loop import Ingest  # noqa: E402  # beside the tests, whose server is used
from ocproxy.journal import JournalReader  # noqa: E402
from ocproxy.model import Batch, IngestTurn  # noqa: E402
from ocproxy.store import migrations  # noqa: E402
from ocproxy.store.base import open_store  # noqa: E402
from tests.support.conversations import Json, Relay, assistant, result, use, user  # noqa: E402
from tests.support.postgres import Server, own_server  # noqa: E402


def record(root: Path, calls: int, sessions: int) -> None:
    """Each session's calls go to one replica and the other in turns, as a load balancer deals them out."""
    relays = [Relay(root / name / f"{name}-0") for name in ("left", "right")]
    histories: list[list[Json]] = [[user(f"task {n}")] for n in range(sessions)]
    for number in range(calls):
        history, id = histories[number % sessions], f"toolu_{number:020}"
        reply = assistant(f"step {number}", use(id, "Write", file_path=f"/w/{number}.txt", content=f"line {number}\n"))
        relays[number % 2].call(history, reply, session=f"session-{number % sessions}")
        history += [reply, user(result(id, "File created successfully"))]
    for relay in relays:
        relay.close()


async def ingest(root: Path, url: str) -> None:
    """One replica: connected, told to go, done."""
    async with await open_store(url) as store:
        follower = Ingest(store, root)
        await store.turns()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await follower.run(_stopped())


def _stopped() -> asyncio.Event:
    stop = asyncio.Event()
    stop.set()  # what is there, and then the end
    return stop


def measure(url: str, *roots: Path) -> float:
    """Seconds until all of them are done."""
    children = [
        subprocess.Popen(
            [sys.executable, __file__, "--ingest", str(root), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for root in roots
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    began = time.perf_counter()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.wait() for child in children] == [0] * len(children)
    return time.perf_counter() - began


def fresh(server: Server, name: str) -> str:
    subprocess.run([*_psql(server), f"CREATE DATABASE {name}"], check=True, capture_output=True)
    migrations.upgrade(server.url(name))
    return server.url(name)


def _psql(server: Server) -> list[str]:
    code = (
        "import asyncio, asyncpg, sys\n"
        "async def run():\n"
        "    c = await asyncpg.connect(sys.argv[1]); await c.execute(sys.argv[2]); await c.close()\n"
        "asyncio.run(run())"
    )
    return [sys.executable, "-c", code, server.url()]


async def announce(url: str, folders: list[Path]) -> None:
    """Let the replicas know of each other before the first call: who comes first would store alone."""
    turns = []
    for folder in folders:
        with JournalReader(folder) as reader:
            turns.append(IngestTurn(reader.id, 0, time.time_ns()))
    async with await open_store(url) as store:
        await store.commit(Batch(turns=turns))


async def count(url: str) -> int:
    async with await open_store(url) as store:
        return len(await store.calls())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--ingest", nargs=2, metavar=("ROOT", "URL"))
    chosen = parser.parse_args()
    if chosen.ingest:
        asyncio.run(ingest(Path(chosen.ingest[0]), chosen.ingest[1]))
        return
    durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with tempfile.TemporaryDirectory() as place, own_server(**durable) as server:
        root = Path(place)
        record(root, chosen.calls, chosen.sessions)
        journals, joined = list(root.glob("*/*-0")), root / "joined"
        joined.mkdir()
        for folder in journals:
            (joined / folder.name).symlink_to(folder)
        rows = [("one ingester", (joined,)), ("two replicas in turns", (root / "left", root / "right"))]
        for number, (name, roots) in enumerate(rows):
            url = fresh(server, f"bench_{number}")
            asyncio.run(announce(url, journals))
            seconds = measure(url, *roots)
            found = asyncio.run(count(url))
            assert found == chosen.calls, f"{found} of {chosen.calls} calls"
            print(f"{name:<24} {seconds:6.2f} s  {chosen.calls / seconds:7.1f} calls/s")


if __name__ == "__main__":
    main()
