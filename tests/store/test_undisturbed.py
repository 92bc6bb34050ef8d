"""Cancelling does not tear a statement apart: whoever cancels gets control when the database's thread is done."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from ocproxy.errors import StoreBusy
from ocproxy.store.base import open_store
from ocproxy.store.undisturbed import undisturbed

pytestmark = pytest.mark.anyio


async def test_the_result_and_the_failure_are_those_of_the_work() -> None:
    async def work(fails: bool) -> int:
        await asyncio.sleep(0)
        if fails:
            raise StoreBusy("locked")
        return 7

    assert await undisturbed(work(False)) == 7
    with pytest.raises(StoreBusy):
        await undisturbed(work(True))


async def test_being_cancelled_waits_for_the_work_and_is_not_forgotten() -> None:
    begun, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go.wait()
        done.set()
        raise StoreBusy("this failure has nobody to be told to")

    waiting = asyncio.create_task(undisturbed(work()))
    await begun.wait()
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done.is_set()


async def test_no_thread_of_the_database_is_left_behind_whenever_it_is_cancelled(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    async def ask(url: str) -> None:
        async with await open_store(url) as store:
            while True:
                await store.summaries()

    for step in range(12):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(step * 0.02):
                await ask(f"sqlite:///{tmp_path / f'{step}.db'}")
        for thread in set(threading.enumerate()) - before:
            if not thread.name.startswith("asyncio_"):  # those are kept for the next work, and are at none now
                thread.join(2)
                assert not thread.is_alive()
