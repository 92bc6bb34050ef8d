"""Several replicas on one PostgreSQL: the rows of one ingester that reads all their journals."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ocproxy.errors import StoreBusy
from ocproxy.ingest import turns as turns_module
from ocproxy.ingest.loop import Ingest
from ocproxy.model import Batch, IngestTurn
from ocproxy.store.base import Bell, Store, open_store
from ocproxy.store.postgres import PostgresStore
from tests.support import postgres
from tests.support.conversations import Json, Relay, assistant, result, use, user
from tests.support.stored import rows

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
REPLICAS, JOURNALS = 4, 2
# After which step the database is stopped: in order, at once, and as by a crash, which may cost its last commits.
STOPS = {1: signal.SIGINT, 3: signal.SIGQUIT, 5: signal.SIGKILL}


@pytest.fixture
def url() -> Iterator[str]:
    database = postgres.make_database(migrated=True)
    yield database.url
    postgres.drop_database(database)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[postgres.Server]:
    """One that may be stopped. It loses what it has not written when it is killed, as servers with such settings do."""
    with postgres.own_server(synchronous_commit="off", fsync="on") as server:
        yield server


class Replica:
    """Two relay workers and the ingester beside them."""

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url = root, url
        self.relays = [Relay(root / f"{root.name}-worker-{n}") for n in range(JOURNALS)]
        self._running: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._ingest: Ingest | None = None  # None: the database could not be opened yet

    @property
    def is_cut_off(self) -> bool:
        return self._ingest is None or self._ingest.trouble is not None

    def start(self) -> None:
        self._stop, self._ingest = asyncio.Event(), None
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                async with await open_store(self.url) as store:
                    self._ingest = ingest = Ingest(store, self.root, poll_ms=20, batch_calls=5)
                    try:
                        return await ingest.run(self._stop)
                    finally:
                        ingest._restart()  # closes its files, as the end of a process does
            except StoreBusy:  # as control opens it on and on
                await asyncio.sleep(0.1)

    async def die(self) -> None:
        """Without a word, wherever it is."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self._running = None

    async def end(self) -> None:
        """In order: what its journals hold is stored."""
        assert self._running is not None
        self._stop.set()
        await self._running


@contextmanager
def replicas(tmp_path: Path, url: str) -> Iterator[list[Replica]]:
    with ExitStack() as stack:
        found = [Replica(tmp_path / f"replica-{n}", url) for n in range(REPLICAS)]
        for relay in (relay for replica in found for relay in replica.relays):
            stack.callback(relay.close)
        yield found


async def start(all_: list[Replica]) -> None:
    """All of them, until each knows of the journals of all."""
    for replica in all_:
        replica.start()
    async with await open_store(all_[0].url) as store, asyncio.timeout(60):
        while len(await store.turns()) < REPLICAS * JOURNALS:
            await asyncio.sleep(0.02)


async def every_replica_notices(all_: list[Replica]) -> None:
    """Wait until each has failed to reach the database."""
    async with asyncio.timeout(60):
        while not all(replica.is_cut_off for replica in all_):
            await asyncio.sleep(0.02)


