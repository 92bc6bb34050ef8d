"""What is found, told on each kind of database: the same rows in the same order, whatever is typed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ocproxy import OpencodeSessionService
from ocproxy.model import Batch, EventType, FileEvent, MessageRow
from ocproxy.store import migrations, search
from ocproxy.store.base import Scope, Store, backend_of, open_store
from ocproxy.store.terms import Sieve, Term, parse
from tests.support.engines import Engine
from tests.support.programs import program_of
from tests.support.rows import NOON, event, message, session

pytestmark = pytest.mark.anyio

TEXTS = {
    "plain": "The quick brown fox\njumps over  the lazy dog.",
    "code": "value = foo.bar(baz)  # 100% of a_b, not aXb",
    "path": "see src/app.py and C:\\work\\app.py",
    "quotes": 'it\'s "quoted" and print("hello world") \\ \'x\'',
    "german": "Die ÄNDERUNG ist größer, Straße",
    "russian": "Привет, мир! Он здесь",
    "greek": "ΟΔΥΣΣΕΥΣ",
    "chinese": "数据库已经损坏,请修复",
    "japanese": "データを読む",
    "operators": "NEAR(a b) AND OR NOT * ^ : - + {x} [y] ~ | ! & <-> $1 %s",
    "emoji": "done 🎉 and e\u0301clair",
    "replaced": "a NUL \0 here",
    "empty": "",
}
FOUND = [
    ("fox", ["plain"]),
    ("FOX quick", ["plain"]),
    ("fox cat", []),
    ("umps", ["plain"]),
    ('"brown fox jumps"', ["plain"]),
    ('"fox brown"', []),
    ('"over the"', ["plain"]),
    ('"ÄNDERUNG IST"', ["german"]),
    ('"a_b, not"', ["code"]),
    ('"a.b, not"', []),
    ("foo.bar(baz)", ["code"]),
    ("oo.bar(b", ["code"]),
    ("a_b", ["code"]),
    ("100%", ["code"]),
    ("src/app.py", ["path"]),
    ("app.py", ["path"]),
    ("C:\\work", ["path"]),
    ('print("hello', ["quotes"]),
    ('"hello world"', ["quotes"]),
    ("it's", ["quotes"]),
    ("änderung", ["german"]),
    ("GRÖSSER", []),  # ß has no other form of one letter
    ("größer STRAßE", ["german"]),
    ("привет", ["russian"]),
    ("ПРИВЕТ он", ["russian"]),
    ("мир", ["russian"]),
    ("οδυσσευς", ["greek"]),
    ("数据", ["chinese"]),
    ("数据库 修复", ["chinese"]),
    ("データ", ["japanese"]),
    ("NEAR(a", ["operators"]),
    ("<-> ~ |", ["operators"]),
    ("*", ["operators"]),
    ("{x}", ["operators"]),
    ("$1 %s", ["operators"]),
    ("🎉", ["emoji"]),
    ("\0 NUL", ["replaced"]),
    ("\ud800 NUL", ["replaced"]),
    ("q", ["plain", "quotes"]),
]


def at(seconds: int) -> Any:
    return NOON + timedelta(seconds=seconds)


def messages(texts: dict[str, str]) -> list[MessageRow]:
    rows = [message(id, seq=number, content=text) for number, (id, text) in enumerate(texts.items())]
    return [msgspec.structs.replace(row, created_at=at(-row.seq)) for row in rows]


def did(id: str, event_type: EventType, seconds: int = 0, **fields: Any) -> FileEvent:
    row = event(id, **fields)
    return msgspec.structs.replace(row, event_type=event_type, created_at=at(seconds), message_id="plain")


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with await open_store(url) as store:
        yield store


async def find(store: Store, text: str, **scope: Any) -> list[str]:
    return [hit.id async for hit in store.search(parse(text), Scope(**scope))]


async def test_every_kind_of_database_finds_the_same(store: Store) -> None:
    await store.commit(Batch(sessions=[session()], messages=messages(TEXTS)))
    assert await store.search_is_indexed()
    assert {text: await find(store, text) for text, _ in FOUND} == dict(FOUND)


def test_what_sqlite_is_told_of_a_phrase_is_what_the_regular_expression_says() -> None:
    dice = random.Random(5)
    alphabet = "abkKsSiI \t\n\u00a0\u2003\u3000\u0085\x1c\u017f\u212a\u0130\u0131ßÄä数据é.*-"
    found = 0
    for _ in range(30_000):
        text = "".join(dice.choices(alphabet, k=dice.randint(0, 14)))
        pieces = "".join(dice.choices(alphabet, k=dice.randint(1, 4))).split()
        if pieces:
            term = Term(pieces)
            assert Sieve(term).passes(text.encode()) == term.is_in(text), (text, pieces)
            found += term.is_in(text)
    assert found > 3_000


async def test_nothing_that_is_typed_is_an_error(store: Store) -> None:
    await store.commit(Batch(sessions=[session()], messages=messages(TEXTS)))
    dice = random.Random(7)
    alphabet = "ab \"'%_\\*()[]{}^$.|?+-:;<>&!~/#@,=`\t\nÄßπЖ数🎉\0\ud800\u200b"
    for _ in range(150):
        await find(store, "".join(dice.choices(alphabet, k=dice.randint(1, 12))))
    for text in ("x" * 100_000, "word " * 5_000, '"' * 999, "%" * 60_000, "ЖжЯя" * 500, "\\" * 3):
        assert await find(store, text) == []


async def test_events_are_found_by_command_and_by_paths_and_with_all_terms_in_one_row(store: Store) -> None:
    events = [
        did("run", EventType.BASH, 1, command="pytest -x tests/test_app.py", file_path=None),
        did("edit", EventType.EDIT, 2, file_path="/w/src/app.py"),
        did("move", EventType.MOVE, 3, file_path="/w/old.py", destination="/w/new_app.py"),
    ]
    await store.commit(Batch(sessions=[session()], messages=messages({"plain": "no"}), file_events=events))
    assert await find(store, "app.py") == ["move", "edit", "run"]
    assert await find(store, "old new_app") == ["move"]
    assert await find(store, "pytest src") == []
    assert [hit.text async for hit in store.search(parse("old.py"), Scope())] == ["/w/old.py\n/w/new_app.py"]


async def test_the_newest_come_first_and_none_is_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_FIRST_ROWS", 4)
    monkeypatch.setattr(search, "_MOST_ROWS", 8)
    rows = messages({f"m{number:02}": f"needle {number}" for number in range(60)})
    await store.commit(Batch(sessions=[session()], messages=rows))
    wanted = [f"m{number:02}" for number in range(60)]
    assert await find(store, "needle") == wanted
    monkeypatch.setattr(search, "_MANY", 10)
    for newest in (7, 1000):
        monkeypatch.setattr(search, "_NEWEST_ROWS", newest)
        assert await find(store, "needle") == wanted
    assert await find(store, "needle") == wanted
    assert await find(store, "ne") == wanted


async def test_a_scope_narrows_by_session_agent_and_time(store: Store) -> None:
    rows = [
        msgspec.structs.replace(message(f"{name}-{when}", name, when, content="needle"), created_at=at(when))
        for name in ("s1", "s2")
        for when in (0, 10)
    ]
    sessions = [session("s1"), session("s2", agent_name="triage", plugin="codex")]
    await store.commit(Batch(sessions=sessions, messages=rows))
    assert await find(store, "needle", session_ids=["s2"]) == ["s2-10", "s2-0"]
    assert await find(store, "needle", session_ids=[]) == []
    assert await find(store, "needle", agent="triage") == await find(store, "needle", agent="codex")
    assert await find(store, "needle", agent="codex", since=at(5)) == ["s2-10"]


async def test_rows_of_the_service_and_of_the_seed_schema_are_found_once(url: str) -> None:
    async with await open_store(url) as store:
        async with program_of(store) as db:
            service = OpencodeSessionService(db)
            stored = await service.get_or_create_session("ses_1", "coder", "/w")
            said = await service.persist_message(stored, "user", [{"type": "text", "text": "find this needle"}])
            use = {"type": "tool_use", "name": "bash", "input": {"command": "grep needle x"}}
            (ran,) = await service.persist_file_events(said, [use])
        found = [hit async for hit in store.search(parse("needle"), Scope())]
        assert {hit.id for hit in found} == {said.id, ran.id} and len(found) == 2
        assert {hit.status for hit in found} == {None, "unknown"}


async def test_the_index_follows_changes_and_deletions(url: str) -> None:
    async with await open_store(url) as store:
        batch = Batch(sessions=[session()], messages=messages({"plain": "a first needle"}))
        batch.file_events = [did("e", EventType.BASH, command="needle --now", file_path=None)]
        await store.commit(batch)
        await store.commit(batch)
        assert await find(store, "needle") == ["plain", "e"]

        async def run(statement: str) -> None:
            async with program_of(store) as db:
                await db.execute(sa.text(statement))
                await db.commit()

        await run("UPDATE opencode_messages SET content = 'another thread' WHERE id = 'plain'")
        assert (await find(store, "needle"), await find(store, "thread")) == (["e"], ["plain"])
        await run("UPDATE opencode_messages SET content = NULL WHERE id = 'plain'")
        assert await find(store, "thread") == []
        await run("UPDATE opencode_messages SET content = 'third text' WHERE id = 'plain'")
        assert await find(store, "third") == ["plain"]
        await run("DELETE FROM opencode_file_events")
        await run("DELETE FROM opencode_messages")
        assert (await find(store, "needle"), await find(store, "third")) == ([], [])
        await store.commit(batch)
        assert len(await find(store, "needle")) == 2
        if store._engine.dialect.name == "sqlite":  # type: ignore[attr-defined]
            await run("INSERT INTO search_index (search_index, rank) VALUES ('integrity-check', 1)")


async def test_what_was_stored_before_the_index_is_indexed_by_the_migration(engine: Engine) -> None:
    url = engine.empty()
    await asyncio.to_thread(migrations.upgrade, url, "20261130_add_seed_changes")
    rows = ["'plain', 'a needle'", "'other', 'hay'", "'none', NULL"]

    def insert(connection: sa.Connection) -> None:
        now = "'2026-04-13 12:00:00'"
        connection.exec_driver_sql(
            "INSERT INTO opencode_sessions (id, opencode_id, agent_name, workdir, created_at, updated_at)"
            f" VALUES ('s', 'own', 'coder', '/w', {now}, {now})"
        )
        for row in rows:
            connection.exec_driver_sql(
                "INSERT INTO opencode_messages (id, content, session_id, role, parts, created_at)"
                f" VALUES ({row}, 's', 'user', '[]', {now})"
            )
        connection.exec_driver_sql(
            "INSERT INTO opencode_file_events (id, session_id, message_id, event_type, file_path, created_at)"
            f" VALUES ('e', 's', 'plain', 'edit', 'needle.py', {now})"
        )

    await asyncio.to_thread(backend_of(url).migrate, url, insert)
    async with await open_store(url) as store:
        assert sorted(await find(store, "needle")) == ["e", "plain"]
        assert await find(store, "hay") == ["other"]


async def test_events_of_files_are_found_by_a_part_of_their_path(store: Store) -> None:
    events = [
        did("a", EventType.EDIT, 1, file_path="src/App.py"),
        did("b", EventType.MOVE, 2, file_path="/w/x", destination="/w/src/app.py"),
        did("c", EventType.BASH, 3, command="cat src/app.py", file_path=None),
        did("d", EventType.READ, 4, file_path="/w/100%_é"),
    ]
    await store.commit(Batch(sessions=[session()], messages=messages({"plain": ""}), file_events=events))
    assert await store.events_of_files("app.py") == ["a", "b"]
    assert await store.events_of_files("%_") == await store.events_of_files("%_É") == ["d"]
    assert await store.events_of_files("") == ["a", "b", "d"]


async def test_without_an_index_the_same_is_found(url: str) -> None:
    await asyncio.to_thread(migrations.ensure_newest, url)
    drops = ["DROP INDEX IF EXISTS search_messages", "DROP INDEX IF EXISTS search_file_events"]
    if backend_of(url).dialect == "sqlite":
        events, tables = ("insert", "update", "delete"), ("opencode_messages", "opencode_file_events")
        drops = [f"DROP TRIGGER search_{table}_{event}" for table in tables for event in events]
        drops += ["DROP TABLE search_index", "DROP VIEW search_texts", "DROP TABLE search_entries"]

    def drop(connection: sa.Connection) -> None:
        for statement in drops:
            connection.exec_driver_sql(statement)

    await asyncio.to_thread(backend_of(url).migrate, url, drop)
    async with await open_store(url) as store:
        assert not await store.search_is_indexed()
        await store.commit(Batch(sessions=[session()], messages=messages(TEXTS)))
        assert {text: await find(store, text) for text, _ in FOUND} == dict(FOUND)
