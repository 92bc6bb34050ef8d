"""Durability: who waits is served, together where possible, and never told what is not true."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ocproxy.errors import JournalError, JournalFull
from ocproxy.exchange import Kind
from ocproxy.journal import JournalWriter
from ocproxy.journal import syncing as module
from tests.support.segments import SETTINGS, gaps, payloads, plain, read


class Platter:
    """Stands in for fdatasync: says what was synced, can be held up and can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.broken = False
        self.free = threading.Event()
        self.free.set()
        monkeypatch.setattr(module, "_fdatasync", self)

    def has(self, size: int) -> bool:
        return size in self.sizes

    def __call__(self, descriptor: int) -> None:
        assert self.free.wait(20)
        self.threads.add(threading.get_ident())
        self.sizes.append(os.fstat(descriptor).st_size)
        if self.broken:
            raise OSError(5, "Input/output error")


@pytest.fixture
def platter(monkeypatch: pytest.MonkeyPatch) -> Platter:
    return Platter(monkeypatch)


def put(writer: JournalWriter, payload: bytes) -> None:
    writer.append(Kind.OPENED, 1, payload)
    assert writer.commit()


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.005)


def test_what_was_committed_is_synced_in_a_thread_before_the_wait_ends(tmp_path: Path, platter: Platter) -> None:
    async def live() -> None:
        writer = JournalWriter.open(tmp_path, SETTINGS)
        put(writer, b"one")
        await writer.sync()
        assert platter.sizes[-1] == plain(tmp_path, 1).stat().st_size
        assert threading.get_ident() not in platter.threads
        before = len(platter.sizes)
        await writer.sync()
        assert len(platter.sizes) == before, "nothing new, nothing to do"
        writer.close()

    asyncio.run(live())


def test_all_who_wait_during_a_sync_share_the_next_one(tmp_path: Path, platter: Platter) -> None:
    async def live() -> None:
        writer = JournalWriter.open(tmp_path, SETTINGS)
        platter.free.clear()
        put(writer, b"first")
        first = writer.sync()
        same = writer.sync()
        waiting = []
        for number in range(50):
            put(writer, b"%d" % number)
            waiting.append(writer.sync())
        assert not any(future.done() for future in [first, same, *waiting])
        platter.free.set()
        await asyncio.gather(first, same, *waiting)
        assert len(platter.sizes) == 2
        writer.close()

    asyncio.run(live())


def test_who_gives_up_waiting_takes_nobody_along(tmp_path: Path, platter: Platter) -> None:
    async def live() -> None:
        writer = JournalWriter.open(tmp_path, SETTINGS)
        platter.free.clear()
        put(writer, b"one")
        one, two = writer.sync(), writer.sync()
        one.cancel()
        platter.free.set()
        await two
        writer.close()

    asyncio.run(live())


def test_without_anybody_waiting_it_is_synced_within_a_second(tmp_path: Path, platter: Platter) -> None:
    async def live() -> None:
        loop = asyncio.get_running_loop()
        writer = JournalWriter.open(tmp_path, SETTINGS)
        await writer.sync()
        for payload in (b"one", b"two"):
            put(writer, payload)
            size, began = plain(tmp_path, 1).stat().st_size, loop.time()
            await asyncio.wait_for(until(partial(platter.has, size)), 20)
            assert 0.4 < loop.time() - began
        writer.close()

    asyncio.run(live())
    assert module.SYNC_SECONDS <= 0.5


def test_a_writer_without_a_loop_syncs_too(tmp_path: Path, platter: Platter, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    monkeypatch.setattr(module, "SYNC_SECONDS", 0.0)
    put(writer, b"one")
    assert platter.sizes == [plain(tmp_path, 1).stat().st_size]
    writer.close()


def test_a_failed_sync_is_told_to_all_who_wait_and_in_the_journal(tmp_path: Path, platter: Platter) -> None:
    async def live() -> None:
        writer = JournalWriter.open(tmp_path, SETTINGS)
        put(writer, b"one")
        await writer.sync()
        platter.broken = True
        platter.free.clear()
        put(writer, b"two")
        one = writer.sync()
        put(writer, b"three")
        two = writer.sync()
        platter.free.set()
        for future in (one, two):
            with pytest.raises(JournalError, match="could not be synced.*Input/output error"):
                await future
        platter.broken = False
        with pytest.raises(JournalError, match="could not be synced"):
            await writer.sync()  # the kernel would say yes now, and it would mean nothing
        put(writer, b"four")
        await writer.sync()
        assert not writer.full
        writer.close()

    asyncio.run(live())
    found = read(tmp_path)
    assert payloads(found) == [b"one", b"two", b"three", b"four"]
    assert ["could not be synced" in gap.reason for gap in gaps(found)] == [True]
    assert found[-1][0].segment == 2


def test_a_full_writer_promises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def live() -> None:
        writer = JournalWriter.open(tmp_path, SETTINGS)
        real = os.writev
        monkeypatch.setattr(os, "writev", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        writer.append(Kind.OPENED, 1, b"one")
        assert not writer.commit()
        with pytest.raises(JournalFull, match="No space left"):
            await writer.sync()
        monkeypatch.setattr(os, "writev", real)
        await asyncio.wait_for(until(lambda: not writer.full), 20)  # the timer tries, nobody commits
        assert len(gaps(read(tmp_path))) == 1
        writer.close()

    asyncio.run(live())


def test_a_sealed_segment_is_synced_before_anybody_is_told_so(
    tmp_path: Path, platter: Platter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocproxy.journal.writer.MIB", 200)

    async def live() -> None:
        writer = JournalWriter.open(tmp_path, SETTINGS)
        for number in range(300):
            put(writer, b"%0300d" % number)
        await writer.sync()
        sizes = {path.stat().st_size for path in tmp_path.glob("*.seg")}
        assert len(list(tmp_path.glob("*.seg"))) > 5 and sizes <= set(platter.sizes)
        writer.close()

    asyncio.run(live())


def test_a_segment_that_was_sealed_and_removed_during_its_sync_is_no_trouble(
    tmp_path: Path, platter: Platter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def live() -> None:
        writer = JournalWriter.open(tmp_path, SETTINGS)
        platter.free.clear()
        put(writer, b"one")
        waiting = writer.sync()
        monkeypatch.setattr(writer, "_limit", 0)
        put(writer, b"two")
        plain(tmp_path, 1).unlink()
        platter.free.set()
        await waiting
        await writer.sync()
        writer.close()

    asyncio.run(live())
    assert payloads(read(tmp_path)) == [b"two"] and gaps(read(tmp_path)) == []


def test_closing_syncs_serves_who_waits_and_frees_the_files(tmp_path: Path, platter: Platter) -> None:
    async def live() -> None:
        before = len(os.listdir("/dev/fd"))
        writer = JournalWriter.open(tmp_path, SETTINGS)
        put(writer, b"one")
        one = writer.sync()
        put(writer, b"two")
        two = writer.sync()
        writer.close()
        await asyncio.gather(one, two)
        assert platter.sizes[-1] == plain(tmp_path, 1).stat().st_size
        assert len(os.listdir("/dev/fd")) == before

    asyncio.run(live())


def test_closing_says_when_the_last_sync_failed(tmp_path: Path, platter: Platter) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    platter.broken = True
    with pytest.raises(JournalError, match="could not be synced"):
        writer.close()