class Agents:
    """Agents at work whose calls a load balancer deals out. Some name their session, some do not; all edit files, fail,
    and are answered with overload now and then, so that links, retries and diffs depend on what was stored before."""

    def __init__(self, count: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._histories: list[list[Json]] = [[user(f"task {n // 2}")] for n in range(count)]
        self._turns = [0] * count

    def call(self, relays: list[Relay]) -> None:
        n = self._random.randrange(len(self._histories))
        relay, history = self._random.choice(relays), self._histories[n]
        session = f"session-{n}" if n % 3 else None
        if self._random.random() < 0.1:
            relay.call(history, None, session=session)
            return
        turn, id = self._turns[n], f"t{n}-{self._turns[n]}"
        self._turns[n] += 1
        path = f"/w/{n}.txt"
        asked, said = [
            (use(id, "Write", file_path=path, content=f"line {turn}\nend\n"), "File created successfully"),
            (
                use(id, "Edit", file_path=path, old_string=f"line {turn - 1}", new_string=f"LINE {turn}"),
                f"The file {path} has been updated successfully.",
            ),
            (use(id, "Bash", command=f"step {turn}"), "ok"),
        ][turn % 3]
        reply = assistant(f"turn {turn}", asked)
        relay.call(history, reply, session=session)
        history += [reply, user(result(id, said))]


@asynccontextmanager
async def of_one_ingester(tmp_path: Path, url: str) -> AsyncIterator[Store]:
    """A store that one ingester filled from the journals of all replicas."""
    joined = tmp_path / "joined"
    if not joined.exists():
        joined.mkdir()
        for folder in tmp_path.glob("replica-*/*-worker-*"):
            shutil.copytree(folder, joined / folder.name)
    async with await open_store(url) as store:
        await Ingest(store, joined).catch_up()
        yield store


async def expected_of(tmp_path: Path) -> dict[str, Any]:
    async with of_one_ingester(tmp_path, f"sqlite:///{tmp_path / 'one.db'}") as store:
        return await rows(store)


async def test_replicas_that_die_and_come_back_store_what_one_ingester_would(
    tmp_path: Path, server: postgres.Server
) -> None:
    agents, dice = Agents(12, seed=4), random.Random(4)
    with replicas(tmp_path, server.url()) as all_:
        relays = [relay for replica in all_ for relay in replica.relays]
        await start(all_)
        for step in range(8):
            for _ in range(15):
                agents.call(relays)
                await asyncio.sleep(0.002)
            victim = dice.choice(all_)
            await victim.die()
            if step in STOPS:
                await asyncio.to_thread(server.stop, STOPS[step])
            for _ in range(5):
                agents.call(relays)
            victim.start()
            if step in STOPS:
                await every_replica_notices(all_)
                await asyncio.to_thread(server.start)
        await asyncio.gather(*(replica.end() for replica in all_))
        async with await open_store(server.url()) as store:
            found = await rows(store)
            turns = await store.turns()
    expected = await expected_of(tmp_path)
    assert len(expected["calls"]) == 160
    assert len(expected["sessions"]) > 8
    assert found == expected
    assert all(turn.is_away and not turn.is_waiting for turn in turns.values())
    assert len(turns) == REPLICAS * JOURNALS


async def test_who_comes_with_old_calls_is_waited_for(tmp_path: Path, url: str) -> None:
    """A replica was away with its agents; the others go on with what ended after that only when it has caught up."""
    agents = Agents(4, seed=1)
    with replicas(tmp_path, url) as all_:
        await start(all_)
        await all_[0].die()
        for _ in range(60):
            agents.call([relay for replica in all_ for relay in replica.relays])
        all_[0].start()
        await asyncio.gather(*(replica.end() for replica in all_))
        async with await open_store(url) as store:
            found = await rows(store)
    assert found == await expected_of(tmp_path)


async def test_one_that_is_never_heard_of_again_is_left_behind(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "_PATIENCE_SECONDS", 0.5)
    async with await open_store(url) as store:
        await store.commit(Batch(turns=[IngestTurn("of a dead machine", 1, 1)]))
        relay = Relay(tmp_path / "journal" / "worker-0")
        relay.call([user("hi")], assistant("hello"), session="one")
        relay.close()
        assert await Ingest(store, tmp_path / "journal").catch_up() == 1
        assert (await store.turns())["of a dead machine"].is_away


async def test_a_clock_that_is_far_behind_holds_nobody_up(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "_SKEW_SECONDS", 0.3)
    async with await open_store(url) as store, asyncio.timeout(20), asyncio.TaskGroup() as tasks:

        async def beat() -> None:
            for number in range(1_000_000):
                await store.commit(Batch(turns=[IngestTurn("of a wrong clock", 1, number)]))
                await asyncio.sleep(0.05)

        beating = tasks.create_task(beat())
        relay = Relay(tmp_path / "journal" / "worker-0")
        relay.call([user("hi")], assistant("hello"), session="one")
        relay.close()
        assert await Ingest(store, tmp_path / "journal").catch_up() == 1
        beating.cancel()


async def test_two_that_store_at_once_out_of_turn_lose_and_double_nothing(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for nobody derives from what may change meanwhile: the commit is refused, and made again."""
    monkeypatch.setattr(turns_module.Turns, "until", lambda self, journal: float("inf"))
    agents = Agents(6, seed=2)
    with replicas(tmp_path, url) as all_:
        await start(all_)
        for _ in range(100):
            agents.call([relay for replica in all_ for relay in replica.relays])
            await asyncio.sleep(0.002)
        await asyncio.gather(*(replica.end() for replica in all_))
        async with await open_store(url) as store:
            found = await rows(store)
    expected = await expected_of(tmp_path)
    assert {call.id for call in found["calls"]} == {call.id for call in expected["calls"]}
    for session in {message.session_id for message in found["messages"]}:
        seqs = [message.seq for message in found["messages"] if message.session_id == session]
        assert seqs == list(range(len(seqs)))


async def wait_for_the_other(url: str, tmp_path: Path) -> tuple[Ingest, Store, asyncio.Task[int]]:
    """A replica whose one call waits for a journal of another; the other's store."""
    mine, other = await open_store(url), await open_store(url)
    await other.commit(Batch(turns=[IngestTurn("of another", 1, time.time_ns())]))
    relay = Relay(tmp_path / "journal" / "worker-0")
    relay.call([user("hi")], assistant("hello"), session="one")
    relay.close()
    ingest = Ingest(mine, tmp_path / "journal")
    return ingest, other, asyncio.create_task(ingest.catch_up())


async def test_a_call_that_waits_is_stored_when_the_database_rings(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "_RUNG_SECONDS", 300)  # nothing but a ring ends the wait
    ingest, other, storing = await wait_for_the_other(url, tmp_path)
    async with ingest._store, other, asyncio.timeout(60):
        while not ingest._turns._hears:
            await asyncio.sleep(0.01)
        assert not storing.done()
        await other.commit(Batch(turns=[IngestTurn("of another", time.time_ns(), time.time_ns())]))
        assert await storing == 1


async def test_a_call_that_waits_is_stored_without_a_bell_too(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def deaf(self: PostgresStore) -> AsyncIterator[Bell]:
        raise StoreBusy("the proxy before the database passes no notifications")
        yield

    monkeypatch.setattr(PostgresStore, "turn_bell", deaf)
    ingest, other, storing = await wait_for_the_other(url, tmp_path)
    async with ingest._store, other, asyncio.timeout(60):
        await other.commit(Batch(turns=[IngestTurn("of another", time.time_ns(), time.time_ns())]))
        assert await storing == 1


async def test_who_can_promise_what_another_waits_for_says_so_at_once(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "_BEAT_SECONDS", 300)
    monkeypatch.setattr(turns_module, "_ALONE_SECONDS", 300)
    relay = Relay(tmp_path / "journal" / "worker-0")
    stop = asyncio.Event()
    async with await open_store(url) as mine, await open_store(url) as other, asyncio.timeout(60):
        running = asyncio.create_task(Ingest(mine, tmp_path / "journal", poll_ms=10).run(stop))
        while relay.writer.id not in (found := await other.turns()):
            await asyncio.sleep(0.01)
        for _ in range(2):
            waits_for = time.time_ns()
            beat = time.time_ns()
            await other.commit(Batch(turns=[IngestTurn("of another", waits_for - 1, beat, is_waiting=True)]))
            while (found := await other.turns())[relay.writer.id].told_ns < waits_for:
                await asyncio.sleep(0.01)
        stop.set()
        await running
    relay.close()
    assert found["of another"].is_waiting
