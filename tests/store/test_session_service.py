"""`ocproxy.OpencodeSessionService`: a test for each sentence of its contract, on a database and in memory."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import ocproxy
from ocproxy import OpencodeSessionService, query
from ocproxy.cli import app
from ocproxy.errors import PersistenceError, StoreError
from ocproxy.ingest.loop import Ingest
from ocproxy.model import Batch, SessionRow
from ocproxy.sessions.linker import session_key
from ocproxy.store import migrations
from ocproxy.store.base import open_store
from tests.support import engines
from tests.support.conversations import Relay, assistant, user

pytestmark = pytest.mark.anyio
BASE = "20260413_add_opencode_tables"
REVISIONS = [BASE, "20261121_add_recorder_tables", "head"]
READ = {"type": "tool_use", "name": "read", "input": {"path": "a.py"}}


# That in memory is a database of ocproxy's own: a program of the user has no URL for it.
@pytest.fixture(params=["sqlite", "postgres"])
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables; of SQLite one that does not exist yet."""
    with engines.engine(request.param, tmp_path) as engine:
        yield engine.empty()


def driver(url: str) -> str:
    return url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncSession]:
    """An AsyncSession as a program of the user makes it: nothing of it is ours."""
    engine = create_async_engine(driver(url))
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


async def rows(url: str, table: str, *columns: str) -> list[tuple[Any, ...]]:
    async with connected(url) as session:
        found = await session.execute(sa.text(f"SELECT {', '.join(columns)} FROM {table} ORDER BY created_at, id"))
        return [tuple(row) for row in found]


@pytest.fixture(params=REVISIONS)
async def service(engine_url: str, request: pytest.FixtureRequest) -> AsyncIterator[OpencodeSessionService]:
    await asyncio.to_thread(migrations.upgrade, engine_url, request.param)
    async with connected(engine_url) as session:
        yield OpencodeSessionService(session)


@pytest.fixture(params=["memory", *REVISIONS])
async def any_service(engine_url: str, request: pytest.FixtureRequest) -> AsyncIterator[OpencodeSessionService]:
    if request.param == "memory":
        yield OpencodeSessionService()
        return
    await asyncio.to_thread(migrations.upgrade, engine_url, request.param)
    async with connected(engine_url) as session:
        yield OpencodeSessionService(session)


