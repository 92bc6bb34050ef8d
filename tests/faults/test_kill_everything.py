"""`kill -9` of everything at random instants: what a client got is in the journal, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.extent import ROUNDS, SEED, STREAMS
from tests.support.journals import Taped, Tapes, read_tapes
from tests.support.recorder import Recorder
from tests.support.streams import Received, Talk, fetch_all

# A round takes about 3 s on two cores, most of it starting and stopping processes.
pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 + 15 * ROUNDS)]

# Long enough that no stream of a round ends by itself before the latest kill.
TALK = Talk(deltas=400, pause=0.05)
LATEST_KILL_SECONDS = 2.0


async def interrupted(recorder: Recorder, names: list[str], after: float) -> list[Received]:
    """Streams `names` through a fresh server and kills it `after` seconds after the first request."""
    await asyncio.to_thread(recorder.start)
    streams = asyncio.create_task(fetch_all(recorder.url, names))
    await asyncio.sleep(after)
    recorder.kill()
    return await streams


def assert_all_is_in_the_journal(received: list[Received], tapes: Tapes) -> None:
    for client in received:
        exchanges = tapes.exchanges.get(client.name, [])
        if not exchanges:
            assert not client.head, f"{client.name} got an answer, and the journal has no exchange"
            continue
        (taped,) = exchanges
        assert taped.response.startswith(client.body), (
            f"{client.name} got {len(client.body)} bytes, {len(taped.response)} are in the journal"
        )
        if client.head:
            assert taped.heads == [client.head]


def test_after_every_kill_the_journal_has_what_the_clients_got(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    recorder = Recorder(tmp_path / "recorder" / "data", upstream="")

    async def rounds() -> list[Received]:
        received: list[Received] = []
        async with TALK.serve() as recorder.upstream:
            for number in range(ROUNDS):
                names = [f"r{number}s{stream}" for stream in range(STREAMS)]
                received += await interrupted(recorder, names, chance.uniform(0, LATEST_KILL_SECONDS))
                assert_all_is_in_the_journal(received[-STREAMS:], read_tapes(recorder.data))
        return received

    with recorder.serving_later():
        received = asyncio.run(rounds())
    assert sum(bool(client.body) for client in received) > len(received) / 2, "most streams got nothing to compare"

    recorder.start()
    recorder.flush()
    recorder.stop()
    tapes = read_tapes(recorder.data)
    assert_all_is_in_the_journal(received, tapes)
    assert_rows_are_complete(recorder, tapes)
    assert_a_rebuild_changes_nothing(recorder)


def calls_of(recorder: Recorder) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = recorder.ask("calls")
    return calls


def sessions_of(recorder: Recorder) -> list[dict[str, Any]]:
    """Without their status: an agent is active for some minutes only."""
    return [{**session, "status": None} for session in recorder.ask("sessions")]


def assert_rows_are_complete(recorder: Recorder, tapes: Tapes) -> None:
    """One call for each exchange in the journal, and each reply that began is a message of its session."""
    calls = calls_of(recorder)
    assert Counter(call["run"] for call in calls) == {name: len(found) for name, found in tapes.exchanges.items()}
    assert len({call["id"] for call in calls}) == tapes.count
    assert {call["outcome"] for call in calls} <= {"complete", "recorder_died", "client_disconnected"}
    sessions = {session["id"]: session for session in recorder.ask("sessions")}
    for call in calls:
        (taped,) = tapes.exchanges[call["run"]]
        assert call["response_bytes"] == len(taped.response), call
        if asks_completely(taped):
            session = sessions.pop(call["session_id"])
            assert session["messages"] == 1 + begins_to_speak(taped.response), (call, session)
    assert not sessions, "sessions that belong to no call, or two calls in one"


def asks_completely(taped: Taped) -> bool:
    """Whether the request body is all there: the journal may end inside it."""
    length = re.search(rb"Content-Length: (\d+)", taped.opened.head)
    return length is not None and len(taped.request) == int(length[1])


def begins_to_speak(response: bytes) -> bool:
    """Whether the event with the model's first words arrived whole."""
    _, _, rest = response.partition(b'"text_delta"')
    return b"\n\n" in rest


def assert_a_rebuild_changes_nothing(recorder: Recorder) -> None:
    before = (calls_of(recorder), sessions_of(recorder))
    # Thousands of sessions of one call each; fifty a second is the least that a busy machine does.
    recorder.run("rebuild", seconds=60 + ROUNDS * STREAMS / 50)
    assert (calls_of(recorder), sessions_of(recorder)) == before
