"""Which session a call lands in, and that it is the same one in whatever pieces the journal is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocproxy.ingest.loop import Ingest
from ocproxy.store.base import open_store
from tests.support.conversations import CLAUDE, Json, Relay, assistant, result, text, use, user
from tests.support.engines import sqlite_file

pytestmark = pytest.mark.anyio


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(tmp_path / "journal" / "worker-0")
    yield relay
    relay.close()


async def stored(tmp_path: Path, *, pieces: bool) -> dict[str, Any]:
    """The rows; in `pieces` the ingest dies after each call."""
    async with await open_store(sqlite_file(tmp_path / f"{'pieces' if pieces else 'whole'}.db")) as store:
        root = tmp_path / "journal"
        if pieces:
            count = 1
            while count:
                ingest = Ingest(store, root, batch_calls=1)
                count = await ingest._cycle()
                ingest._restart()
        await Ingest(store, root).catch_up()
        sessions = sorted(await store.summaries(), key=lambda summary: (summary.row.created_at, summary.row.id))
        return {
            "sessions": [summary.row for summary in sessions],
            "messages": [await store.messages(summary.row.id) for summary in sessions],
            "file_events": await store.file_events(),
            "calls": await store.calls(),
        }


async def told(tmp_path: Path) -> dict[str, Any]:
    """The rows, which are the same ones however the ingest is interrupted."""
    whole = await stored(tmp_path, pieces=False)
    assert await stored(tmp_path, pieces=True) == whole
    return whole


async def test_a_weak_call_id_that_several_sessions_have_links_nothing(tmp_path: Path, relay: Relay) -> None:
    for name in ("a", "b"):
        relay.call([user(f"task {name}")], assistant(use("call_0", "Bash", command=f"echo {name}")))
    # An agent that forgot the beginning: its history is not known, and its call id belongs to two.
    relay.call([user("task c", result("call_0", "b"))], assistant("done"))
    found = await told(tmp_path)
    assert len({call.session_id for call in found["calls"]}) == 3


async def test_twins_with_the_same_prompt_and_the_same_answer_go_on_apart(tmp_path: Path, relay: Relay) -> None:
    twins = [relay.begin([user("hi")]), relay.begin([user("hi")])]
    for number in twins:
        relay.finish(number, assistant("hello"))
    for name in ("a", "b"):
        relay.call([user("hi"), assistant("hello"), user(f"I am {name}")], assistant("ok"))
    found = await told(tmp_path)
    assert [len(messages) for messages in found["messages"]] == [4, 4]


async def test_a_history_that_shares_its_first_message_only_is_a_session_of_its_own(
    tmp_path: Path, relay: Relay
) -> None:
    relay.call([user("hi")], assistant("hello"))
    relay.call([user("hi"), assistant("what nobody here said"), user("more")], assistant("ok"))
    found = await told(tmp_path)
    assert len(found["sessions"]) == 2


async def test_a_working_folder_that_is_told_late_counts_from_the_beginning(tmp_path: Path, relay: Relay) -> None:
    history: list[Json] = [user("go")]
    edits = [("w.txt", "one\ntwo\n"), ("w.txt", "one\nTWO\n"), ("/w/w.txt", "ONE\nTWO\n")]
    for n, (path, content) in enumerate(edits):
        reply = assistant(use(f"t{n}", "write_file", path=path, content=content))
        relay.call(history, reply, tags={"session": "s"} | ({"workdir": "/w"} if n > 1 else {}))
        history += [reply, user(result(f"t{n}", "Successfully wrote the file", is_error=False))]
    relay.call(history, assistant("done"), tags={"session": "s"})
    found = await told(tmp_path)
    (row,) = found["sessions"]
    assert row.workdir == "/w"
    assert [event.diff.partition("@@ -1,2 +1,2 @@\n")[2] for event in found["file_events"][1:]] == [
        " one\n-two\n+TWO\n",
        "-one\n+ONE\n TWO\n",
    ]


async def test_a_session_is_read_by_the_plug_in_that_began_it(tmp_path: Path, relay: Relay) -> None:
    tags = {"session": "s", "agent": "triage"}
    relay.call([user("hi")], assistant("hello"), tags=tags, headers=CLAUDE)
    history = [user("hi"), assistant("hello")]
    # With the reminder it is the same message to Claude Code, and another one to others.
    relay.call([*history, user("more", text("<system-reminder>it is late</system-reminder>"))], None, tags=tags)
    relay.call([*history, user("more")], assistant("ok"), tags=tags)
    found = await told(tmp_path)
    assert [row.plugin for row in found["sessions"]] == ["claude-code"]
    assert [row.role for row in found["messages"][0]] == ["user", "assistant", "user", "assistant"]


async def test_a_subagent_before_its_parent_says_nothing_of_the_parents_folder(tmp_path: Path, relay: Relay) -> None:
    first = relay.begin([user("work")], session="s", system="Working directory: /w")
    relay.call(
        [user("look")],
        assistant("seen"),
        session="s",
        system="Working directory: /w/.worktrees/a1",
        headers={"x-claude-code-agent-id": "a1"},
    )
    relay.finish(first, assistant("done"))
    found = await told(tmp_path)
    parent, child = found["sessions"]
    assert (parent.workdir, child.workdir, child.parent_id) == ("/w", "/w/.worktrees/a1", parent.id)
    assert parent.created_at == min(call.started_at for call in found["calls"]) < child.created_at
