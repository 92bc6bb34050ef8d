"""PostgreSQL goes away under load, for long: traffic flows, `doctor` tells, and everything arrives afterwards, once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults.extent import LOCKED_SECONDS
from tests.support.postgres import own_server
from tests.support.recorder import Recorder
from tests.support.streams import Received, Talk, fetch_all

STREAMS = 20
DOWN_SECONDS = 2 * LOCKED_SECONDS  # 60 s in the whole run
pytestmark = [pytest.mark.faults, pytest.mark.timeout(180 + DOWN_SECONDS)]


def test_a_postgresql_that_is_down_stops_no_traffic_and_loses_nothing(tmp_path: Path) -> None:
    with own_server() as server:
        secret = server.url().replace("ocproxy@", "ocproxy:hush-hush@")
        recorder = Recorder(tmp_path / "recorder" / "data", upstream="", variables={"OCPROXY_DATABASE_URL": secret})
        said: list[str] = []

        async def traffic(received: list[Received], until: float) -> None:
            while time.monotonic() < until:
                names = [f"n{len(received) + number}" for number in range(STREAMS)]
                received += await asyncio.wait_for(fetch_all(recorder.url, names), 15)
                await asyncio.sleep(0.3)

        async def interrupted() -> list[Received]:
            received: list[Received] = []
            async with Talk(deltas=10, pause=0.01).serve() as recorder.upstream:
                await asyncio.to_thread(recorder.start)
                await traffic(received, time.monotonic() + 1)
                await asyncio.to_thread(server.stop)
                await traffic(received, time.monotonic() + DOWN_SECONDS)
                said.append(await asyncio.to_thread(recorder.run, "doctor", code=None))
                await asyncio.to_thread(server.start)
                await traffic(received, time.monotonic() + 1)
            return received

        with recorder.serving_later():
            received = asyncio.run(interrupted())
            recorder.flush()
        assert [client for client in received if not client.whole] == []
        assert sorted(call["run"] for call in recorder.ask("calls")) == sorted(client.name for client in received)
        assert "postgresql://ocproxy:***@127.0.0.1" in said[0]
        assert "cannot be reached" in said[0], f"doctor does not say that the database is away:\n{said[0]}"
        everything = [*said, recorder.log, recorder.run("doctor", "--json", code=None)]
        everything += [path.read_text("utf-8", "replace") for path in recorder.data.glob("*.json*")]
        assert "hush-hush" not in "".join(everything)
