"""The same traffic gives the same rows on every kind of database, ids included."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocproxy.config import Journal
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.store.base import open_store
from tests.support.conversations import Relay, assistant, result, use, user
from tests.support.engines import Engine
from tests.support.record_corpus import LONGER
from tests.support.sessions import load, one_of_each_agent
from tests.support.stored import rows
from tests.support.tables import assert_equal, tables

pytestmark = pytest.mark.anyio


def record(root: Path) -> None:
    """Two conversations in turns, one of them without a name, with what databases do not like."""
    relay = Relay(root / "worker-0")
    for session in ("one", None):
        history = [user(f"awkward \0 \ud800 é 😀 {session}")]
        for turn in range(6):
            id = f"call-{session}-{turn}" + "x" * 3_000 * (turn % 2)
            asked, said = [
                (use(id, "Write", file_path="/w/é.txt", content=f"a\0b {turn}\n"), "File created successfully"),
                (
                    use(id, "Edit", file_path="/w/é.txt", old_string=f" {turn - 1}", new_string=" \ud83d"),
                    "The file /w/é.txt has been updated successfully.",
                ),
                (use(id, "Bash", command=f"exit {turn}", zeta=1e2, alpha=[10**25]), "Exit code 3\nno"),
            ][turn % 3]
            reply = assistant(f"turn {turn}", asked)
            relay.call(history, reply, session=session)
            history += [reply, user(result(id, said, is_error=turn % 3 == 2))]
        relay.call(history, None, session=session)
    relay.call([user("a call alone")], assistant("yes"), run="a run")
    relay.close()


async def test_equal_traffic_gives_equal_rows_on_every_engine(engine: Engine, tmp_path: Path) -> None:
    record(tmp_path / "journal")
    found = []
    for url in (f"sqlite:///{tmp_path / 'reference.db'}", engine.fresh()):
        async with await open_store(url) as store:
            await Ingest(store, tmp_path / "journal").catch_up()
            found.append(await rows(store))
    reference, other = found
    assert len(reference["calls"]) == 15 and len(reference["file_events"]) == 12
    assert other == reference


async def test_recorded_sessions_of_real_agents_give_equal_rows_in_all_tables_on_every_engine(
    engine: Engine, tmp_path: Path
) -> None:
    """Each in a journal of its own, all in one database: a short one of each agent, and the longer ones."""
    names = [*one_of_each_agent(), *LONGER]
    for name in names:
        writer = JournalWriter.open(tmp_path / "journal" / name, Journal())
        for _ in load(name).play(writer):
            assert writer.commit()
        writer.close()
    found = []
    for url in (f"sqlite:///{tmp_path / 'reference.db'}", engine.fresh()):
        async with await open_store(url) as store:
            await Ingest(store, tmp_path / "journal").catch_up()
            found.append(await tables(store))
    reference, other = found
    assert len(reference["opencode_sessions"]) > 10 and len(reference["calls"]) > 2 * len(names)
    empty = {"gaps", "tasks", "removals", "erasures", "pruned_sessions"}  # no run was named, and nothing removed
    assert [name for name, rows in reference.items() if not rows and name not in empty] == []
    assert_equal(reference, other)


async def test_a_restart_in_the_middle_changes_nothing_on_any_engine(engine: Engine, tmp_path: Path) -> None:
    record(tmp_path / "journal")
    found = []
    for size in (50, 1):
        url = engine.fresh()
        async with await open_store(url) as store:
            first = Ingest(store, tmp_path / "journal", batch_calls=size)
            for _ in range(7 if size == 1 else 0):
                await first._cycle()  # one call a cycle; a new Ingest below remembers nothing of it
            first._restart()
            await Ingest(store, tmp_path / "journal").catch_up()
            found.append(await rows(store))
    assert found[0] == found[1]
