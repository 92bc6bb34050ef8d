"""Answers for people and programs: fixed keys, ids by prefix, clear errors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ocproxy import query
from ocproxy.errors import Ambiguous, NotFound
from ocproxy.ingest.loop import Ingest
from ocproxy.store.base import Store, open_store
from tests.support.conversations import Relay, assistant, result, use, user
from tests.support.engines import sqlite_file

pytestmark = pytest.mark.anyio
WHERE = "# Environment\n - Primary working directory: /w\n"

SESSION_KEYS = """id opencode_id agent_name workdir title parent_id protocol model created_at updated_at calls messages
    file_events input_tokens output_tokens cache_read_tokens cache_write_tokens""".split()
MESSAGE_KEYS = "id role content parts created_at".split()
EVENT_KEYS = """id session_id message_id event_type file_path status diff command exit_code tool_name tool_use_id
    certainty created_at""".split()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    relay = Relay(tmp_path / "journal" / "worker-0")
    read, edit = (
        use("t1", "Read", file_path="/w/a.txt"),
        use("t2", "Edit", file_path="/w/a.txt", old_string="b", new_string="B"),
    )
    bash = use("t3", "Bash", command="exit 3")
    history = [
        user("Mend it."),
        assistant("I read", read),
        user(result("t1", "1\ta\n2\tb\n3\t")),
    ]
    relay.call(history[:1], history[1], session="one", run="r", system=WHERE)
    history += [assistant("I edit", edit, bash)]
    relay.call(history[:3], history[3], session="one", run="r", system=WHERE)
    results = [result("t2", "The file /w/a.txt has been updated."), result("t3", "Exit code 3", is_error=True)]
    relay.call([*history, user(*results)], assistant("done"), session="one", run="r", system=WHERE)
    relay.call([user("hi")], assistant("hello"), session="two")
    relay.close()
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        yield store


def only(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (found,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return found


async def test_sessions_have_the_promised_keys_and_come_newest_first(store: Store) -> None:
    rows = await query.sessions(store)
    assert [row["opencode_id"] for row in rows] == ["two", "one"]
    assert not set(SESSION_KEYS) - rows[0].keys()
    assert (rows[1]["calls"], rows[1]["messages"], rows[1]["input_tokens"]) == (3, 6, 30)
    json.dumps(rows)


async def test_a_session_is_shown_with_messages_events_and_calls(store: Store) -> None:
    shown = await query.show(store, "one")
    assert not {"session", "messages", "file_events", "calls"} - shown.keys()
    assert not set(MESSAGE_KEYS) - shown["messages"][0].keys()
    assert not set(EVENT_KEYS) - shown["file_events"][0].keys()
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"] * 3
    assert shown["messages"][1]["content"] == "I read"
    assert shown["messages"][1]["parts"][1]["name"] == "Read"
    assert [call["kind"] for call in shown["calls"]] == ["main"] * 3
    json.dumps(shown)


async def test_file_events_come_in_the_order_of_the_calls(store: Store) -> None:
    rows = await query.files(store)
    assert [(row["event_type"], row["status"], row["exit_code"]) for row in rows] == [
        ("read", "applied", None), ("edit", "applied", None), ("bash", "failed", 3),
    ]  # fmt: skip
    assert await query.files(store, "one") == rows
    assert await query.files(store, "two") == []


async def test_a_session_is_found_by_a_unique_prefix_and_otherwise_told_apart(store: Store) -> None:
    rows = await query.sessions(store)
    id = only(rows, opencode_id="one")["id"]
    assert (await query.show(store, id[:8]))["session"]["id"] == id
    assert (await query.show(store, "on"))["session"]["id"] == id
    with pytest.raises(Ambiguous, match="more than one"):
        await query.show(store, "")
    with pytest.raises(NotFound, match="nothing-like-it"):
        await query.show(store, "nothing-like-it")


async def test_the_diff_of_a_session_applies_to_the_tree_as_it_was(store: Store, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.txt").write_text("a\nb\n")
    diff = await query.diff(store, "one")
    done = subprocess.run(["git", "apply", "-"], cwd=tree, input=diff.text, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tree / "a.txt").read_text() == "a\nB\n"
    assert diff.notes == []


async def test_calls_can_be_limited_to_the_newest(store: Store) -> None:
    rows = await query.calls(store, limit=2)
    assert rows == (await query.calls(store))[-2:]
