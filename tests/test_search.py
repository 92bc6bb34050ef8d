"""What a search answers: kinds of hits, snippets, scopes and limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.errors import ConfigError, NotFound
from ocproxy.model import Batch, EventType
from ocproxy.query.search import Wanted, excerpt, search
from ocproxy.store.base import Store, open_store
from ocproxy.store.terms import parse
from tests.support.engines import sqlite_file
from tests.support.rows import NOON, event, message, session

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        yield store


def did(id: str, event_type: EventType, seconds: int, session_id: str = "s1", **fields: Any) -> Any:
    at = NOON + timedelta(seconds=seconds)
    return msgspec.structs.replace(
        event(id, **fields), event_type=event_type, created_at=at, ordinal=seconds, session_id=session_id
    )


async def fill(store: Store) -> None:
    rows = [message("m1", content="please run pytest"), message("m2", "s2", content="pytest fails in app.py")]
    rows[1] = msgspec.structs.replace(rows[1], created_at=NOON + timedelta(seconds=50))
    events = [
        did("e1", EventType.BASH, 1, command="pytest -x"),
        did("e2", EventType.READ, 2, file_path="/w/tests/pytest.ini"),
        did("e3", EventType.EDIT, 3, file_path="/w/tests/pytest.ini"),
        did("e4", EventType.BASH, 4, command="pytest -x"),
        did("e5", EventType.READ, 5, "s2", file_path="src/app.py"),
    ]
    sessions = [session("s1", title="One"), session("s2", agent_name="codex")]
    await store.commit(Batch(sessions=sessions, messages=rows, file_events=events))


def kinds(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(hit["kind"], hit["snippet"]) for hit in found["hits"]]


async def test_messages_commands_and_paths_are_found_newest_first_and_repeated_events_once(store: Store) -> None:
    await fill(store)
    found = await search(store, Wanted("pytest"))
    assert kinds(found) == [
        ("message", "pytest fails in app.py"), ("command", "pytest -x"), ("path", "/w/tests/pytest.ini"),
        ("message", "please run pytest"),
    ]  # fmt: skip
    assert (found["more"], found["indexed"], found["terms"]) == (False, True, ["pytest"])
    command, path = found["hits"][1:3]
    assert (command["command"], command["event_type"], command["title"]) == ("pytest -x", "bash", "One")
    assert (path["event_type"], path["message_id"], path["marks"]) == ("edit", "m1", [[9, 15]])
    json.dumps(found)


async def test_no_more_than_the_limit_is_told_and_that_there_is_more(store: Store) -> None:
    await fill(store)
    found = await search(store, Wanted("pytest", limit=2))
    assert (len(found["hits"]), found["more"]) == (2, True)
    found = await search(store, Wanted("pytest", limit=4))
    assert (len(found["hits"]), found["more"]) == (4, False)


async def test_a_search_is_kept_to_a_session_an_agent_a_time_or_files(store: Store) -> None:
    await fill(store)
    assert kinds(await search(store, Wanted("pytest", session="own-s2"))) == [("message", "pytest fails in app.py")]
    assert kinds(await search(store, Wanted("pytest", agent="codex"))) == [("message", "pytest fails in app.py")]
    since = await search(store, Wanted("pytest", since=NOON + timedelta(seconds=4)))
    assert kinds(since) == [("message", "pytest fails in app.py"), ("command", "pytest -x")]
    touched = await search(store, Wanted("app.py", path="*.py"))
    assert kinds(touched) == [("message", "pytest fails in app.py"), ("path", "src/app.py")]
    assert kinds(await search(store, Wanted("pytest", path="tests/*.ini"))) == [
        ("command", "pytest -x"), ("path", "/w/tests/pytest.ini"), ("message", "please run pytest"),
    ]  # fmt: skip
    assert kinds(await search(store, Wanted("pytest", path="/w/*.ini"))) == []
    with pytest.raises(NotFound):
        await search(store, Wanted("pytest", session="nothing"))


@pytest.mark.parametrize("text", ["", "  \n", '""', '" "'])
async def test_nothing_to_search_for_is_an_error(store: Store, text: str) -> None:
    with pytest.raises(ConfigError, match="nothing to search for"):
        await search(store, Wanted(text))


def shown(text: str, typed: str) -> tuple[str, list[str]]:
    snippet, marks = excerpt(text, parse(typed))
    return snippet, [snippet[start:end] for start, end in marks]


async def test_a_snippet_shows_where_most_of_the_words_are() -> None:
    assert shown("a short Text, text", "text") == ("a short Text, text", ["Text", "text"])
    snippet, marks = shown("one " + "x" * 1000 + " one two " + "y" * 1000, "two one")
    assert marks == ["one", "two"] and snippet.startswith("…x") and snippet.endswith("y…")
    assert len(snippet) <= 242
    assert shown("aaaa", "aa aaa") == ("aaaa", ["aaaa"])
    assert shown("n" * 100_000 + "ee", "nee")[1] == ["nee"]
    assert shown("two\n  words", '"two words"')[1] == ["two\n  words"]
