"""A deleted session is gone from every file, does not come back, and takes nobody else's rows with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ocproxy.ageing.families import descend, group
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter, compress_sealed, verify
from ocproxy.model import Batch
from ocproxy.store import sqlite
from ocproxy.store.base import Store, open_store
from tests.support.ageing import SECRET, Folder, hold
from tests.support.conversations import Relay, assistant, result, use, user
from tests.support.engines import sqlite_file
from tests.support.rows import call, session
from tests.support.segments import SETTINGS
from tests.support.stored import of_sessions, rows

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "data")
    yield folder
    folder.relay.close()


@pytest.fixture(autouse=True)
def leaving_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some builds of SQLite wipe what is deleted by themselves, most do not: rows that were moved or changed leave what
    they were in unused room of their pages."""
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*sqlite._PRAGMAS, "PRAGMA secure_delete=OFF"))


async def delete(store: Store, session_id: str, folder: Folder) -> None:
    family = await descend(store, session_id)
    await store.remove(family.sessions, family.strays, reason="delete")
    await folder.erase(store)
    assert await store.settle(compact=True)


@pytest.mark.parametrize("form", ["live", "sealed", "compressed"])
async def test_no_byte_of_a_deleted_session_is_left_and_the_rest_is_as_it_was(folder: Folder, form: str) -> None:
    folder.work("keep", "harmless words")
    folder.work("gone", SECRET)
    folder.work("other", "more words")
    folder.relay.call([user("title")], assistant("x"), session="gone", tags={"title": SECRET})
    if form != "live":
        folder.relay.close()
        folder.relay = Relay(folder.root / "worker-0")
        folder.work("later", "still more")
    if form == "compressed":
        compress_sealed(folder.root / "worker-0")
    async with await open_store(folder.url) as store:
        await folder.ingest(store)
        before = await rows(store)
        gone = await folder.id_of(store, "gone")
        assert len(hold(folder.data, SECRET)) >= 2, "journal and database"
        await delete(store, gone, folder)
        assert hold(folder.data, SECRET) == []
        after = await rows(store)
        for kind in ("sessions", "messages", "file_events", "calls", "gaps", "inbox"):
            of = "id" if kind == "sessions" else "session_id"
            assert after[kind] == [row for row in before[kind] if getattr(row, of, None) != gone], kind
        for table, kept in after["tables"].items():
            if table not in ("blobs", "prompts"):
                assert kept == [row for row in before["tables"][table] if gone not in row.values()], table
        assert await store.erasures() == {}
        assert of_sessions(await folder.rebuilt()) == of_sessions(after)
        # Neither an ingest that goes on nor one that begins anew brings anything back.
        await folder.ingest(store)
        assert await rows(store) == after
    assert verify(folder.root / "worker-0").good


async def test_a_full_text_index_does_not_keep_what_was_deleted(folder: Folder) -> None:
    folder.work("gone", SECRET)
    folder.work("keep", "harmless words")
    async with await open_store(folder.url) as store:
        await folder.ingest(store)
        with closing(sqlite3.connect(folder.data / "ocproxy.db")) as database:
            database.executescript(
                "CREATE VIRTUAL TABLE words USING fts5(content, tokenize=trigram);"
                "INSERT INTO words (rowid, content) SELECT rowid, content FROM opencode_messages;"
                "CREATE TRIGGER forget AFTER DELETE ON opencode_messages BEGIN"
                " DELETE FROM words WHERE rowid = old.rowid; END;"
            )
        await delete(store, await folder.id_of(store, "gone"), folder)
    assert hold(folder.data, SECRET, "51Hd0nt") == []
    with closing(sqlite3.connect(folder.data / "ocproxy.db")) as database:
        assert database.execute("SELECT count(*) FROM words WHERE words MATCH 'harmless'").fetchone()[0] > 0


async def test_an_ingest_at_work_forgets_a_session_that_is_deleted_under_it(folder: Folder) -> None:
    folder.work("gone", SECRET)
    async with await open_store(folder.url) as store:
        ingest = Ingest(store, folder.root)
        ingest._restart = lambda: None  # type: ignore[method-assign]  # as in a server, which goes on with what it holds
        await ingest.catch_up()
        del ingest._restart
        gone = (await store.summaries())[0].row.id
        await delete(store, gone, folder)
        history = [user("What is left?"), assistant("Nothing."), user("Good.")]
        folder.relay.call(history, assistant("Yes."), session="gone")
        await ingest.catch_up()
        assert [message.content for message in await store.messages(gone)] == [
            "What is left?", "Nothing.", "Good.", "Yes.",
        ]  # fmt: skip
        assert of_sessions(await folder.rebuilt()) == of_sessions(await rows(store))
    assert hold(folder.data, SECRET) == []