def test_importing_the_package_imports_no_database() -> None:
    code = (
        "import ocproxy, sys; print('sqlalchemy' in sys.modules);"
        "ocproxy.OpencodeSessionService; print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr
    with pytest.raises(AttributeError, match="no attribute 'OpencodeService'"):
        ocproxy.OpencodeService  # noqa: B018


async def test_a_new_session_has_what_it_is_made_with_and_its_times_in_utc(any_service: OpencodeSessionService) -> None:
    before = datetime.now(UTC)
    made = await any_service.get_or_create_session("ses_1", "coder", "/w", "thread", "Title")
    assert (made.opencode_id, made.agent_name, made.workdir) == ("ses_1", "coder", "/w")
    assert (made.abi_thread_id, made.title) == ("thread", "Title")
    assert before <= made.created_at <= datetime.now(UTC) and made.created_at.tzinfo is UTC
    assert before <= made.updated_at <= datetime.now(UTC)


async def test_a_session_is_looked_up_by_its_opencode_id(any_service: OpencodeSessionService) -> None:
    made = await any_service.get_or_create_session("ses_1", "coder", "/w")
    found = await any_service.get_or_create_session("ses_1", "other", "/elsewhere")
    other = await any_service.get_or_create_session("ses_2", "coder", "/w")
    assert found.id == made.id != other.id
    assert (found.agent_name, found.workdir) == ("coder", "/w")


async def test_one_that_is_there_gets_updated_at_now_and_keeps_when_it_began(
    any_service: OpencodeSessionService,
) -> None:
    made = await any_service.get_or_create_session("ses_1", "coder", "/w")
    began, first = made.created_at, made.updated_at
    found = await any_service.get_or_create_session("ses_1", "coder", "/w")
    assert found.created_at == began
    assert first < found.updated_at <= datetime.now(UTC)


async def test_one_that_is_there_gets_the_thread_if_given(any_service: OpencodeSessionService) -> None:
    await any_service.get_or_create_session("ses_1", "coder", "/w", "one")
    assert (await any_service.get_or_create_session("ses_1", "coder", "/w")).abi_thread_id == "one"
    assert (await any_service.get_or_create_session("ses_1", "coder", "/w", "two")).abi_thread_id == "two"


@pytest.mark.parametrize("empty", [None, ""])
async def test_one_that_is_there_gets_the_title_only_if_given_and_still_empty(
    any_service: OpencodeSessionService, empty: str | None
) -> None:
    await any_service.get_or_create_session("ses_1", "coder", "/w", title=empty)
    assert not (await any_service.get_or_create_session("ses_1", "coder", "/w")).title
    assert (await any_service.get_or_create_session("ses_1", "coder", "/w", title="First")).title == "First"
    assert (await any_service.get_or_create_session("ses_1", "coder", "/w", title="Second")).title == "First"


async def test_a_message_has_its_text_as_content_and_its_parts_as_they_are(
    service: OpencodeSessionService, engine_url: str
) -> None:
    session = await service.get_or_create_session("ses_1", "coder", "/w")
    parts = [{"type": "text", "text": "one"}, {"odd": [1, None, {"x": "é"}]}, {"type": "tool_result", "content": "two"}]
    message = await service.persist_message(session, "assistant", parts)
    ((id, session_id, role, content, stored),) = await rows(
        engine_url, "opencode_messages", "id", "session_id", "role", "content", "parts"
    )
    assert (id, session_id, role, content) == (message.id, session.id, "assistant", "one\ntwo")
    assert (json.loads(stored) if isinstance(stored, str) else stored) == parts == message.parts


async def test_file_events_are_linked_to_session_and_message(service: OpencodeSessionService, engine_url: str) -> None:
    session = await service.get_or_create_session("ses_1", "coder", "/w")
    parts = [READ, {"type": "tool_use", "name": "bash", "input": {"command": "ls"}}]
    message = await service.persist_message(session, "assistant", parts)
    events = await service.persist_file_events(message, parts)
    stored = await rows(
        engine_url, "opencode_file_events",
        "id", "session_id", "message_id", "event_type", "file_path", "diff", "command",
    )  # fmt: skip
    assert stored == [
        (events[0].id, session.id, message.id, "read", "a.py", None, None),
        (events[1].id, session.id, message.id, "bash", None, None, "ls"),
    ]
    assert await service.persist_file_events(message, [{"type": "text", "text": "no tool"}]) == []


async def test_ids_exist_before_anything_is_flushed_and_differ(any_service: OpencodeSessionService) -> None:
    session = await any_service.get_or_create_session("ses_1", "coder", "/w")
    one, two = [await any_service.persist_message(session, "user", []) for _ in range(2)]
    (event,) = await any_service.persist_file_events(one, [READ])
    assert len({session.id, one.id, two.id, event.id}) == 4 and all((session.id, one.id, two.id, event.id))


async def test_memory_can_be_read() -> None:
    service = OpencodeSessionService()
    session = await service.get_or_create_session("ses_1", "coder", "/w")
    message = await service.persist_message(session, "user", [{"type": "text", "text": "hi"}])
    (event,) = await service.persist_file_events(message, [READ])
    assert (service.sessions, service.messages, service.file_events) == ([session], [message], [event])
    assert (message.content, event.file_path, event.message_id) == ("hi", "a.py", message.id)


async def test_many_sessions_of_a_program_make_one_row(engine_url: str) -> None:
    await asyncio.to_thread(migrations.upgrade, engine_url)

    async def one() -> str:
        async with connected(engine_url) as session:
            return (await OpencodeSessionService(session).get_or_create_session("ses_1", "coder", "/w")).id

    ids = await asyncio.gather(*[one() for _ in range(12)])
    assert len(set(ids)) == 1
    assert await rows(engine_url, "opencode_sessions", "id") == [(ids[0],)]


def _make_many(url: str, barrier: Any) -> None:
    async def work() -> None:
        barrier.wait()
        for number in range(20):
            async with connected(url) as session:
                await OpencodeSessionService(session).get_or_create_session(f"ses_{number}", "coder", "/w")

    asyncio.run(work())


async def test_two_processes_make_one_row(engine_url: str) -> None:
    await asyncio.to_thread(migrations.upgrade, engine_url)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    both = [context.Process(target=_make_many, args=(engine_url, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        await asyncio.to_thread(process.join, 50)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(await rows(engine_url, "opencode_sessions", "opencode_id")) == 20


async def test_what_is_not_stored_raises_names_it_and_rolls_back(
    service: OpencodeSessionService, engine_url: str
) -> None:
    session = await service.get_or_create_session("ses_1", "coder", "/w")
    with pytest.raises(PersistenceError, match=f"a user message of the session {session.id} was not stored"):
        await service.persist_message(session, "user", [object()])
    message = await service.persist_message(session, "user", [{"type": "text", "text": "goes on"}])
    assert await rows(engine_url, "opencode_messages", "id") == [(message.id,)]
    assert issubclass(PersistenceError, StoreError)


@pytest.mark.parametrize("best_effort", [False, True])
async def test_a_database_without_tables_fails_each_method_or_is_logged(
    engine_url: str, caplog: pytest.LogCaptureFixture, best_effort: bool
) -> None:
    await asyncio.to_thread(migrations.upgrade, engine_url)
    await asyncio.to_thread(migrations.downgrade, engine_url, "base")
    async with connected(engine_url) as db:
        service = OpencodeSessionService(db, best_effort=best_effort)
        memory = OpencodeSessionService()
        session = await memory.get_or_create_session("ses_1", "coder", "/w")
        message = await memory.persist_message(session, "user", [])
        for what, work in (
            ("the session 'ses_1'", service.get_or_create_session("ses_1", "coder", "/w")),
            ("a user message", service.persist_message(session, "user", [])),
            ("1 file events of the message", service.persist_file_events(message, [READ])),
        ):
            with caplog.at_level(logging.WARNING, "ocproxy.store.session_service"):
                if best_effort:
                    assert await work
                    assert what in caplog.text and re.search("no such table|does not exist", caplog.text)
                else:
                    with pytest.raises(PersistenceError, match=what):
                        await work
    assert bool(caplog.records) == best_effort


async def test_a_failing_commit_rolls_back_and_raises(service: OpencodeSessionService, engine_url: str) -> None:
    session = await service.get_or_create_session("ses_1", "coder", "/w")
    db = service._db
    assert db is not None

    async def fail() -> None:
        raise sa.exc.OperationalError("COMMIT", {}, Exception("the disk is full"))

    commit, db.commit = db.commit, fail  # type: ignore[method-assign]
    with pytest.raises(PersistenceError, match="the disk is full"):
        await service.persist_message(session, "user", [])
    db.commit = commit  # type: ignore[method-assign]
    await service.get_or_create_session("ses_1", "coder", "/w")
    assert await rows(engine_url, "opencode_messages", "id") == []


# --- beside what the recorder stores


async def test_a_session_of_the_recorder_is_found(engine_url: str) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    recorded = SessionRow(session_key("opencode", "ses_1"), "ses_1", "opencode", "/w", at, at, title="T")
    other = SessionRow(session_key("claude-code", "abc"), "abc", "claude-code", "/w", at, at)
    async with await open_store(engine_url) as store:
        await store.commit(Batch(sessions=[recorded, other]))
    async with connected(engine_url) as db:
        service = OpencodeSessionService(db)
        found = await service.get_or_create_session("ses_1", "coder", "/x", title="U")
        assert (found.id, found.title, found.agent_name) == (recorded.id, "T", "opencode")
        assert (await service.get_or_create_session("abc", "coder", "/x")).id == other.id
    assert len(await rows(engine_url, "opencode_sessions", "id")) == 2


async def test_the_recorder_files_opencodes_session_under_the_same_id() -> None:
    made = await OpencodeSessionService().get_or_create_session("ses_1", "opencode", "/w")
    assert made.id == session_key("opencode", "ses_1")


async def test_its_rows_and_those_of_the_recorder_live_together(
    engine_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One session first stored by the service, then recorded; and one of the service alone, with parts of any shape."""
    await asyncio.to_thread(migrations.upgrade, engine_url)
    parts: list[Any] = [
        {"type": "text", "text": "by hand"}, {"type": "text"}, {"type": "tool_use", "name": "bash", "input": {}},
        {"type": "tool_result", "tool_use_id": "t", "content": "x"}, {"type": "tool", "state": None}, "bare", None, 7,
        READ,
    ]  # fmt: skip
    relay = Relay(tmp_path / "data" / "journal" / "worker-0")
    agent = {"user-agent": "opencode/1.18.33", "x-session-id": "ses_1"}
    relay.finish(relay.begin([user("hi")], headers=agent), assistant("hello"))
    async with connected(engine_url) as db:
        service = OpencodeSessionService(db)
        for opencode_id, name in (("ses_1", "opencode"), ("ses_2", "coder")):
            session = await service.get_or_create_session(opencode_id, name, "/w")
            message = await service.persist_message(session, "assistant", parts)
            await service.persist_file_events(message, parts)
    for prompt in ("more", "and more"):
        async with await open_store(engine_url) as store:
            await Ingest(store, tmp_path / "data" / "journal").catch_up()
            assert {row["opencode_id"] for row in await query.sessions(store)} == {"ses_1", "ses_2"}
            shown = await query.show(store, "ses_1")
            assert {message["content"] for message in shown["messages"]} >= {"hi", "hello", "by hand\nx"}
            json.dumps(shown)
            await query.diff(store, "ses_2")
            assert len(await query.files(store)) == 2
            relay.finish(relay.begin([user("hi"), assistant("hello"), user(prompt)], headers=agent), assistant("ok"))
    relay.close()

    monkeypatch.setenv("OCPROXY_DATABASE_URL", engine_url)

    def run(*command: str) -> int:
        return app.main(["--data-dir", str(tmp_path / "data"), *command])

    for command in (
        ["flush"],
        ["sessions"],
        ["show", "ses_1"],
        ["show", "ses_2", "--full"],
        ["files"],
        ["diff", "ses_2"],
        ["usage"],
    ):
        assert await asyncio.to_thread(run, *command) == 0, capsys.readouterr().err
    assert await asyncio.to_thread(run, "rebuild") == 1
    why = "do not come from the journal" if engine_url.startswith("sqlite") else "may hold what others recorded"
    assert why in capsys.readouterr().err
