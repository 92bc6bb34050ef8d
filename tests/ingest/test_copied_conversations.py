"""A client goes on from a copy of a conversation, under a new id: what the copy began with is told where it was done.

So do `codex exec fork`, `opencode run --fork` and `claude --fork-session` (the first two seen: 0.171.0, 1.18.33).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocproxy import query
from ocproxy.store.base import open_store
from tests.support.conversations import assistant, result, use, user
from tests.support.engines import sqlite_file
from tests.support.playing import Client, Json, Stage, is_a_line

pytestmark = pytest.mark.anyio

HEADERS = {
    "codex": lambda id: {"originator": "codex_exec", "session-id": id, "thread-id": id},
    "opencode": lambda id: {"user-agent": "opencode/1.18.33 ai-sdk/provider-utils/4", "x-session-id": id},
}
PROTOCOLS = {"codex": "responses", "opencode": "chat"}
TOOLS = {"codex": ("write_file", "path"), "opencode": ("write", "filePath")}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def client(agent: str, session: str) -> Client:
    return Client(PROTOCOLS[agent], HEADERS[agent](session))


def turn(agent: str, prompt: str, id: str) -> list[Json]:
    """A prompt, one file written, and a last word."""
    tool, path = TOOLS[agent]
    write = use(id, tool, **{path: f"/work/{id}.txt", "content": f"by {id}\n"})
    return [user(prompt), assistant(write), user(result(id, "Wrote file successfully.")), assistant(f"{id} is done.")]


@pytest.mark.parametrize("agent", HEADERS)
async def test_a_fork_tells_its_own_work_only(stage: Stage, agent: str, tmp_path: Path) -> None:
    first, second, third = (turn(agent, f"Do {id}.", id) for id in ("a", "b", "c"))
    stage.play(client(agent, "one"), first)
    for name, more in (("two", second), ("three", third)):
        for at in (1, 3):
            stage.call(client(agent, name), [*first, *more[:at]], more[at])
    told = await stage.told()
    assert [row.opencode_id for row in told.sessions] == ["one", "two", "three"]
    assert all(map(is_a_line, told.messages))
    assert [len(messages) for messages in told.messages] == [4, 8, 8], "but it says all that the model was told"
    events = {row.opencode_id: [e.file_path for e in told.events if e.session_id == row.id] for row in told.sessions}
    assert events == {"one": ["/work/a.txt"], "two": ["/work/b.txt"], "three": ["/work/c.txt"]}
    async with await open_store(sqlite_file(tmp_path / "whole.db")) as store:
        diffs = [(await query.diff(store, row.id)).text for row in told.sessions]
    assert [[f"by {id}" in diff for id in "abc"] for diff in diffs] == [
        [True, False, False], [False, True, False], [False, False, True],
    ]  # fmt: skip


@pytest.mark.parametrize("agent", HEADERS)
async def test_a_fork_of_a_fork_and_the_same_fork_again_tell_their_own_work(stage: Stage, agent: str) -> None:
    first, second = (turn(agent, f"Do {id}.", id) for id in ("a", "b"))
    stage.play(client(agent, "one"), first)
    for name in ("two", "three"):
        for at in (1, 3):
            stage.call(client(agent, name), [*first, *second[:at]], second[at])
    third = turn(agent, "Do c.", "c")
    for at in (1, 3):
        stage.call(client(agent, "four"), [*first, *second, *third[:at]], third[at])
    told = await stage.told()
    events = {row.opencode_id: [e.file_path for e in told.events if e.session_id == row.id] for row in told.sessions}
    assert events == {"one": ["/work/a.txt"], "two": ["/work/b.txt"], "three": ["/work/b.txt"], "four": ["/work/c.txt"]}


@pytest.mark.parametrize("agent", HEADERS)
async def test_twins_that_say_the_same_are_no_forks(stage: Stage, agent: str) -> None:
    said = turn(agent, "Do a.", "a")
    for at in (1, 3):
        for name in ("one", "two"):
            stage.call(client(agent, name), said[:at], said[at])
    told = await stage.told()
    assert [event.file_path for event in told.events] == ["/work/a.txt"] * 2
    assert len({event.session_id for event in told.events}) == 2


@pytest.mark.parametrize("agent", HEADERS)
async def test_a_session_whose_beginning_was_not_recorded_tells_all_that_it_shows(stage: Stage, agent: str) -> None:
    first, second = (turn(agent, f"Do {id}.", id) for id in ("a", "b"))
    stage.play(client(agent, "one"), turn(agent, "Something else.", "a"))
    for at in (1, 3):
        stage.call(client(agent, "two"), [*first, *second[:at]], second[at])
    told = await stage.told()
    two = next(row for row in told.sessions if row.opencode_id == "two")
    assert [e.file_path for e in told.events if e.session_id == two.id] == ["/work/a.txt", "/work/b.txt"]
