"""What the control process does beside storing: keeping segments, and keeping a diary. Its life is in tests/e2e."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ocproxy import control, incidents, instance
from ocproxy.config import Config, Journal
from ocproxy.errors import StoreBusy
from ocproxy.exchange import Kind, Position
from ocproxy.incidents import Diary
from ocproxy.ingest.loop import Ingest
from ocproxy.instance import Lock, Running
from ocproxy.journal import JournalReader, JournalWriter
from ocproxy.journal.segments import list_segments
from ocproxy.store.base import open_store
from ocproxy.store.opening import trouble_of
from ocproxy.supervisor import reserve

pytestmark = pytest.mark.anyio

RUNNING = Running(1, "127.0.0.1", 4141, 1, "127.0.0.1", 0, "2026-11-21T10:00:00+00:00", "0.1.0")


def settings(tmp_path: Path, **journal: object) -> Config:
    chosen = msgspec.convert({"segment_mb": 1, **journal}, Journal)
    return Config(data_dir=str(tmp_path / "data"), journal=chosen)


def fill(config: Config, megabytes: int) -> Path:
    """A journal with that many finished segments and a live one."""
    folder = config.journal_path / "worker-0"
    writer = JournalWriter.open(folder, config.journal)
    number = writer.next_exchange()
    for _ in range(megabytes * 8 + 1):
        writer.append(Kind.RESPONSE_BYTES, number, b"the same again and again " * 5600)
        assert writer.commit()
    writer.close()
    return folder


def forms(folder: Path) -> list[str]:
    return ["".join(segment.path.suffixes) for segment in list_segments(folder)]


def test_finished_segments_are_compressed_and_read_the_same(tmp_path: Path) -> None:
    config = settings(tmp_path)
    folder = fill(config, 3)
    with JournalReader(folder) as reader:
        before = list(reader.follow())
    control.keep_journals(config, {}, asyncio.Event())
    assert forms(folder)[:-1] == [".seg.zst"] * (len(forms(folder)) - 1) and forms(folder)[-1] == ".seg"
    with JournalReader(folder) as reader:
        assert list(reader.follow()) == before


def test_they_stay_as_they_are_where_that_was_chosen(tmp_path: Path) -> None:
    config = settings(tmp_path, compress=False)
    folder = fill(config, 3)
    control.keep_journals(config, {}, asyncio.Event())
    assert set(forms(folder)) == {".seg"}


def test_a_segment_is_removed_only_when_the_database_has_it(tmp_path: Path) -> None:
    config = settings(tmp_path, keep_gb=0.000001)
    folder = fill(config, 4)
    numbers = [segment.number for segment in list_segments(folder)]
    with JournalReader(folder) as reader:
        journal = reader.id
    control.keep_journals(config, {}, asyncio.Event())
    assert [segment.number for segment in list_segments(folder)] == numbers, "nothing is in the database yet"
    control.keep_journals(config, {journal: Position(numbers[2], 64)}, asyncio.Event())
    assert [segment.number for segment in list_segments(folder)] == numbers[2:]


async def test_trouble_is_noted_with_its_beginning_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_WATCH_SECONDS", 0.001)
    async with await open_store("memory:control") as store:
        ingest = Ingest(store, tmp_path / "journal")
        watching = asyncio.create_task(control.watch(ingest, Diary(tmp_path)))
        for trouble in ("database is locked", None):
            ingest.trouble = trouble_of(StoreBusy(trouble)) if trouble else None
            async with asyncio.timeout(20):
                while len(incidents.recent(tmp_path)) < (1 if trouble else 2):
                    await asyncio.sleep(0.001)
        watching.cancel()
    assert [incident.what for incident in incidents.recent(tmp_path)] == [
        "the database did not take records: database is locked",
        "the database takes records again",
    ]


def test_it_does_not_store_beside_another_and_says_so(tmp_path: Path) -> None:
    config = settings(tmp_path)
    instance.prepare(config.data_path)
    code = "from ocproxy import control; control._LOCK_SECONDS = 0.2; raise SystemExit(control.main())"
    with Lock.take(config.data_path / instance.INGEST_LOCK) or pytest.fail("the lock was not free"):
        done = subprocess.run(
            (sys.executable, "-c", code),
            input=msgspec.msgpack.encode((RUNNING, config)),
            capture_output=True,
            timeout=30,
        )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"another process has been storing" in done.stderr and b"Traceback" not in done.stderr


def test_an_end_that_the_database_does_not_take_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(self: Ingest, stop: asyncio.Event) -> None:
        raise StoreBusy("the database is locked")

    monkeypatch.setattr(Ingest, "run", refused)
    with reserve("127.0.0.1", 0) as private:
        running = msgspec.structs.replace(RUNNING, control_port=private.getsockname()[1])
        told = io.BytesIO(msgspec.msgpack.encode((running, settings(tmp_path))))
        instance.prepare(tmp_path / "data")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(told))
        assert control.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("ocproxy: the database did not take the end of the journal: the database is locked")
    assert "Traceback" not in said
