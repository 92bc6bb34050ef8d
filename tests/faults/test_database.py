"""The database is locked for long: traffic flows, `doctor` tells, and everything arrives afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.extent import LOCKED_SECONDS
from tests.support.recorder import Recorder
from tests.support.streams import Received, Talk, fetch_all

STREAMS = 20
pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 + LOCKED_SECONDS)]


def test_a_locked_database_stops_no_traffic_and_loses_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "recorder" / "data", upstream="")
    said: list[str] = []

    async def traffic(until: float) -> list[Received]:
        received: list[Received] = []
        while time.monotonic() < until:
            names = [f"n{len(received) + number}" for number in range(STREAMS)]
            received += await asyncio.wait_for(fetch_all(recorder.url, names), 15)
            await asyncio.sleep(1)
        return received

    async def locked() -> list[Received]:
        async with Talk(deltas=10, pause=0.01).serve() as recorder.upstream:
            await asyncio.to_thread(recorder.start)
            with closing(sqlite3.connect(recorder.data / "ocproxy.db", isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                received = await traffic(time.monotonic() + LOCKED_SECONDS)
                said.append(await asyncio.to_thread(recorder.run, "doctor", code=None))
                other.execute("ROLLBACK")
            return received

    with recorder.serving_later():
        received = asyncio.run(locked())
        recorder.flush()
    assert [client for client in received if not client.whole] == []
    assert sorted(call["run"] for call in recorder.ask("calls")) == sorted(client.name for client in received)
    assert "locked" in said[0], f"doctor does not say that the database is locked:\n{said[0]}"
