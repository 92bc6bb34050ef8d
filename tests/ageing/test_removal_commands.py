"""`ocproxy delete` and `ocproxy prune`: what they say before, that nothing is done unasked, and what is left to do."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.cli import app
from ocproxy.config import Config
from ocproxy.errors import ServerError
from ocproxy.exchange import Kind
from ocproxy.journal import JournalReader
from ocproxy.model import Batch
from ocproxy.service import removal as service
from ocproxy.service.flush import flush
from ocproxy.service.rebuild import rebuild
from ocproxy.store.base import open_store
from tests.support.ageing import SECRET, Folder, hold
from tests.support.conversations import assistant, user

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "data")
    folder.work("gone", SECRET)
    folder.work("keep", "harmless words")
    yield folder
    folder.relay.close()


@pytest.fixture
def run(folder: Folder, capsys: pytest.CaptureFixture[str]) -> Run:
    (folder.data.parent / "settings.toml").touch()

    def one(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        flags = ["--config", str(folder.data.parent / "settings.toml"), "--data-dir", str(folder.data)]
        code = app.main([*flags, *arguments])
        written = capsys.readouterr()
        return code, written.out, written.err

    return one


def sessions(run: Run) -> list[str]:
    return sorted(session["opencode_id"] for session in json.loads(run("sessions", "--json")[1]))


def test_delete_says_what_goes_and_does_nothing_unless_it_may(run: Run, folder: Folder) -> None:
    code, said, _ = run("delete", "gone", "--dry-run")
    assert code == 0
    assert "in all 1 sessions, 10 messages, 4 file events, 5 calls" in said and "nothing was deleted" in said
    assert "active a moment ago" in said
    code, _, complained = run("delete", "gone")
    assert code == 1 and "give --yes" in complained
    code, written, _ = run("delete", "gone", "--json")
    assert code == 1 and written == "", "a program is asked nothing either"
    assert sessions(run) == ["gone", "keep"] and hold(folder.root, SECRET)


def test_delete_takes_it_out_of_every_file_and_it_does_not_come_back(run: Run, folder: Folder) -> None:
    code, said, _ = run("delete", "gone", "--yes")
    assert code == 0 and "deleted; 25 records of the journal" in said
    assert hold(folder.data, SECRET) == []
    assert sessions(run) == ["keep"]
    assert run("rebuild")[0] == 0 and sessions(run) == ["keep"]
    code, _, complained = run("delete", "gone", "--yes")
    assert code == 1 and "no session begins with" in complained


def test_delete_tells_a_program_what_it_did(run: Run) -> None:
    code, written, _ = run("delete", "gone", "--yes", "--json")
    told: dict[str, Any] = json.loads(written)
    assert code == 0 and told["done"] and told["settled"]
    assert (told["extent"]["calls"], told["erased"]["records"], told["copies"]) == (5, 25, [])


def test_delete_tells_of_old_databases_that_may_hold_it_too(run: Run, folder: Folder) -> None:
    run("flush")
    shutil.copy(folder.data / "ocproxy.db", folder.data / "ocproxy.db.damaged")
    assert "ocproxy.db.damaged" in run("delete", "gone", "--dry-run")[1]


def test_delete_tells_what_stays_and_says_the_same(run: Run, folder: Folder) -> None:
    for name in ("one", "two"):
        folder.relay.call([user("ping")], assistant("pong"), session=name)
        folder.relay.call([user("ping"), assistant("pong"), user("again")], assistant("pong"), session=name)
    said = run("delete", "one", "--dry-run")[1]
    assert "STAYS, and begins with the same messages" in said
    assert run("delete", "one", "--twins", "--yes")[0] == 0
    assert sessions(run) == ["gone", "keep"]


def test_delete_refuses_while_an_agent_is_connected(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(data_dir=str(folder.data))
    planned = asyncio.run(service.plan_deletion(config, "gone"))

    async def as_of_a_connection() -> None:
        """Let the calls be some of a connection that has not ended."""
        async with await open_store(config.store_url) as store:
            call = (await store.calls(planned.session["id"]))[0]
            number = folder.relay.begin([user("x")], session="gone")
            row = msgspec.structs.replace(call, id="f" * 20, exchange=number)
            await store.commit(Batch(calls=[row]))

    asyncio.run(as_of_a_connection())
    with pytest.raises(ServerError, match="still connected"):
        asyncio.run(service.delete(config, planned))
    assert hold(folder.root, SECRET)


def test_delete_does_not_take_what_came_after_it_was_said(folder: Folder) -> None:
    config = Config(data_dir=str(folder.data))
    planned = asyncio.run(service.plan_deletion(config, "gone"))
    folder.relay.call([user("sub")], assistant("x"), session="gone", headers={"x-claude-code-agent-id": "agent-1"})
    asyncio.run(flush(config, 20))
    with pytest.raises(ServerError, match="more that would go with it"):
        asyncio.run(service.delete(config, planned))
    assert hold(folder.root, SECRET)


def test_a_rebuild_finishes_first_what_a_delete_began(run: Run, folder: Folder) -> None:
    config = Config(data_dir=str(folder.data))

    async def die_in_the_middle() -> None:
        await flush(config, 20)
        async with await open_store(config.store_url) as store:
            await store.remove(await store.find_sessions("gone"), reason="delete")

    asyncio.run(die_in_the_middle())
    folder.relay.close()
    asyncio.run(rebuild(config))
    assert sessions(run) == ["keep"] and hold(folder.root, SECRET) == []


def test_prune_only_says_what_would_go_unless_it_is_told_to(
    run: Run, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("flush")
    code, said, _ = run("prune", "--older-than", "90d")
    assert code == 0 and "would go" in said and "0 sessions" in said and "give --yes" in said
    _age(folder, "gone")
    assert "1 sessions, 10 messages, 4 file events, 5 calls" in run("prune", "--older-than", "90d")[1]
    assert sessions(run) == ["gone", "keep"]
    code, said, _ = run("prune", "--older-than", "90d", "--no-dry-run")
    assert code == 0 and "removed" in said and "25 records in others are zeros now" in said
    assert sessions(run) == ["keep"] and hold(folder.root, SECRET) == []


def test_prune_can_leave_the_usage(run: Run, folder: Folder) -> None:
    run("flush")
    _age(folder, "gone")
    before = json.loads(run("usage", "--by", "agent", "--json")[1])
    code, written, _ = run("prune", "--older-than", "12w", "--keep-usage", "--yes", "--compact", "--json")
    told = json.loads(written)
    assert code == 0 and told["done"] and told["extent"]["messages"] == 10 and told["erased"]["records"] == 25
    assert json.loads(run("usage", "--by", "agent", "--json")[1]) == before
    assert hold(folder.data, SECRET) == []
    assert "content was removed" in run("show", "gone")[1]


@pytest.mark.parametrize("age", ["90", "0d", "d", "90 days", "-5d"])
def test_an_age_that_is_none_is_told_what_is(run: Run, age: str) -> None:
    code, _, complained = run("prune", f"--older-than={age}")
    assert code == 2 and "12h, 90d or 26w" in complained


def test_the_database_can_be_made_compact(run: Run, folder: Folder) -> None:
    run("flush")
    assert run("db", "compact")[0] == 0
    assert not (folder.data / "ocproxy.db-wal").exists() or not (folder.data / "ocproxy.db-wal").stat().st_size


def _age(folder: Folder, name: str) -> None:
    """Let a session be as if its last call was long ago."""
    with closing(sqlite3.connect(folder.data / "ocproxy.db")) as database:
        database.execute(
            "UPDATE opencode_sessions SET updated_at = '2020-01-01 00:00:00.000000' WHERE opencode_id = ?", (name,)
        )
        database.commit()


def test_erased_records_are_shown_as_such(run: Run, folder: Folder) -> None:
    run("delete", "gone", "--yes")
    with JournalReader(folder.root / "worker-0") as reader:
        erased = [record for _, record in reader.follow() if record.kind == Kind.ERASED]
    assert len(erased) == 25
    assert run("journal", "cat")[1].count(" erased ") == 25
    assert run("journal", "verify")[0] == 0
