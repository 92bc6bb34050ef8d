"""What the ingest holds has a bound, and what it lets go of is not lost."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.errors import JournalError
from ocproxy.exchange import Ended, Exchange, Kind, Opened, Outcome, Position, Record
from ocproxy.ingest import assemble, recorder
from ocproxy.ingest import loop as loop_module
from ocproxy.ingest.assemble import Assembler, Budget, FoundGap
from ocproxy.ingest.loop import Ingest
from ocproxy.ingest.recorder import Recorder
from ocproxy.store.base import Store, open_store
from tests.support.conversations import Relay, assistant, user
from tests.support.engines import sqlite_file
from tests.support.stored import rows

pytestmark = pytest.mark.anyio

LIFE = 3 << 32
MIB = 1 << 20
HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n"
OPENED = msgspec.msgpack.encode(Opened(HEAD, "/v1/messages", "anthropic", "http://u", "c"))
ENDED = msgspec.msgpack.encode(Ended(Outcome.COMPLETE))


class Tape:
    """Records at positions 100 apart, which can be read again."""

    def __init__(self) -> None:
        self.records: list[tuple[Position, Record]] = []
        self.rereads = 0
        self.fails = False

    def add(self, kind: int, number: int, payload: bytes) -> None:
        clock = len(self.records) + 1
        self.records.append((Position(3, 100 * clock), Record(kind, number, clock, clock, payload)))

    def reread(self, start: Position) -> Iterator[tuple[Position, Record]]:
        self.rereads += 1
        if self.fails:
            raise JournalError("the disk is away")
        return iter([(place, record) for place, record in self.records if place > start])


def interleaved(count: int, pieces: int = 5) -> Tape:
    """So many exchanges, all of them open at once; the last one never ends."""
    tape = Tape()
    for number in range(1, count + 1):
        tape.add(Kind.OPENED, LIFE | number, OPENED)
    for piece in range(pieces):
        for number in range(1, count + 1):
            tape.add(Kind.REQUEST_BYTES, LIFE | number, b"%d.%d " % (number, piece) * 10)
            tape.add(Kind.RESPONSE_BYTES, LIFE | number, b"%d:%d " % (number, piece) * number)
    for number in range(1, count):
        tape.add(Kind.ENDED, LIFE | number, ENDED)
    tape.add(Kind.BEGAN, 4 << 32, b"")
    return tape


def told(tape: Tape, budget: Budget) -> list[Exchange | FoundGap]:
    assembler = Assembler("j" * 32, Position(3, 64), tape.reread, budget)
    done: list[Exchange | FoundGap] = []
    for position, record in tape.records:
        done += assembler.feed(position, record)
        assert budget.held <= budget.most
    assert budget.held == 0, "nothing is open any more"
    return done


def test_exchanges_that_are_too_much_together_come_out_whole_nevertheless() -> None:
    tape = interleaved(30)
    whole = told(tape, Budget(1_000_000))
    assert len(whole) == 30 and tape.rereads == 0
    assert told(tape, Budget(5_000)) == whole
    assert 0 < tape.rereads <= 30


def test_several_journals_share_the_bound() -> None:
    tape, budget = interleaved(10), Budget(5_000)
    one, two = (Assembler(id * 32, Position(3, 64), tape.reread, budget) for id in "ab")
    for position, record in tape.records[:110]:
        one.feed(position, record)
        two.feed(position, record)
        assert budget.held <= budget.most
    assert budget.held > 0
    one.release()
    two.release()
    assert budget.held == 0


def test_a_record_is_not_taken_while_what_it_completes_cannot_be_read_again() -> None:
    tape, done = interleaved(3), []
    assembler = Assembler("j" * 32, Position(3, 64), tape.reread, Budget(0))
    for position, record in tape.records:
        before = assembler.position
        tape.fails = True
        if record.kind in (Kind.ENDED, Kind.BEGAN):
            with pytest.raises(JournalError):
                assembler.feed(position, record)
            assert assembler.position == before
        tape.fails = False
        done += assembler.feed(position, record)
    assert done == told(interleaved(3), Budget(1_000_000))


async def ingested(root: Path, database: Path, **options: Any) -> dict[str, Any]:
    async with await open_store(sqlite_file(database)) as store:
        await Ingest(store, root, **options).catch_up()
        found = await rows(store)
        assert found["messages"] and all(call.session_id for call in found["calls"])
        return found


async def test_many_open_exchanges_take_no_more_memory_than_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "journal"
    relay = Relay(root / "worker-0")
    opened = [relay.begin([user(f"{n} " + "x" * MIB)], session=f"s{n}") for n in range(48)]
    for number in opened:
        relay.finish(number, assistant(f"answer {number}"))
    relay.close()
    without = await ingested(root, tmp_path / "without.db")
    monkeypatch.setattr(assemble, "MOST_HELD", 4 * MIB)
    monkeypatch.setattr(loop_module, "_BYTES_AT_ONCE", 2 * MIB)
    monkeypatch.setattr(recorder, "_BYTES_HELD", 4 * MIB)
    async with await open_store(sqlite_file(tmp_path / "bounded.db")) as store:
        tracemalloc.start()
        try:
            await Ingest(store, root).catch_up()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert await rows(store) == without
    assert peak < 25 * MIB, "the requests alone are 48 MiB: as bytes, as JSON and as rows"


async def test_sessions_that_are_too_large_together_are_let_go_and_go_on_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "journal"
    relay = Relay(root / "worker-0")
    for turn in range(4):
        for session in range(6):
            history = [user("begin " + "x" * 10_000)]
            for earlier in range(turn):
                history += [assistant(f"answer {earlier}"), user(f"and {earlier} " + "y" * 10_000)]
            relay.call(history, assistant(f"answer {turn}"), session=f"s{session}")
    relay.close()
    without = await ingested(root, tmp_path / "without.db", batch_calls=2)
    monkeypatch.setattr(recorder, "_BYTES_HELD", 60_000)
    most: list[int] = []
    committed = Recorder.committed

    def watched(self: Recorder) -> None:
        committed(self)
        most.append(sum(session.size for session in self._held.values()))

    monkeypatch.setattr(Recorder, "committed", watched)
    assert await ingested(root, tmp_path / "bounded.db", batch_calls=2) == without
    assert 30_000 < max(most) <= 60_000


async def test_the_largest_session_is_held_however_large_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_BYTES_HELD", 10)
    relay = Relay(tmp_path / "journal" / "worker-0")
    async with await open_store(sqlite_file(tmp_path / "a.db")) as store:
        ingest = Ingest(store, tmp_path / "journal")
        asked: list[str] = []
        messages = store.messages

        async def watched(id: str) -> Any:
            asked.append(id)
            return await messages(id)

        monkeypatch.setattr(store, "messages", watched)
        stop = asyncio.Event()
        running = asyncio.create_task(ingest.run(stop))
        history = [user("hello")]
        for turn in range(3):
            relay.call(history, assistant(f"answer {turn}"), session="one")
            history += [assistant(f"answer {turn}"), user("go on")]
            await reached(store, turn + 1)
        stop.set()
        await running
    relay.close()
    assert asked == []


async def reached(store: Store, calls: int) -> None:
    async with asyncio.timeout(20):
        while len(await store.calls()) < calls:
            await asyncio.sleep(0.02)
