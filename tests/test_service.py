"""Flush, rebuild and doctor without a server, on a journal made by hand."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from ocproxy import instance, query, status
from ocproxy.config import Config, Journal
from ocproxy.errors import NotFound, ServerError, StoreError
from ocproxy.exchange import Ended, Kind, Opened, Outcome, Position
from ocproxy.incidents import Diary
from ocproxy.ingest.loop import Ingest
from ocproxy.instance import Lock
from ocproxy.journal import JournalWriter
from ocproxy.service import answers
from ocproxy.service.doctor import examine
from ocproxy.service.flush import behind, ends, flush
from ocproxy.service.rebuild import rebuild
from ocproxy.store import migrations
from ocproxy.store.base import mask, open_store

pytestmark = pytest.mark.anyio

HEAD = b"GET /anything HTTP/1.1\r\nHost: x\r\n\r\n"
OPENED = Opened(head=HEAD, target="/anything", upstream="anthropic", upstream_url="http://x", client="127.0.0.1:1")
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data_dir=str(tmp_path / "data"), journal=Journal(segment_mb=1))


def record(config: Config, calls: int, *, worker: int = 0) -> None:
    """Some calls, as a relay worker would leave them."""
    instance.prepare(config.data_path)
    writer = JournalWriter.open(config.journal_path / f"worker-{worker}", config.journal)
    for _ in range(calls):
        number = writer.next_exchange()
        writer.append(Kind.OPENED, number, msgspec.msgpack.encode(OPENED))
        writer.append(Kind.RESPONSE_HEAD, number, RESPONSE)
        writer.append(Kind.RESPONSE_BYTES, number, b"ok")
        writer.append(Kind.ENDED, number, msgspec.msgpack.encode(Ended(Outcome.COMPLETE)))
    assert writer.commit()
    writer.close()


async def stored(config: Config) -> list[str]:
    async with await open_store(config.store_url) as store:
        return [call["id"] for call in await query.calls(store)]


async def test_flush_leaves_nothing_at_work_behind_when_its_time_is_over_however_short_that_is(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for step in range(8):
        config = Config(data_dir=str(tmp_path / f"data{step}"), journal=Journal(segment_mb=1))
        record(config, 3)
        with suppress(ServerError):
            await flush(config, 0.001 + step * 0.03)
        # A migration that still ran would now meet this one.
        await asyncio.to_thread(migrations.upgrade, config.store_url)
        for thread in set(threading.enumerate()) - before:
            if not thread.name.startswith("asyncio_"):  # those are kept for the next work, and are at none now
                thread.join(2)
                assert not thread.is_alive()
        assert (await flush(config, 60)).calls is not None and len(await stored(config)) == 3


async def test_flush_without_a_server_stores_what_the_journals_hold_and_once_only(config: Config) -> None:
    record(config, 3)
    record(config, 2, worker=1)
    assert (await flush(config, 20)).calls == 5
    assert len(await stored(config)) == 5
    assert (await flush(config, 20)).calls == 0
    record(config, 1)
    assert (await flush(config, 20)).calls == 1
    assert len(set(await stored(config))) == 6


async def test_flush_with_nothing_recorded_is_done_at_once(config: Config) -> None:
    assert (await flush(config, 20)).calls == 0


async def test_flush_says_what_is_behind_when_the_time_is_over(config: Config) -> None:
    record(config, 1)
    await flush(config, 20)
    record(config, 1)
    with Lock.take(config.data_path / instance.INGEST_LOCK) or pytest.fail("the lock was not free"):
        with pytest.raises(ServerError, match=r"not everything .* after 0.2 s: journal \w{8} is stored up to") as error:
            await flush(config, 0.2)
    assert "--timeout" in (error.value.hint or "")
    assert (await flush(config, 20)).calls == 1


async def test_flush_goes_on_by_itself_when_the_server_ends_meanwhile(config: Config) -> None:
    record(config, 1)
    await flush(config, 20)
    record(config, 1)
    lock = Lock.take(config.data_path / instance.INGEST_LOCK)
    assert lock is not None
    flushing = asyncio.create_task(flush(config, 20))
    await asyncio.sleep(0)
    lock.release()
    assert (await flushing).calls == 1


async def test_flush_waits_for_a_locked_database(config: Config) -> None:
    record(config, 1)
    await flush(config, 20)
    record(config, 1)
    with closing(sqlite3.connect(config.data_path / "ocproxy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServerError, match="not everything"):
            await flush(config, 0.3)
        other.execute("ROLLBACK")
    assert (await flush(config, 20)).calls == 1


async def test_the_ends_are_what_the_database_reaches(config: Config) -> None:
    record(config, 2)
    goals = ends(config.journal_path)
    await flush(config, 20)
    async with await open_store(config.store_url) as store:
        assert await behind(store, goals) == {}
        beyond = {journal: Position(end.segment, end.offset + 1) for journal, end in goals.items()}
        assert await behind(store, beyond) == goals
        assert await behind(store, {"f" * 32: Position(1, 0)}) == {"f" * 32: Position(0, 0)}


async def test_a_rebuilt_database_has_the_same_calls(config: Config) -> None:
    record(config, 4)
    await flush(config, 20)
    before = await stored(config)
    assert (await rebuild(config)).calls == 4
    assert await stored(config) == before
    assert stat.S_IMODE((config.data_path / "ocproxy.db").stat().st_mode) == 0o600


async def test_a_damaged_database_is_replaced_and_kept_aside(config: Config) -> None:
    record(config, 4)
    (config.data_path / "ocproxy.db").write_bytes(b"no database" * 1000)
    made = await rebuild(config)
    assert made.calls == len(await stored(config)) == 4
    assert made.kept is not None and Path(made.kept).read_bytes().startswith(b"no database")


async def test_rebuilding_refuses_to_forget_what_the_journal_no_longer_has(config: Config) -> None:
    record(config, 2)
    await flush(config, 20)
    folder = config.journal_path / "worker-0"
    folder.rename(config.data_path / "elsewhere")
    record(config, 1)
    with pytest.raises(StoreError, match="2 calls of the old database are no longer in the journal"):
        await rebuild(config)
    assert len(await stored(config)) == 2, "the old one is left as it was"
    assert (await rebuild(config, forget=True)).calls == 1
    assert [path.name for path in config.data_path.glob("ocproxy.db*")] == ["ocproxy.db"]


async def test_a_second_damaged_database_does_not_overwrite_the_first(config: Config) -> None:
    record(config, 1)
    kept = []
    for number in range(3):
        (config.data_path / "ocproxy.db").write_bytes(b"no database %d" % number * 1000)
        kept.append((await rebuild(config)).kept or "")
    assert [Path(name).name for name in kept] == ["ocproxy.db.damaged", "ocproxy.db.damaged-2", "ocproxy.db.damaged-3"]
    for number, name in enumerate(kept):
        assert Path(name).read_bytes().startswith(b"no database %d" % number)


async def test_rebuilding_refuses_to_forget_what_others_wrote(config: Config) -> None:
    record(config, 2)
    await flush(config, 20)
    now = "2026-01-01 00:00:00.000000"
    with closing(sqlite3.connect(config.data_path / "ocproxy.db")) as other, other:
        other.execute(
            "insert into opencode_sessions (id, opencode_id, agent_name, workdir, created_at, updated_at)"
            f" values ('s', 's', 'mine', '/x', '{now}', '{now}')"
        )
        for id in ("one", "two"):
            other.execute(
                "insert into opencode_messages (id, session_id, role, content, parts, created_at)"
                f" values ('{id}', 's', 'user', 'hello', '[]', '{now}')"
            )
    with pytest.raises(StoreError, match="1 sessions, 2 messages and 0 file events .* not come from") as error:
        await rebuild(config)
    assert "--forget" in (error.value.hint or "")
    async with await open_store(config.store_url) as store:
        assert [row.id for row in await store.messages("s")] == ["one", "two"], "the old one is left as it was"
    assert (await rebuild(config, forget=True)).sessions == 0


async def test_rebuilding_refuses_while_a_server_stores(config: Config) -> None:
    record(config, 1)
    for lock in (instance.SERVER_LOCK, instance.INGEST_LOCK):
        with Lock.take(config.data_path / lock) or pytest.fail("the lock was not free"):
            with pytest.raises(ServerError, match="in use"):
                await rebuild(config)
    with pytest.raises(NotFound, match="there is no data folder"):
        await rebuild(msgspec.structs.replace(config, data_dir="/does/not/exist"))


async def test_a_reader_does_not_make_a_database(config: Config) -> None:
    with pytest.raises(NotFound, match="nothing is recorded here yet"):
        await answers.open_for_reading(config)
    assert not config.data_path.exists()


async def test_doctor_finds_nothing_wrong_where_nothing_is(config: Config) -> None:
    record(config, 1)
    await flush(config, 20)
    facts = await examine(config)
    assert facts["problems"] == []
    assert facts["journals"][0]["behind_bytes"] == 0 and facts["database"]["bytes"] > 0


async def test_doctor_tells_what_is_not_stored_who_can_read_and_what_happened(config: Config) -> None:
    record(config, 1)
    await flush(config, 20)
    record(config, 1)
    Diary(config.data_path).note("a worker died")
    (config.data_path / "ocproxy.db").chmod(0o644)
    found = {problem["what"]: problem["hint"] for problem in (await examine(config))["problems"]}
    assert found["not everything recorded is in the database"] == "ocproxy flush"
    assert any("can read" in what and "ocproxy.db" in what for what in found)
    assert any("a worker died" in what for what in found)
    assert len(found) == 3


async def test_doctor_tells_of_a_database_that_is_none(config: Config) -> None:
    record(config, 1)
    (config.data_path / "ocproxy.db").write_bytes(b"no database" * 1000)
    problems = (await examine(config))["problems"]
    assert [problem for problem in problems if "database" in problem["what"] and problem["hint"]]


def test_a_password_is_not_shown() -> None:
    assert mask("postgresql://me:secret@host:5432/db") == "postgresql://me:***@host:5432/db"
    assert mask("sqlite:////a/b.db") == "sqlite:////a/b.db"


@pytest.mark.parametrize(
    ("ingested", "count"),
    [
        (Position(3, 100), 0),
        (Position(3, 40), 60),
        (Position(2, 400), 700),
        (Position(0, 0), 2100),
        (Position(4, 0), 0),
    ],
)
def test_what_is_unread_is_counted_on_the_disk(ingested: Position, count: int) -> None:
    assert status.unread([(1, 1000), (2, 1000), (3, 100)], Position(3, 100), ingested) == count


async def test_doctor_names_what_may_not_be_written_to(config: Config) -> None:
    record(config, 1)
    await flush(config, 10)
    assert [p["what"] for p in (await examine(config))["problems"] if "written" in p["what"]] == []
    database = config.data_path / "ocproxy.db"
    folder = config.journal_path / "worker-0"
    database.chmod(0o400)
    folder.chmod(0o500)
    said = " ".join(p["what"] for p in (await examine(config))["problems"])
    folder.chmod(0o700)
    assert f"{database} may not be written to" in said
    assert f"{folder} may not be written to" in said


async def test_flush_waits_for_a_server_that_is_still_making_its_database(config: Config) -> None:
    record(config, 2)
    with Lock.take(config.data_path / instance.INGEST_LOCK) or pytest.fail("the lock was not free"):
        flushing = asyncio.create_task(flush(config, 20))
        with pytest.raises(ServerError, match="not everything .* there is no database"):
            await flush(config, 0.3)
        assert not (config.data_path / "ocproxy.db").exists()
        async with await open_store(config.store_url) as store:
            await Ingest(store, config.journal_path).catch_up()
            assert (await flushing).calls is None
