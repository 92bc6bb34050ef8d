"""A session that goes on from another one's history under an id of its own: nothing is told in both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocproxy import query
from ocproxy.store.base import open_store
from tests.support.conversations import assistant, result, use, user
from tests.support.engines import sqlite_file
from tests.support.playing import Client, Stage, is_a_line

pytestmark = pytest.mark.anyio

AGENT = {"user-agent": "claude-cli/2.1.332 (external, sdk-cli)"}
OLD = Client("messages", AGENT | {"x-claude-code-session-id": "old"})
NEW = Client("messages", AGENT | {"x-claude-code-session-id": "new"})
READ = use("toolu_01abcdefghijkl1", "Read", file_path="/w/a.txt")
WRITE = use("toolu_01abcdefghijkl2", "Write", file_path="/w/b.txt", content="b\n")
EDIT = use("toolu_01abcdefghijkl3", "Edit", file_path="/w/a.txt", old_string="one", new_string="ONE")
BEFORE = [
    user("Do it."),
    assistant(READ, WRITE),
    user(result(READ["id"], "1\tone\n2\ttwo\n3\t"), result(WRITE["id"], "File created successfully at: /w/b.txt")),
    assistant("Done."),
]
AFTER = [
    *BEFORE,
    user("Go on."),
    assistant(EDIT),
    user(result(EDIT["id"], "The file /w/a.txt has been updated successfully.")),
    assistant("Done too."),
]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


async def test_a_fork_has_the_whole_conversation_and_tells_its_own_work_only(stage: Stage) -> None:
    stage.play(OLD, BEFORE)
    stage.call(NEW, AFTER[:5], AFTER[5])
    stage.call(NEW, AFTER[:7], AFTER[7])
    told = await stage.told()
    assert [len(messages) for messages in told.messages] == [4, 8]
    assert is_a_line(told.messages[1])
    old, new = (row.id for row in told.sessions)
    assert [(event.session_id, event.tool_use_id) for event in told.events] == [
        (old, READ["id"]),
        (old, WRITE["id"]),
        (new, EDIT["id"]),
    ]
    assert told.sessions[1].parent_id is None, "a fork is no subagent"


async def test_what_was_read_before_the_fork_is_known_after_it(stage: Stage) -> None:
    stage.play(OLD, BEFORE)
    stage.call(NEW, AFTER[:5], AFTER[5])
    stage.call(NEW, AFTER[:7], AFTER[7])
    edit = (await stage.told()).events[-1]
    assert (edit.certainty, edit.status.value) == ("exact", "applied")
    assert edit.diff and "@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n" in edit.diff


async def test_the_diff_of_a_fork_is_of_its_own_work(stage: Stage, tmp_path: Path) -> None:
    stage.play(OLD, BEFORE)
    stage.call(NEW, AFTER[:5], AFTER[5])
    stage.call(NEW, AFTER[:7], AFTER[7])
    told = await stage.told()
    async with await open_store(sqlite_file(tmp_path / "whole.db")) as store:
        texts = [(await query.diff(store, row.id)).text for row in told.sessions]
    assert [re.findall(r"^\+\+\+ (.*)$", text, re.M) for text in texts] == [["b/w/b.txt"], ["b/w/a.txt"]]


async def test_the_session_that_was_forked_goes_on_by_itself(stage: Stage) -> None:
    stage.play(OLD, BEFORE)
    stage.call(NEW, AFTER[:5], AFTER[5])
    other = use("toolu_01abcdefghijkl4", "Bash", command="make")
    stage.call(OLD, [*BEFORE, user("Build it.")], assistant(other))
    built = [*BEFORE, user("Build it."), assistant(other), user(result(other["id"], "built"))]
    stage.call(OLD, built, assistant("Ok."))
    told = await stage.told()
    events = {(event.session_id, event.tool_use_id) for event in told.events}
    assert (told.sessions[0].id, other["id"]) in events
    assert (told.sessions[1].id, EDIT["id"]) in events
    assert len(events) == 4


async def test_a_counter_in_place_of_an_id_links_nothing(stage: Stage) -> None:
    """A small server behind Claude Code; the recorder was not there when the second session began."""
    call = use("call_0", "Bash", command="make")
    turns = [user("Build it."), assistant(call), user(result("call_0", "built")), assistant("Ok.")]
    stage.play(OLD, turns)
    stage.call(NEW, [user("Another."), *turns[1:3]], assistant("Well."))
    told = await stage.told()
    assert {event.session_id for event in told.events} == {row.id for row in told.sessions}