async def test_a_death_between_database_and_journal_is_made_good(folder: Folder) -> None:
    folder.work("gone", SECRET)
    async with await open_store(folder.url) as store:
        await folder.ingest(store)
        await store.remove([(await store.summaries())[0].row.id], reason="delete")
        assert hold(folder.root, SECRET)
    async with await open_store(folder.url) as store:  # the next process
        await folder.ingest(store)
        assert await store.summaries() == []
        done = await folder.erase(store)
        assert done.records > 0 and done.waiting == done.elsewhere == 0
        assert hold(folder.root, SECRET) == []
        assert await folder.erase(store) == (0,) * 7


async def test_what_is_in_the_journal_of_another_machine_waits_for_that(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "elsewhere")
    other.work("gone", SECRET)
    other.relay.close()
    async with await open_store(folder.url) as store:
        await other.ingest(store)
        await store.remove([(await store.summaries())[0].row.id], reason="delete")
        done = await folder.erase(store)
        assert done.elsewhere == 5 and done.records == 0
        assert hold(other.root, SECRET)
        assert (await other.erase(store)).records > 0
        assert hold(other.root, SECRET) == []
        assert await store.erasures() == {}


async def test_subagents_and_forks_go_too_and_twins_are_told(folder: Folder) -> None:
    task = use("toolu_01task00000000001", "Task", prompt="Look for it.", subagent_type="x")
    opened = [user(f"Do it with {SECRET}."), assistant("So be it.", task)]
    folder.relay.call(opened[:1], opened[1], session="main")
    child = {"x-claude-code-agent-id": "agent-1"}
    folder.relay.call([user("Look for it.")], assistant("Found."), session="main", headers=child)
    folder.relay.call([*opened, user(result(task["id"], "Found."))], assistant("Done."), session="main")
    forked = [*opened, user(result(task["id"], "Found.")), assistant("Done."), user("Go on.")]
    folder.relay.call(forked, assistant("Gone on."), session="fork")
    folder.relay.call([user("Do it alone.")], assistant("Alone."), session="alone")
    async with await open_store(folder.url) as store:
        await folder.ingest(store)
        ids = {row.row.opencode_id: row.row.id for row in await store.summaries()}
        family = await descend(store, ids["main"])
        assert family.subagents == [ids["agent-1"]] and family.forks == [ids["fork"]]
        assert family.staying == family.origins == []
        assert ids["alone"] not in family.sessions
        kept = await descend(store, ids["main"], forks=False)
        assert kept.staying == [ids["fork"]] and ids["fork"] not in kept.sessions
        below = await descend(store, ids["agent-1"])
        assert below.sessions == [ids["agent-1"]] and below.origins == [ids["main"]]
        assert sorted(map(len, await group(store, list(ids.values())))) == [1, 3]
        await delete(store, ids["main"], folder)
        assert [row.row.opencode_id for row in await store.summaries()] == ["alone"]
        assert of_sessions(await folder.rebuilt()) == of_sessions(await rows(store))
    assert hold(folder.data, SECRET) == []


async def test_a_session_that_says_the_same_by_chance_is_told_and_stays(folder: Folder) -> None:
    for name in ("one", "two"):
        folder.relay.call([user("ping")], assistant("pong"), session=name)
        folder.relay.call([user("ping"), assistant("pong"), user("again")], assistant("pong"), session=name)
    async with await open_store(folder.url) as store:
        await folder.ingest(store)
        one, two = sorted(row.row.id for row in await store.summaries())
        family = await descend(store, one)
        assert (family.sessions, family.staying) == ([one], [two])
        assert (await descend(store, one, twins=True)).twins == [two]
        assert await group(store, [one, two]) == [[one], [two]]


async def test_calls_that_are_about_a_session_without_naming_it_go_with_it(tmp_path: Path) -> None:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        about = [call("mine", None, about="Say it."), call("others", None, about="Say that."), call("own", "s1")]
        await store.commit(Batch(sessions=[session("s1", prompt="Say it.")], calls=about))
        family = await descend(store, "s1")
        assert family.strays == ["mine"]
        await store.remove(family.sessions, family.strays, reason="delete")
        assert [row.id for row in await store.calls()] == ["others"]


async def test_a_journal_that_is_being_written_to_is_erased_beside_its_writer(folder: Folder) -> None:
    folder.work("gone", SECRET)
    open_call = folder.relay.begin([user("long")], session="long")
    async with await open_store(folder.url) as store:
        await folder.ingest(store)
        await delete(store, await folder.id_of(store, "gone"), folder)
        folder.relay.finish(open_call, assistant("at last"))
        await folder.ingest(store)
        assert [row.row.opencode_id for row in await store.summaries()] == ["long"]
        assert await store.gaps() == []
        assert of_sessions(await folder.rebuilt()) == of_sessions(await rows(store))
    assert hold(folder.data, SECRET) == []
    folder.relay.close()
    JournalWriter.open(folder.root / "worker-0", SETTINGS).close()
    assert verify(folder.root / "worker-0").good
