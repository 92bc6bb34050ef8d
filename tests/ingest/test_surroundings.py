"""Changes, runs, folders and programs out of real traffic: exact, and the same by ingest, replay and upgrade."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ocproxy.config import Config, Price
from ocproxy.errors import StoreError
from ocproxy.ingest.loop import Ingest
from ocproxy.model import Batch
from ocproxy.service.rebuild import rebuild
from ocproxy.service.reprice import reprice
from ocproxy.store import migrations, schema
from ocproxy.store.base import Store, open_store
from ocproxy.work import task_id
from tests.support.conversations import Relay, assistant, result, use, user
from tests.support.engines import Engine, sqlite_file
from tests.support.programs import program_of
from tests.support.sessions import load, one_of_each_agent
from tests.support.stored import rows
from tests.support.tables import tables

pytestmark = pytest.mark.anyio
BEFORE = "20261130_add_search"
DERIVED = ("agent_sessions", "tasks", "pending_changes", "worktrees", "available_agents")
STATUS = (
    "<system-reminder>\n# gitStatus\nThis is the git status at the start of the conversation. Note that this status is"
    " a snapshot in time, and will not update during the conversation.\n\nCurrent branch: feature/x\n\nMain branch (you"
    " will usually use this for PRs): main\n</system-reminder>"
)
FOLDER = "<system-reminder>\n# Environment\n - Primary working directory: /home/user/My Project\n</system-reminder>"


def record(root: Path) -> None:
    """Runs of two agents: one that edits, fails, is refused and stops at a quota; one that is done; a call alone."""
    relay = Relay(root / "worker-0")
    history = [user("change the files", FOLDER, STATUS)]
    asked: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (
            use("t1", "Write", file_path="/home/user/My Project/new.txt", content="one\n"),
            result("t1", "File created successfully at: /home/user/My Project/new.txt"),
        ),
        (
            use("t2", "Edit", file_path="/home/user/My Project/new.txt", old_string="one", new_string="two"),
            result("t2", "The file /home/user/My Project/new.txt has been updated successfully."),
        ),
        (
            use("t3", "Edit", file_path="/home/user/My Project/other.txt", old_string="x", new_string="y"),
            result("t3", "<tool_use_error>String to replace not found in file.</tool_use_error>", is_error=True),
        ),
        (
            use("t4", "Write", file_path="/home/user/My Project/b.txt", content="b\n"),
            result("t4", "The user doesn't want to proceed with this tool use.", is_error=True),
        ),
        (use("t5", "Read", file_path="/home/user/My Project/new.txt"), result("t5", "1\ttwo\n2\t")),
        (use("t6", "Write", file_path="/home/user/My Project/c.txt", content="c\n"), {}),
    ]
    for ask, answer in asked:
        reply = assistant("next", ask)
        relay.call(history, reply, session="one", run="nightly", model="claude-opus-4-6")
        history = [*history, reply, user(answer)] if answer else history
    relay.call(history, None, session="one", run="nightly")
    relay.call([user("hi")], assistant("hello"), run="done")
    relay.call([user("hi"), assistant("hello"), user("more")], assistant("All is done.\nYes."), run="done")
    relay.call([user("no run")], assistant("yes"), session="two")
    relay.close()


async def test_changes_of_files_are_pending_until_the_result_tells(engine: Engine, tmp_path: Path) -> None:
    record(tmp_path / "journal")
    async with await open_store(engine.fresh()) as store:
        seen: list[list[tuple[str, ...]]] = []
        ingest = Ingest(store, tmp_path / "journal", batch_calls=1)
        while await ingest._cycle():
            told: list[tuple[str, ...]]
            told = [(row.path.rpartition("/")[2], row.operation, row.status) for row in await store.pending_changes()]
            seen += [told] if told not in seen else []
            events = {event.id: event for event in await store.file_events()}
            wanted = {"requested": "pending", "applied": "applied", "failed": "rejected", "rejected": "rejected"}
            for row in await store.pending_changes():
                event = events[row.file_event_id]
                assert (row.status, row.diff) == (wanted[event.status], event.diff)
        ingest._restart()  # closes its files
        first = ("new.txt", "create")
        assert seen[:2] == [[(*first, "pending")], [(*first, "applied"), ("new.txt", "edit", "pending")]]
        assert seen[-1] == [
            (*first, "applied"), ("new.txt", "edit", "applied"), ("other.txt", "edit", "rejected"),
            ("b.txt", "create", "rejected"), ("c.txt", "create", "pending"),
        ]  # fmt: skip
        changes = await store.pending_changes()
        assert {(row.agent, row.task_id) for row in changes} == {("claude-code", task_id("nightly"))}


async def test_runs_folders_and_programs_are_told_by_their_calls(tmp_path: Path) -> None:
    record(tmp_path / "journal")
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        done, nightly = sorted(await store.tasks(), key=lambda task: task.run or "")
        assert (done.state, done.calls, done.output_summary, done.input) == ("completed", 2, "All is done.\nYes.", "hi")
        assert (nightly.state, nightly.calls, nightly.cost_tokens) == ("failed", 7, 6 * 18)
        assert nightly.reason == "overloaded_error: Overloaded"
        assert [item.run for item in await store.inbox()] == ["nightly"]
        (folder,) = await store.worktrees()
        assert (folder.path, folder.branch, folder.slug) == ("/home/user/My Project", "feature/x", "my-project")
        assert nightly.worktree_id == folder.id
        (program,) = await store.available_agents()
        assert (program.name, program.version, program.label) == ("claude-code", "2.1.329", "claude-cli")
        assert (program.models, program.transport) == (["claude-opus-4-6"], "http")


async def added_up(store: Store) -> dict[Any, tuple[int, ...]]:
    """What the sums of agents and runs must be: added up from the calls."""
    found: dict[Any, list[int]] = {}
    for call in await store.calls():
        keys: list[Any] = [(call.session_id, call.agent_name)] if call.session_id else []
        for key in [*keys, *([task_id(call.run)] if call.run else [])]:
            so_far = found.setdefault(key, [0, 0, 0, 0])
            tokens = [call.input_tokens, call.output_tokens, call.cost]
            found[key] = [a + (b or 0) for a, b in zip(so_far, [1, *tokens], strict=True)]
    return {key: tuple(sums) for key, sums in found.items()}


async def kept(store: Store) -> dict[Any, tuple[int, ...]]:
    agents = {(row.session_id, row.agent): row for row in await store.agent_sessions()}
    every: dict[Any, Any] = {**agents, **{row.id: row for row in await store.tasks()}}
    return {key: (row.calls, row.input_tokens, row.output_tokens, row.cost) for key, row in every.items()}


async def test_the_sums_are_exact_after_restarts_a_replay_and_other_prices(engine: Engine, tmp_path: Path) -> None:
    record(tmp_path / "journal")
    url = engine.fresh()
    async with await open_store(url) as store:
        ingest = Ingest(store, tmp_path / "journal", batch_calls=1)
        for _ in range(4):
            await ingest._cycle()
            ingest._restart()
            ingest = Ingest(store, tmp_path / "journal", batch_calls=2)
        await ingest.catch_up()
        once = await rows(store)
        assert await kept(store) == await added_up(store)
        reset = [type(p)(p.journal, "0000000000:0", "0000000000:0") for p in (await store.positions()).values()]
        await store.commit(Batch(positions=reset))
        await Ingest(store, tmp_path / "journal").catch_up()
        assert await rows(store) == once
    if engine.name == "memory":
        return
    prices = {"claude-opus-4-6": Price(input=1000, output=3000)}
    assert (await reprice(Config(data_dir=str(tmp_path / "data"), database_url=url, prices=prices))).changed
    async with await open_store(url) as store:
        assert await kept(store) == await added_up(store) != {}
        assert (await tables(store))["agent_sessions"] != once["tables"]["agent_sessions"]


@pytest.mark.parametrize("case", ["made up", *one_of_each_agent()])
async def test_a_database_with_sessions_has_the_rows_after_the_upgrade(case: str, tmp_path: Path) -> None:
    """They are those of the ingest, but for what only the wire tells."""
    if case == "made up":
        record(tmp_path / "journal")
    else:
        play(case, tmp_path / "journal")
    await compare_upgraded(f"sqlite:///{tmp_path / 'ocproxy.db'}", tmp_path / "journal")


async def test_an_upgrade_fills_the_tables_on_every_engine(engine: Engine, tmp_path: Path) -> None:
    record(tmp_path / "journal")
    await compare_upgraded(engine.fresh(), tmp_path / "journal")


def play(case: str, folder: Path) -> None:
    relay = Relay(folder / "worker-0")
    for _ in load(case).play(relay.writer):
        assert relay.writer.commit()
    relay.close()


async def compare_upgraded(url: str, journal: Path) -> None:
    async with await open_store(url) as store:
        await Ingest(store, journal).catch_up()
        expected = await tables(store)
    for row in expected["worktrees"]:
        row |= {"branch": None, "base_commit": None}
    for row in expected["available_agents"]:
        row |= {"label": None, "transport": None}
    assert expected["agent_sessions"]
    await asyncio.to_thread(migrations.downgrade, url, BEFORE)
    await asyncio.to_thread(migrations.upgrade, url)
    async with await open_store(url) as store:
        found = await tables(store)
        for name in DERIVED:
            assert found[name] == expected[name], name
        assert [item.run for item in await store.inbox()] == [
            task["run"] for task in expected["tasks"] if task["state"] in ("failed", "blocked")
        ]


async def test_codex_tells_the_commit_of_its_folder(tmp_path: Path) -> None:
    play("codex-http-functions-a-short-session", tmp_path / "journal")
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await Ingest(store, tmp_path / "journal").catch_up()
        (program,) = await store.available_agents()
        assert (program.name, program.label) == ("codex", "codex_exec")
        told = [(row.path, row.branch, row.base_commit) for row in await store.worktrees()]
        assert told == [("/home/user/project", None, "0000000000000000000000000000000000000009")]


async def test_a_rebuild_gives_the_same_rows_and_refuses_to_lose_what_no_journal_tells(tmp_path: Path) -> None:
    config = Config(data_dir=str(tmp_path))
    record(config.journal_path)
    async with await open_store(config.store_url) as store:
        await Ingest(store, config.journal_path).catch_up()
        expected = await rows(store)
    await rebuild(config)
    async with await open_store(config.store_url) as store:
        assert await rows(store) == expected
        async with program_of(store) as db:
            await db.execute(sa.update(schema.TASKS).values(is_launched=True).where(schema.TASKS.c.run == "done"))
            reverted = sa.update(schema.PENDING_CHANGES).where(schema.PENDING_CHANGES.c.status == "applied")
            await db.execute(reverted.values(status="reverted"))
            await db.commit()
    with pytest.raises(StoreError, match="1 runs and 2 reverted changes"):
        await rebuild(config)
    await rebuild(config, forget=True)
    async with await open_store(config.store_url) as store:
        assert await rows(store) == expected
