"""Doctor and flush where something is broken: keys, torn journals, newer databases, processes that hang."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import sqlalchemy as sa

from ocproxy import instance, status
from ocproxy.cli import app
from ocproxy.config import Config, Journal
from ocproxy.errors import NotFound, ServerError, StoreError
from ocproxy.exchange import Ended, Kind, Opened, Outcome
from ocproxy.instance import Lock, Running
from ocproxy.journal import JournalWriter
from ocproxy.service import answers
from ocproxy.service.doctor import ask_server, examine
from ocproxy.service.flush import flush
from ocproxy.service.rebuild import rebuild
from ocproxy.store import sqlite
from ocproxy.store.base import backend_of

pytestmark = pytest.mark.anyio

OPENED = Opened(head=b"GET / HTTP/1.1\r\n\r\n", target="/", upstream="", upstream_url="http://x", client="127.0.0.1:1")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data_dir=str(tmp_path / "data"), journal=Journal(segment_mb=1))


def open_writer(config: Config) -> JournalWriter:
    """A writer that has recorded one call."""
    instance.prepare(config.data_path)
    writer = JournalWriter.open(config.journal_path / "worker-0", config.journal)
    number = writer.next_exchange()
    writer.append(Kind.OPENED, number, msgspec.msgpack.encode(OPENED))
    writer.append(Kind.ENDED, number, msgspec.msgpack.encode(Ended(Outcome.COMPLETE)))
    assert writer.commit()
    return writer


def segment(config: Config) -> Path:
    return max((config.journal_path / "worker-0").glob("*.seg"))


async def problems(config: Config) -> dict[str, str]:
    return {problem["what"]: problem["hint"] for problem in (await examine(config))["problems"]}


@pytest.fixture
def hanging(config: Config) -> Iterator[Running]:
    """A server whose processes take connections and never answer, as one that was stopped with SIGSTOP."""
    instance.prepare(config.data_path)
    with socket.create_server(("127.0.0.1", 0)) as listener, instance.claim(config.data_path):
        port = listener.getsockname()[1]
        running = Running(1, "127.0.0.1", port, 1, "127.0.0.1", port, "2026-11-21T10:00:00+00:00", "0.1.0")
        instance.write(config.data_path, running)
        yield running


async def test_doctor_tells_of_a_redaction_key_of_the_wrong_size(config: Config) -> None:
    open_writer(config).close()
    await flush(config, 20)
    key = config.data_path / "redaction.key"
    key.touch(0o600)
    key.write_bytes(bytes(32))
    assert await problems(config) == {}
    key.write_bytes(bytes(31))
    ((what, hint),) = (await problems(config)).items()
    assert "has 31 bytes instead of 32" in what and "remove the file" in hint


async def test_a_database_of_a_newer_version_is_told_and_rebuilt_and_kept(config: Config) -> None:
    open_writer(config).close()
    await flush(config, 20)
    with closing(sqlite3.connect(config.data_path / "ocproxy.db")) as other, other:
        other.execute("update alembic_version set version_num = 'of_the_future'")
    ((what, hint),) = (await problems(config)).items()
    assert "of_the_future" in what and "newer version" in what and hint.startswith("ocproxy rebuild")
    with pytest.raises(StoreError, match="of_the_future, which a newer version of ocproxy made") as error:
        await answers.open_for_reading(config)
    assert "ocproxy rebuild" in (error.value.hint or "")
    made = await rebuild(config)
    assert made.calls == 1 and made.kept is not None and Path(made.kept).exists()


async def test_where_only_the_database_is_missing_the_journal_brings_it_back(config: Config) -> None:
    open_writer(config).close()
    with pytest.raises(NotFound, match="no database .* but a journal") as error:
        await answers.open_for_reading(config)
    assert "ocproxy flush" in (error.value.hint or "")
    await flush(config, 20)
    async with await answers.open_for_reading(config) as store:
        assert len(await store.calls()) == 1


async def test_a_tail_cut_inside_a_record_is_told_when_nobody_writes(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    open_writer(config).close()
    await flush(config, 20)
    assert await problems(config) == {}
    os.truncate(segment(config), segment(config).stat().st_size - 3)
    found = [what for what in await problems(config) if "ends inside a record" in what]
    assert len(found) == 1 and "worker-0" in found[0]
    app.main(["--data-dir", config.data_dir, "journal", "verify"])
    assert "segment 1: ends inside a record" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("free", "on_full", "told"),
    [
        (4095, "forward", "is full: calls are forwarded, but not recorded"),
        (0, "refuse", "is full: calls are refused"),
        (2_000_000, "forward", "is almost full (2 MB are free)"),
    ],
)
async def test_doctor_says_what_a_full_disk_means_and_what_to_do(
    free: int, on_full: Literal["forward", "refuse"], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(data_dir=str(tmp_path / "data"), journal=Journal(segment_mb=1, on_full=on_full))
    instance.prepare(config.data_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - free, free))
    found = {what: hint for what, hint in (await problems(config)).items() if told in what}
    assert len(found) == 1 and all("free some space" in (hint or "") for hint in found.values())


@pytest.mark.parametrize("reason", ["database or disk is full", "disk I/O error"])
async def test_a_database_error_of_the_disk_says_so(reason: str) -> None:
    error = sqlite.translate(sa.exc.OperationalError("", {}, sqlite3.OperationalError(reason)))
    assert error is not None and "free some space on the disk of the database" in (error.hint or "")
    locked = sqlite.translate(sa.exc.OperationalError("", {}, sqlite3.OperationalError("database is locked")))
    assert locked is not None and "try again" in (locked.hint or "")


async def test_a_tail_that_is_just_being_written_is_not_told(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = open_writer(config)
    with open(segment(config), "ab") as file:
        file.write(b"\xf5\x0chalf")
    assert not [what for what in await problems(config) if "ends inside" in what]
    assert app.main(["--data-dir", config.data_dir, "journal", "verify"]) == 0
    assert "ends inside" not in capsys.readouterr().out
    writer.close()
    facts, _ = status.describe_journals(config.journal_path, {})
    assert facts[0]["torn_bytes"] == 6


async def test_flush_without_time_is_done_when_everything_is_stored(config: Config) -> None:
    open_writer(config).close()
    with pytest.raises(ServerError, match="not everything is in the database after 0 s"):
        await flush(config, 0)
    await flush(config, 20)
    await flush(config, 0)


async def test_neither_flush_nor_doctor_waits_long_for_a_process_that_hangs(config: Config, hanging: Running) -> None:
    open_writer(config).close()
    with Lock.take(config.data_path / instance.INGEST_LOCK) or pytest.fail("the lock was not free"):
        began = time.monotonic()
        with pytest.raises(ServerError, match="the control process, which stores, does not answer"):
            await flush(config, 0.2)
        assert time.monotonic() - began < 4
        began = time.monotonic()
        found = " ".join(await problems(config))
        assert time.monotonic() - began < 6
    assert "the control process does not answer" in found and "the relay at" in found
    assert await ask_server(config, hanging, 0.1) is None


async def test_of_a_database_that_cannot_be_read_doctor_does_not_pretend_to_know(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    open_writer(config).close()
    await asyncio.to_thread(app.main, ["--data-dir", config.data_dir, "doctor"])
    assert "revision none" in capsys.readouterr().out, "there is none yet"
    await flush(config, 20)
    file = backend_of(config.store_url).file(config.store_url)
    assert file is not None
    file.write_bytes(b"this is no database, and long enough to be taken for one" * 100)
    found = await problems(config)
    assert any("not a database" in what for what in found)
    assert "not everything recorded is in the database" not in found
    await asyncio.to_thread(app.main, ["--data-dir", config.data_dir, "doctor"])
    said = capsys.readouterr().out
    assert "cannot be read" in said and "cannot be told" in said and "not yet in the database" not in said
