"""Taking sessions out of a store, on each kind of database: all that belongs to them, and nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ocproxy.errors import StoreMoved
from ocproxy.exchange import Position, call_id
from ocproxy.model import Batch, CallRow, PromptRow, ToolUseRow
from ocproxy.store import schema
from ocproxy.store.base import Store, backend_of, open_store
from ocproxy.store.belongings import USAGE, doomed
from ocproxy.store.removal import Tie
from tests.support.rows import NOON, call, event, message, session
from tests.support.stored import rows

pytestmark = pytest.mark.anyio

JOURNAL = "a" * 32


def exchange(number: int, session_id: str | None, ordinal: int = 0, **fields: Any) -> CallRow:
    made = call(call_id(JOURNAL, number, ordinal), session_id, **fields)
    return msgspec.structs.replace(made, journal=JOURNAL, exchange=number, position=f"{number:010d}:99")


def batch(*ids: str, first: int = 1) -> Batch:
    """Sessions, each with two messages, a tool use, a file event and two calls, one with a prompt that all have."""
    made = Batch()
    for number, id in enumerate(ids, first):
        made.sessions.append(session(id, prompt=f"prompt of {id}", title=f"title of {id}"))
        made.messages += [
            message(f"{id}-m{seq}", id, seq, content=f"words of {id}", history=f"{id}-h{seq}") for seq in (0, 1)
        ]
        made.tool_uses.append(ToolUseRow(id, f"{id}-use", f"{id}-m0", "Edit"))
        made.file_events.append(msgspec.structs.replace(event(f"{id}-e"), session_id=id, message_id=f"{id}-m0"))
        made.prompts += [PromptRow(f"{id}-p", [f"system of {id}"], []), PromptRow("shared", ["shared"], [])]
        made.calls += [
            exchange(number * 2, id, prompt_hash=f"{id}-p", input_tokens=7, cost=5, title=f"title of {id}"),
            exchange(number * 2 + 1, id, prompt_hash="shared", input_tokens=1, error=f"words of {id}"),
        ]
    return made


def count(url: str) -> dict[str, int]:
    def look(connection: sa.Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0
            for table in schema.METADATA.sorted_tables
        }

    return backend_of(url).read(url, look) or {}


async def test_a_session_goes_with_all_that_belongs_to_it_and_another_stays_as_it_was(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(batch("s2", first=2))
        alone = await rows(store)
        await store.commit(batch("s1"))
        expected = await store.extent(["s1"])
        assert (expected.sessions, expected.messages, expected.file_events, expected.calls) == (1, 2, 1, 2)
        assert expected.rows == 8 and expected.content_bytes > 100 and expected.wire_bytes == 6
        assert await store.remove(["s1"], reason="delete") == expected
        assert await rows(store) == alone
        assert await store.prompt("s1-p") is None and await store.prompt("shared") is not None
        assert await store.sessions_of_tool_uses(["s1-use"], "claude-code", None) == {}
        assert await store.erasures() == {JOURNAL: {2: Position(2, 99), 3: Position(3, 99)}}
        done = await store.removals(5)
        assert [(one.seq, one.reason, one.sessions, one.messages, one.calls) for one in done] == [
            (1, "delete", 1, 2, 2)
        ]
        assert datetime.now(UTC) - done[0].at < timedelta(minutes=1)
    kept = await asyncio.to_thread(count, url)
    assert kept["tool_uses"] == kept["opencode_file_events"] == 1 and kept["prompts"] == 2
    assert kept["blobs"] == 3, "system of s2, that of all, and no tools"


async def test_what_is_erased_is_forgotten_and_nothing_else(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(batch("s1", "s2"))
        await store.remove(["s1", "s2"], reason="delete")
        await store.forget_erasures(JOURNAL, [2, 3, 4])
        await store.forget_erasures("b" * 32, [5])
        assert await store.erasures([JOURNAL]) == {JOURNAL: {5: Position(5, 99)}}
        assert await store.erasures(["b" * 32]) == {}


async def test_usage_outlives_content_without_a_word_of_what_was_said(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(batch("s1", "s2"))
        spent = await store.spending("session")
        gone = await store.remove(["s1"], keep_usage=True, reason="prune")
        assert (gone.sessions, gone.messages, gone.file_events, gone.calls) == (1, 2, 1, 2)
        assert await store.spending("session") == spent
        kept = await store.summary("s1")
        assert kept is not None and (kept.calls, kept.messages, kept.file_events, kept.cost) == (2, 0, 0, 5)
        assert (kept.row.title, kept.row.prompt, kept.row.workdir) == (None, None, "/w")
        for one in await store.calls("s1"):
            assert (one.title, one.prompt_hash, one.position, one.problems) == (None, None, "", [])
            assert one.error in (None, "")
        assert set(await store.pruned(["s1", "s2"])) == {"s1"}
        assert await store.prompt("s1-p") is None
        assert await store.erasures() == {JOURNAL: {2: Position(2, 99), 3: Position(3, 99)}}
        second = await store.summary("s2")
        assert second is not None and second.messages == 2 and second.row.title == "title of s2"
        # What is pruned already is not looked at again, and goes in the end, too.
        late = NOON + timedelta(days=1)
        assert [one.id for one in await store.old_sessions(late, keep_usage=True, after=None, limit=9)] == ["s2"]
        assert [one.id for one in await store.old_sessions(late, keep_usage=False, after=None, limit=9)] == ["s1", "s2"]
        await store.remove(["s1"], reason="prune")
        assert await store.summary("s1") is None and await store.pruned(["s1"]) == {}


@pytest.mark.parametrize("keep_usage", [False, True])
async def test_a_run_outlives_its_sessions_without_a_word_of_theirs(url: str, *, keep_usage: bool) -> None:
    async with await open_store(url) as store:
        for number, run in enumerate(("mine", "other"), 1):
            told = Batch(sessions=[session(f"s{number}", run=run, prompt="the secret")])
            told.messages.append(message(f"m{number}", f"s{number}", role="assistant", content="the secret"))
            made = exchange(number, f"s{number}", message_id=f"m{number}")
            told.calls.append(msgspec.structs.replace(made, run=run))
            await store.commit(told)
        before = {task.run: task for task in await store.tasks()}
        assert before["mine"].output_summary == "the secret"
        await store.remove(["s1"], keep_usage=keep_usage, reason="delete")
        after = {task.run: task for task in await store.tasks()}
        assert "the secret" not in str(after["mine"])
        assert (after["mine"].calls, after["other"]) == (1, before["other"])


async def test_calls_of_no_session_go_by_themselves(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(Batch(calls=[exchange(1, None), exchange(2, None), exchange(3, None, at=NOON)]))
        late = NOON + timedelta(days=1)
        old = await store.old_strays(late, keep_usage=True, after="", limit=2)
        assert len(old) == 2 and len(await store.old_strays(late, keep_usage=True, after=old[-1], limit=2)) == 1
        assert (await store.extent([], old)).calls == 2
        await store.remove([], old[:1], keep_usage=True, reason="prune")
        assert len(await store.calls()) == 3
        assert old[0] not in await store.old_strays(late, keep_usage=True, after="", limit=9)
        assert old[0] in await store.old_strays(late, keep_usage=False, after="", limit=9)
        await store.remove([], old, reason="prune")
        assert {one.id for one in await store.calls()} == {call_id(JOURNAL, n) for n in (1, 2, 3)} - set(old)
        assert await store.old_strays(NOON, keep_usage=False, after="", limit=9) == []


async def test_a_batch_that_adds_to_a_session_that_is_gone_is_not_stored(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(batch("s1", "s2"))
        known, none = await store.removed_since(None)
        assert (known, none) == (0, set())
        await store.remove(["s1"], reason="delete")
        await store.remove(["s9"], reason="delete")
        with pytest.raises(StoreMoved):
            await store.commit(batch("s4", "s1", first=4), removals=known)
        assert await store.summary("s4") is None and await store.summary("s1") is None
        await store.commit(batch("s3", first=3), removals=known)  # others go on, however much is removed
        assert await store.removed_since(known) == (2, {"s1", "s9"})
        assert await store.removed_since(2) == (2, set())
        await store.commit(batch("s1"), removals=2)  # who knows that it is gone may begin it anew
        assert await store.summary("s1") is not None


async def test_a_connection_that_calls_of_others_went_over_is_told(url: str) -> None:
    async with await open_store(url) as store:
        mixed = [exchange(7, "s1", 1), exchange(7, "s2", 2), exchange(7, None, 3), exchange(8, "s2", 1)]
        await store.commit(Batch(sessions=[session("s1"), session("s2")], calls=mixed))
        gone = await store.remove(["s1"], reason="delete")
        assert (gone.calls, gone.shared_calls) == (1, 2)
        assert await store.erasures() == {JOURNAL: {7: None}}, "nobody knows where the connection ends"
        assert len(await store.calls("s2")) == 2


async def tied(store: Store) -> None:
    marked = [{"type": "tool_use", "id": "t", "name": "Edit", "input": {}, "executor": "other session"}]
    later = NOON + timedelta(hours=1)
    await store.commit(
        Batch(
            sessions=[session("s"), session("child", parent_id="s"), session("fork"), session("twin"), session("else")],
            messages=[
                message("s0", "s", 0, history="h0"),
                message("s1", "s", 1, role="assistant", history="h1"),
                *[
                    msgspec.structs.replace(
                        message(f"{id}{seq}", id, seq, role=role, history=f"h{seq}", parts=parts), created_at=later
                    )
                    for id, parts in (("fork", marked), ("twin", [{"type": "text", "text": "hi"}]))
                    for seq, role in ((0, "user"), (1, "assistant"))
                ],
                message("else0", "else", 0, history="h0"),
            ],
        )
    )  # fmt: skip


async def test_ties_are_told_from_either_end_and_the_same_prompt_is_none(url: str) -> None:
    async with await open_store(url) as store:
        await tied(store)
        all_of_s = [Tie("fork", "s", "fork"), Tie("subagent", "s", "child"), Tie("twin", "s", "twin")]
        assert await store.ties(["s"]) == all_of_s
        assert await store.ties(["child"]) == [Tie("subagent", "s", "child")]
        assert Tie("fork", "s", "fork") in await store.ties(["fork"])
        assert await store.ties(["else"]) == []


def test_every_foreign_key_to_what_can_go_has_an_index() -> None:
    tables = {rows.table for rows in doomed(["s"], ["c"], keep_usage=False)}
    for table in schema.METADATA.sorted_tables:
        indexed = {tuple(index.columns)[0].name for index in table.indexes} | {tuple(table.primary_key)[0].name}
        for key in table.foreign_keys:
            if key.column.table in tables:
                assert key.parent.name in indexed, f"removing {key.column.table} searches all of {table}.{key.parent}"


def test_a_table_with_a_foreign_key_goes_with_what_it_points_at(monkeypatch: pytest.MonkeyPatch) -> None:
    other = sa.MetaData()
    for table in schema.METADATA.sorted_tables:
        table.to_metadata(other)

    def add(name: str, column: str, rule: str | None) -> None:
        key = sa.ForeignKey(column, ondelete=rule)
        sa.Table(name, other, sa.Column("id", sa.Text, primary_key=True), sa.Column("of", sa.Text, key))

    add("reviews", "opencode_file_events.id", "CASCADE")
    add("remarks", "reviews.id", None)
    add("bookmarks", "opencode_sessions.id", "SET NULL")
    monkeypatch.setattr(schema, "METADATA", other)
    for name in ("SESSIONS", "CALLS"):
        monkeypatch.setattr(schema, name, other.tables[getattr(schema, name).name])

    def order(*, keep_usage: bool) -> list[str]:
        return list(dict.fromkeys(rows.table.name for rows in doomed(["s"], [], keep_usage=keep_usage)))

    whole = order(keep_usage=False)
    assert {"reviews", "remarks", "agent_sessions"} <= set(whole) and "bookmarks" not in whole
    chain = ["remarks", "reviews", "opencode_file_events", "opencode_messages", "opencode_sessions"]
    assert [name for name in whole if name in chain] == chain
    assert not USAGE & set(order(keep_usage=True))
    assert {"reviews", "remarks"} <= set(order(keep_usage=True))
