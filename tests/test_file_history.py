"""Files across sessions: their events by any way to name a file, and who last wrote each line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ocproxy import OpencodeSessionService
from ocproxy.agents.catalog import agent_named
from ocproxy.config import Journal
from ocproxy.errors import Ambiguous, NotFound
from ocproxy.files.diff import resolve
from ocproxy.files.folding import ledger_of
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.model import EventType, Status
from ocproxy.query.blame import Wanted, blame
from ocproxy.query.history import files_of
from ocproxy.query.paths import FilePattern
from ocproxy.store.base import Store, open_store
from tests.support.conversations import Relay, assistant, result, use, user
from tests.support.engines import sqlite_file
from tests.support.programs import program_of
from tests.support.sessions import load, one_of_each_agent

pytestmark = pytest.mark.anyio

FITTING = [
    ("/w/src/app.py", "/w/src/app.py", True),
    ("/w/src/app.py", "/x/w/src/app.py", False),
    ("/w/./src/../src/app.py", "/w/src/app.py", True),
    ("app.py", "/w/src/app.py", True),
    ("app.py", "app.py", True),
    ("pp.py", "/w/src/app.py", False),
    ("src/app.py", "/w/src/app.py", True),
    ("src/app.py", "/w/lib/app.py", False),
    ("./app.py", "/w/src/app.py", True),
    ("src/", "/w/src/deep/app.py", True),
    ("src/", "/w/src", False),
    ("/w/", "/w/src/app.py", True),
    ("/", "/w/src/app.py", True),
    ("*.py", "/w/src/app.py", True),
    ("src/*.py", "/w/src/app.py", True),
    ("src/*.py", "/w/src/deep/app.py", False),
    ("src/**/*.py", "/w/src/deep/er/app.py", True),
    ("src/**/*.py", "/w/src/app.py", True),
    ("/w/**", "/w/src/app.py", True),
    ("a?p.py", "/w/src/app.py", True),
    ("[a-c]pp.py", "/w/app.py", True),
    ("[!a]pp.py", "/w/app.py", False),
    ("[z-a]pp.py", "/w/app.py", True),
    ("[", "/w/[", True),
    ("a+(b).py", "/w/a+(b).py", True),
    ("*", "/w/app.py", True),
    ("APP.py", "/w/app.py", False),
    ("C:\\w\\app.py", "C:/w/app.py", True),
    ("dätei.py", "/w/dätei.py", True),
]


@pytest.mark.parametrize(("typed", "path", "fits"), FITTING)
async def test_a_file_is_meant_by_its_path_its_end_a_folder_or_a_pattern(typed: str, path: str, fits: bool) -> None:
    pattern = FilePattern(typed)
    assert pattern.fits(path) is fits
    assert not fits or pattern.part.lower() in path.rpartition("/")[2].lower()


WHERE = "# Environment\n - Primary working directory: {}\n"


class Conversation:
    """A Claude Code in its folder: each step is a tool use and its result."""

    def __init__(self, relay: Relay, name: str, folder: str = "/w") -> None:
        self._relay, self._name, self._system = relay, name, WHERE.format(folder)
        self._history: list[dict[str, Any]] = [user(f"I am {name}.")]

    def step(self, tool: str, answer: str, **given: Any) -> None:
        id = f"toolu_{self._name}_{len(self._history)}"
        said = assistant("So be it.", use(id, tool, **given))
        self._relay.call(self._history, said, session=self._name, run="r", system=self._system)
        self._history += [said, user(result(id, answer))]

    def end(self) -> None:
        self._relay.call(self._history, assistant("Done."), session=self._name, run="r", system=self._system)


UPDATED = "The file {} has been updated successfully. (file state is current in your context — no need to Read it back)"


def numbered(*lines: str) -> str:
    return "\n".join(f"{number}\t{line}" for number, line in enumerate([*lines, ""], 1))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    relay = Relay(tmp_path / "journal" / "worker-0")
    first = Conversation(relay, "first")
    first.step("Read", numbered("a", "b", "c"), file_path="/w/a.txt")
    first.step("Edit", UPDATED.format("/w/a.txt"), file_path="/w/a.txt", old_string="b", new_string="B")
    first.end()
    second = Conversation(relay, "second", "/w/sub")
    second.step("Read", numbered("a", "B", "by hand", "c"), file_path="/w/a.txt")
    second.step("Edit", UPDATED.format("/w/a.txt"), file_path="/w/a.txt", old_string="c", new_string="C\nD")
    second.step("Write", "File created successfully at: /w/sub/a.txt", file_path="/w/sub/a.txt", content="x\n")
    second.end()
    relay.close()
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        yield store


async def test_events_of_a_file_come_from_all_sessions(store: Store) -> None:
    rows = await files_of(store, "/w/a.txt")
    assert [(row["event_type"], row["added"], row["removed"]) for row in rows] == [
        ("read", None, None), ("edit", 1, 1), ("read", None, None), ("edit", 2, 1),
    ]  # fmt: skip
    assert len({row["session_id"] for row in rows}) == 2
    assert {row["workdir"] for row in rows} == {"/w", "/w/sub"} and {row["agent_name"] for row in rows} == {
        "claude-code"
    }
    assert [row["resolved"] for row in await files_of(store, "sub/a.txt")] == ["/w/sub/a.txt"]
    assert len(await files_of(store, "a.txt")) == 5 == len(await files_of(store, "*.txt"))
    assert await files_of(store, "a.txt", "first") == rows[:2]
    assert await files_of(store, "/w/b.txt") == []
    json.dumps(rows)


async def test_each_line_names_the_session_the_message_and_the_agent_that_wrote_it(store: Store) -> None:
    found = await blame(store, Wanted(["/w/a.txt"]))
    ids = {row.opencode_id: row.id for row in (one.row for one in await store.summaries())}
    told = [(line["text"], line["by"], line["session_id"]) for line in found["lines"]]
    assert told == [
        ("a", "before", None), ("B", "session", ids["first"]), ("by hand", "outside", None),
        ("C", "session", ids["second"]), ("D", "session", ids["second"]),
    ]  # fmt: skip
    line = found["lines"][1]
    message = next(row for row in await store.messages(ids["first"]) if row.id == line["message_id"])
    assert message.role == "assistant" and line["tool_name"] == "Edit" and line["agent_name"] == "claude-code"
    assert (found["is_current"], line["certainty"]) == (False, "exact")
    json.dumps(found)


async def test_lines_of_the_file_as_it_is_now_are_told_and_chosen_by_number(store: Store) -> None:
    now = "new\na\nB\nby hand\nC\nD\n"
    found = await blame(store, Wanted(["/w/a.txt"], 1, 3, now))
    assert [(line["number"], line["text"]) for line in found["lines"]] == [(1, "new"), (2, "a"), (3, "B")]
    assert [line["by"] for line in found["lines"]] == ["outside", "before", "session"]
    assert found["is_current"]
    assert [line["text"] for line in (await blame(store, Wanted(["/w/a.txt"], 5, None, now)))["lines"]] == ["C"]
    with pytest.raises(NotFound, match="has no line 7: 6 are known"):
        await blame(store, Wanted(["/w/a.txt"], 7, None, now))


async def test_a_file_is_named_by_the_end_of_its_path_when_that_is_one(store: Store) -> None:
    assert (await blame(store, Wanted(["/elsewhere/sub/a.txt", "sub/a.txt"])))["path"] == "/w/sub/a.txt"
    with pytest.raises(Ambiguous, match="one of 2 files: /w/a.txt, /w/sub/a.txt"):
        await blame(store, Wanted(["a.txt"]))
    with pytest.raises(NotFound, match="nothing is recorded of b.txt"):
        await blame(store, Wanted(["b.txt"]))


async def test_lines_keep_their_origin_when_the_file_is_moved_and_the_old_name_is_gone(tmp_path: Path) -> None:
    relay = Relay(tmp_path / "journal" / "worker-0")
    first, second = Conversation(relay, "first"), Conversation(relay, "second")
    first.step("Write", "File created successfully at: /w/old.txt", file_path="/w/old.txt", content="a\nb\n")
    first.end()
    moved = {"source": "/w/old.txt", "destination": "/w/new.txt"}
    second.step("mcp__filesystem__move_file", "Successfully moved /w/old.txt to /w/new.txt", **moved)
    second.end()
    relay.close()
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        wrote = await store.find_sessions("first")
        lines = (await blame(store, Wanted(["/w/new.txt"])))["lines"]
        assert [(line["text"], line["session_id"]) for line in lines] == [("a", wrote[0]), ("b", wrote[0])]
        with pytest.raises(NotFound, match=r"/w/old.txt is gone: the session \w+ moved it to /w/new.txt"):
            await blame(store, Wanted(["/w/old.txt"]))


async def test_what_a_program_stored_by_hand_is_likely_where_its_lines_are_found(store: Store) -> None:
    async with program_of(store) as db:
        service = OpencodeSessionService(db)
        stored = await service.get_or_create_session("ses_1", "coder", "/w")
        said = await service.persist_message(stored, "assistant", [])
        write = {"type": "tool_use", "name": "write", "input": {"path": "/w/seed.txt", "content": "one\ntwo\n"}}
        await service.persist_file_events(said, [write])
    found = await blame(store, Wanted(["/w/seed.txt"], None, None, "zero\none\ntwo\n"))
    told = [(line["by"], line["certainty"], line["agent_name"]) for line in found["lines"]]
    assert told == [("unknown", "exact", None), *[("session", "inferred", "coder")] * 2]
    with pytest.raises(NotFound, match="nothing is known of the content"):
        await blame(store, Wanted(["/w/seed.txt"]))


@pytest.mark.parametrize("name", one_of_each_agent())
async def test_what_a_real_agent_wrote_is_blamed_on_it(name: str, tmp_path: Path) -> None:
    session = load(name)
    writer = JournalWriter.open(tmp_path / "journal" / "worker-0", Journal())
    for _ in session.play(writer):
        pass
    writer.close()
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        blamed = 0
        for summary in await store.summaries():
            row = summary.row
            ledger = ledger_of(row, agent_named(row.plugin or row.agent_name), await store.messages(row.id))
            for event in await store.file_events(row.id):
                if event.status is Status.APPLIED and event.event_type in (EventType.WRITE, EventType.EDIT):
                    path = resolve(event.file_path or "", row.workdir)
                    text = ledger._tracks[path].disk.text()
                    if text is not None:
                        lines = (await blame(store, Wanted([path])))["lines"]
                        assert "".join(f"{line['text']}\n" for line in lines).rstrip("\n") == text.rstrip("\n")
                        assert "session" in {line["by"] for line in lines}
                        blamed += 1
        by_commands = name.startswith(("mini-swe-agent", "smolagents-code"))
        assert blamed or by_commands, "they alone change files by commands or programs only"
