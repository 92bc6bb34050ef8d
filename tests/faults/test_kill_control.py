"""`kill -9` of the control process alone, again and again: no stream notices, and every row arrives in the end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.extent import KILLS, SEED, STREAMS
from tests.support.journals import read_tapes
from tests.support.recorder import Recorder
from tests.support.streams import Received, Talk, fetch_all

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 + 5 * KILLS)]


async def kill_control(recorder: Recorder, chance: random.Random) -> int:
    """Kills whatever control process there is, at random moments. Returns how many it got."""
    killed = 0
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.1, 0.9))
        for pid in recorder.processes("ocproxy.control"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def test_no_stream_notices_the_death_of_the_control_process(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "recorder" / "data", upstream="")
    names = [f"s{number}" for number in range(STREAMS)]

    async def both() -> tuple[list[Received], int]:
        async with Talk(deltas=20 * KILLS, pause=0.025).serve() as recorder.upstream:
            await asyncio.to_thread(recorder.start)
            streams = asyncio.create_task(fetch_all(recorder.url, names))
            killed = await kill_control(recorder, random.Random(SEED))
            return await streams, killed

    with recorder.serving_later():
        received, killed = asyncio.run(both())
        assert killed > KILLS // 3, "the control process was hardly ever there to be killed"
        assert [client for client in received if not client.whole] == []
        recorder.flush()
    tapes = read_tapes(recorder.data)
    assert {name: [taped.response for taped in found] for name, found in tapes.exchanges.items()} == {
        client.name: [client.body] for client in received
    }
    calls = recorder.ask("calls")
    assert sorted(call["run"] for call in calls) == sorted(names)
    assert {call["outcome"] for call in calls} == {"complete"}
