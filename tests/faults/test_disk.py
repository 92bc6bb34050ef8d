"""The journal cannot be written: the disk is full, or the folder may not be written to."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.journals import Tapes, read_tapes
from tests.support.recorder import Recorder
from tests.support.streams import Received, Talk, fetch, fetch_all

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

# Room for what three phases and a few probes leave when all goes well, twice over: the journal (2 MB a phase), the
# messages (SQLite keeps their text twice) and a write-ahead log as large as those. With 16 MB the disk of some runs was
# full again in earnest after the filler had gone.
DISK_MB = 40
STREAMS = 10
# Two or three megabytes a phase: with segments of 1 MB that takes new files.
TALK = Talk(deltas=300, pause=0.002)
SMALL_SEGMENTS = "[journal]\nsegment_mb = 1\n"

_PROBES = 40  # of half a second or more each

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "ocproxy-test", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(filler: Path) -> None:
    """Takes all room there is on the disk."""
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC


def run_phases(recorder: Recorder, trouble: Callable[[], None], cure: Callable[[], None]) -> dict[str, list[Received]]:
    """Streams before, during and after the trouble, through one server, which goes on running."""

    async def phases() -> dict[str, list[Received]]:
        received: dict[str, list[Received]] = {}

        async def play(phase: str) -> None:
            names = [f"{phase}{number}" for number in range(STREAMS)]
            received[phase] = await asyncio.wait_for(fetch_all(recorder.url, names), 30)

        async with TALK.serve() as recorder.upstream:
            await asyncio.to_thread(recorder.start)
            await play("before")
            trouble()
            await play("during")
            await play("late")
            cure()
            await recording_again(recorder)
            await play("after")
        return received

    received = asyncio.run(phases())
    recorder.flush()
    return received


async def recording_again(recorder: Recorder) -> None:
    """The journal tries again after a pause that it chooses: asks until an answer is recorded."""
    for number in range(_PROBES):
        client = await fetch(recorder.url, f"probe{number}")
        tapes = read_tapes(recorder.data)
        if client.whole and [taped.response for taped in tapes.exchanges.get(client.name, [])] == [client.body]:
            return
        await asyncio.sleep(0.2)
    raise AssertionError("nothing is recorded, although the trouble is over")


def assert_recorded(received: list[Received], tapes: Tapes) -> None:
    for client in received:
        assert client.whole, client
        assert [taped.response for taped in tapes.exchanges[client.name]] == [client.body]


def assert_traffic_flowed_and_the_loss_is_told(recorder: Recorder, received: dict[str, list[Received]]) -> None:
    assert [client for clients in received.values() for client in clients if not client.whole] == []
    tapes = read_tapes(recorder.data)
    assert_recorded(received["before"] + received["after"], tapes)
    got = sum(len(client.body) for client in received["during"] + received["late"])
    kept = sum(
        len(taped.response)
        for client in received["during"] + received["late"]
        for taped in tapes.exchanges.get(client.name, [])
    )
    assert kept < got, "the trouble was none: everything was recorded"
    assert sum(gap.bytes for gap in tapes.gaps) >= got - kept, "less is told as lost than is missing"


def test_a_full_disk_stops_no_traffic_and_the_loss_is_told(small_disk: Path) -> None:
    recorder = Recorder(small_disk / "recorder" / "data", upstream="", settings=SMALL_SEGMENTS)
    filler = small_disk / "filler"
    with recorder.serving_later():
        received = run_phases(recorder, lambda: fill(filler), filler.unlink)
        assert_traffic_flowed_and_the_loss_is_told(recorder, received)
        assert "No space left" in recorder.run("doctor", code=None)


def test_with_refuse_a_full_disk_stops_traffic_and_loses_nothing(small_disk: Path) -> None:
    settings = SMALL_SEGMENTS + 'on_full = "refuse"\n'
    recorder = Recorder(small_disk / "recorder" / "data", upstream="", settings=settings)
    filler = small_disk / "filler"
    with recorder.serving_later():
        received = run_phases(recorder, lambda: fill(filler), filler.unlink)
        tapes = read_tapes(recorder.data)
    assert_recorded(received["before"] + received["after"], tapes)
    assert not any(client.whole and client.status == 200 for client in received["late"]), "traffic was not refused"
    for client in received["late"]:
        assert client.status >= 500
        assert json.loads(client.body)["type"] == "error", "a refusal looks like the protocol's own error"
    for client in received["during"]:
        if client.status == 200:
            (taped,) = tapes.exchanges[client.name]
            assert taped.response.startswith(client.body), f"{client.name} got bytes that are not in the journal"


def test_a_folder_that_may_not_be_written_to_stops_no_traffic_and_loses_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "recorder" / "data", upstream="", settings=SMALL_SEGMENTS)
    recorder.before_exec = drop_override
    folder = recorder.data / "journal" / "worker-0"
    said: list[str] = []

    def forbid() -> None:
        folder.chmod(0o500)
        said.append(recorder.run("doctor", code=1))

    with recorder.serving_later():
        received = run_phases(recorder, forbid, lambda: folder.chmod(0o700))
        tapes = read_tapes(recorder.data)
    assert f"{folder} may not be written to" in said[0]
    for clients in received.values():
        assert_recorded(clients, tapes)
    assert (tapes.gaps, tapes.orphans) == ([], 0)


def drop_override() -> None:
    """Let file modes bind root as well: its programs lose the right to pass over them."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "the capability cannot be dropped")
