"""What only PostgreSQL brings with it: servers that restart, wrong passwords, URLs that must not be shown."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql

from ocproxy.errors import StoreBusy, StoreError, StoreRefused
from ocproxy.model import Batch, IngestTurn, PromptRow
from ocproxy.store import migrations, search
from ocproxy.store import postgres as backend
from ocproxy.store.base import Scope, mask, open_store
from ocproxy.store.terms import parse
from tests.support import postgres
from tests.support.rows import message, session

pytestmark = pytest.mark.anyio


@pytest.fixture
def url() -> Iterator[str]:
    database = postgres.make_database(migrated=True)
    yield database.url
    postgres.drop_database(database)


async def ask(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def cut_off(url: str) -> None:
    """As the server does when it is restarted."""
    name = urlsplit(url).path[1:]
    await ask(url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
                   " AND pid <> pg_backend_pid()")  # fmt: skip


async def test_connections_that_the_server_ended_are_replaced_and_nobody_notices(url: str) -> None:
    async with await open_store(url) as store:
        for number in range(3):
            await store.commit(Batch(sessions=[session(f"s{number}")]))
            await cut_off(url)
        assert len(await store.summaries()) == 3


async def test_a_pool_of_connections_that_the_server_ended_is_replaced_and_nobody_notices(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(Batch(sessions=[session()]))
        for _ in range(3):
            await asyncio.gather(*[store.summaries() for _ in range(10)])
            await cut_off(url)
            await store.commit(Batch(sessions=[session("s2")]))
            await cut_off(url)
            found = await asyncio.gather(*[store.summaries() for _ in range(10)])
            assert {len(one) for one in found} == {2}


async def test_nothing_is_taken_for_stored_by_another_server(url: str) -> None:
    """One that took over without the last commits looks like one that ended our connections."""
    batch = Batch(prompts=[PromptRow("p", ["system"], [])])
    async with await open_store(url) as store:
        count, _ = await store.removed_since(None)
        await store.commit(batch, None, count)
        await ask(url, "DELETE FROM prompts")
        await store.commit(batch, None, count)
        assert await store.prompt("p") is None, "it is not written each time"
        await cut_off(url)
        await store.commit(batch, None, count)
        assert await store.prompt("p") == batch.prompts[0]


async def test_a_follower_goes_on_when_its_connection_was_ended(url: str) -> None:
    async with await open_store(url) as store, asyncio.timeout(20):
        told: list[str] = []

        async def follow() -> None:
            async for changes in store.follow(0):
                told.extend(change.id for change in changes.found)
                if "s2" in told:
                    return

        following = asyncio.create_task(follow())
        for number in range(3):
            await store.commit(Batch(sessions=[session(f"s{number}")]))
            while f"s{number}" not in told:
                await asyncio.sleep(0.01)
            await cut_off(url)
        await following
        assert told == ["s0", "s1", "s2"]


async def test_a_server_that_is_away_is_busy_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreBusy, match="cannot be reached"):
        await open_store(f"postgresql://me:secret@127.0.0.1:{postgres.free_port()}/db", migrate=False)


async def test_a_database_that_is_not_there_is_an_error_with_a_way_on(url: str) -> None:
    missing = urlunsplit(urlsplit(url)._replace(path="/nowhere"))
    with pytest.raises(StoreError, match='"nowhere" does not exist') as error:
        await open_store(missing)
    assert not isinstance(error.value, StoreBusy)
    assert "createdb" in (error.value.hint or "")


async def test_a_program_migrates_from_within_its_loop_as_well() -> None:
    database = postgres.make_database(migrated=False)
    try:
        migrations.upgrade(database.url)
        assert migrations.current(database.url) == migrations.NEWEST
        migrations.downgrade(database.url, "base")
        assert migrations.current(database.url) is None
    finally:
        postgres.drop_database(database)


async def test_who_may_not_make_tables_is_told(url: str) -> None:
    name = f"nobody_{urlsplit(url).path[-12:]}"
    await ask(url, f"CREATE ROLE {name} LOGIN")
    try:
        parts = urlsplit(url)
        theirs = urlunsplit(parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}"))
        async with await open_store(theirs, migrate=False) as store:
            with pytest.raises(StoreError, match="permission denied") as error:
                await store.commit(Batch(sessions=[session()]))
        assert "right" in (error.value.hint or "")
    finally:
        await ask(url, f"DROP OWNED BY {name}")
        await ask(url, f"DROP ROLE {name}")


async def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_LEAST_VERSION", 99)
    with pytest.raises(StoreError, match="ocproxy needs 99 or later"):
        await open_store(url, migrate=False)


async def test_a_table_that_is_missing_says_that_a_migration_is() -> None:
    database = postgres.make_database(migrated=False)
    try:
        async with await open_store(database.url, migrate=False) as store:
            with pytest.raises(StoreError, match="opencode_sessions") as error:
                await store.summaries()
        assert "db upgrade" in (error.value.hint or "")
    finally:
        postgres.drop_database(database)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("40P01", StoreBusy), ("40001", StoreBusy), ("57P01", StoreBusy), ("57P03", StoreBusy), ("53300", StoreBusy),
     ("25006", StoreBusy), ("08006", StoreBusy), ("55P03", StoreBusy), ("57014", StoreBusy), ("53100", StoreBusy),
     ("28P01", StoreError), ("3D000", StoreError), ("42501", StoreError), ("22003", StoreRefused),
     ("23503", StoreRefused), ("54000", StoreRefused)],
)  # fmt: skip
def test_errors_are_told_by_whose_fault_they_are(code: str, kind: type[StoreError]) -> None:
    error = asyncpg.PostgresError.new({"C": code, "M": "a reason", "S": "ERROR"})
    found = backend.translate(error)
    assert type(found) is kind and "a reason" in str(found)


def test_both_forms_of_an_url_are_one_database_and_others_are_none() -> None:
    assert backend.plain("postgresql+asyncpg://u@h/d?sslmode=require") == "postgresql://u@h/d?sslmode=require"
    with pytest.raises(StoreError) as error:
        migrations.current("postgresql://me:hush@host:port/db")
    assert "hush" not in str(error.value) + (error.value.hint or "")


def test_no_password_is_shown_wherever_it_stands() -> None:
    for url in ("postgresql://me:hush@host/db", "postgresql://host/db?user=me&password=hush&sslmode=require",
                "postgresql://me:hu:sh%40@a:1,b:2/db", "postgres://:hush@/db"):  # fmt: skip
        assert "hush" not in mask(url) and "hu:sh" not in mask(url) and "***" in mask(url)
    assert mask("postgresql://me@host/db?sslmode=require") == "postgresql://me@host/db?sslmode=require"


async def test_the_turns_of_others_ring_and_our_own_do_not(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await open_store(url) as mine, await open_store(url) as other, asyncio.timeout(60):
        heard = asyncio.Semaphore(0)
        witness = await asyncpg.connect(url)
        await witness.add_listener("ocproxy_turns", lambda *_: heard.release())
        async with mine.turn_bell() as bell:
            await mine.commit(Batch(turns=[IngestTurn("mine", 1, 1)]))
            await heard.acquire()  # it has been told
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(bell(), 0.3)
            await other.commit(Batch(turns=[IngestTurn("other", 1, 1)]))
            monkeypatch.setattr(backend, "_LOOK_SECONDS", 300)
            await bell()
        await witness.close()


async def test_a_process_of_the_server_that_was_ours_is_not_when_its_connection_ended(url: str) -> None:
    """The server gives its number to another one day."""
    async with await open_store(url) as store:
        assert isinstance(store, backend.PostgresStore)
        (before,) = store._own
        await cut_off(url)
        await store.commit(Batch(sessions=[session()]))
        assert store._own and before not in store._own


async def test_without_the_right_to_create_an_extension_all_is_read_until_somebody_creates_it(url: str) -> None:
    name = f"guest_{uuid.uuid4().hex}"
    database = postgres.make_database(migrated=False)
    parts = urlsplit(database.url)
    guest = urlunsplit(parts._replace(netloc=f"{name}:secret@{parts.netloc.rpartition('@')[2]}"))
    for statement in (f"CREATE ROLE {name} LOGIN PASSWORD 'secret'", f"GRANT USAGE, CREATE ON SCHEMA public TO {name}"):
        await ask(database.url, statement)
    try:
        await asyncio.to_thread(migrations.upgrade, guest)
        assert not await asyncio.to_thread(backend.BACKEND.migrate, guest, search.index)
        rows = [message("m1", content="Such a needle"), message("m2", seq=1, content="hay")]
        async with await open_store(guest) as store:
            await store.commit(Batch(sessions=[session()], messages=rows))
            assert not await store.search_is_indexed()
            assert [hit.id async for hit in store.search(parse("NEEDLE"), Scope())] == ["m1"]
        await ask(database.url, "CREATE SCHEMA elsewhere")
        await ask(database.url, "CREATE EXTENSION pg_trgm SCHEMA elsewhere")
        await ask(database.url, f"GRANT USAGE ON SCHEMA elsewhere TO {name}")
        for _ in range(2):
            assert await asyncio.to_thread(backend.BACKEND.migrate, guest, search.index)
        async with await open_store(guest) as store:
            assert await store.search_is_indexed()
            assert [hit.id async for hit in store.search(parse("NEEDLE"), Scope())] == ["m1"]
        await asyncio.to_thread(migrations.downgrade, guest, "20261130_add_seed_changes")
    finally:
        postgres.drop_database(database)
        await ask(url, f"DROP ROLE {name}")


async def test_questions_use_the_indexes(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET enable_seqscan = off; SET enable_indexscan = off")  # empty tables need no index
        for source in (search._MESSAGES, search._EVENTS):
            text = source.text.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
            query = f"EXPLAIN SELECT id FROM {source.table.name} WHERE {text} ILIKE '%needle%'"
            plan = "\n".join(row[0] for row in await connection.fetch(query))
            assert f"Bitmap Index Scan on {search._INDEXES[source.what]}" in plan
    finally:
        await connection.close()
