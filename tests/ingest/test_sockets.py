"""Calls over a WebSocket: each is recorded when it ends, exactly once, whatever is interrupted. From runs of Codex."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.config import Journal
from ocproxy.exchange import Ended, Gap, Kind, Opened, Outcome
from ocproxy.ingest import assemble
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.model import Batch, CallRow
from ocproxy.protocols.openai_responses_socket import ResponsesCalls
from ocproxy.store.base import Store, open_store
from tests.support.engines import sqlite_file
from tests.support.sockets import Line, SocketTape, drop_extensions, load_run
from tests.support.stored import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        yield store


def record(root: Path, lines: list[Line], **how: Any) -> None:
    """Write a run into a journal, as a relay that lives no longer than it."""
    writer = JournalWriter.open(root / "worker-0", Journal())
    SocketTape(writer, **how).play(lines)
    writer.close()


def facts(call: CallRow) -> tuple[Any, ...]:
    return (call.kind, call.protocol, call.status, call.outcome, call.reply_id, call.input_tokens, call.error)


async def test_a_run_is_one_session_with_each_message_once(root: Path, store: Store) -> None:
    record(root, load_run("code_mode"))
    await Ingest(store, root).catch_up()
    (summary,) = await store.summaries()
    messages = await store.messages(summary.row.id)
    assert (summary.row.workdir, summary.calls, len(messages)) == ("/tmp/widget", 16, 33)
    assert [message.depth for message in messages] == list(range(33))
    assert len({message.id for message in messages}) == 33
    answers = [message.id for message in messages if message.role == "assistant"]
    calls = await store.calls()
    assert [call.message_id for call in calls if call.kind == "main"] == answers
    assert len({call.id for call in calls}) == 16
    assert all(call.problems == [] and call.outcome == "complete" and call.status == 101 for call in calls)


async def test_a_call_is_recorded_when_it_ends_and_not_when_the_socket_closes(root: Path, store: Store) -> None:
    lines = load_run("code_mode")
    writer = JournalWriter.open(root / "worker-0", Journal())
    tape = SocketTape(writer)
    ingest = Ingest(store, root)
    told = 0
    for at, line in enumerate(lines[:150]):
        tape.play([line])
        ended = line.server is not None and '"response.completed"' in line.server[:40]
        told += ended
        if ended or at % 25 == 0:
            await ingest._cycle()
            assert len(await store.calls()) == told
    assert told == 7
    ingest._restart()
    writer.close()


async def test_an_interruption_after_any_call_gives_the_same_rows(tmp_path: Path, root: Path) -> None:
    record(root, load_run("subagent"))
    expected: dict[str, Any] | None = None
    for stop_after in (None, *range(10)):
        async with await open_store(sqlite_file(tmp_path / str(stop_after) / "ocproxy.db")) as store:
            if stop_after is not None:
                first = Ingest(store, root, batch_calls=1)
                for _ in range(stop_after):
                    await first._cycle()  # one call a cycle; a new Ingest below remembers nothing of it
                first._restart()
            await Ingest(store, root).catch_up()
            found = await rows(store)
        expected = expected or found
        assert found == expected


async def test_ingesting_again_from_the_beginning_changes_nothing(root: Path, store: Store) -> None:
    record(root, load_run("drops"))
    await Ingest(store, root).catch_up()
    before = await rows(store)
    positions = await store.positions()
    await store.commit(
        Batch(positions=[type(p)(p.journal, "0000000000:0", "0000000000:0") for p in positions.values()])
    )
    await Ingest(store, root).catch_up()
    assert await rows(store) == before


@pytest.mark.parametrize("how", [{"deflate": False}, {"cut": 1000}, {"cut": 37, "deflate": False}])
async def test_compression_and_cutting_change_nothing(
    root: Path, store: Store, tmp_path: Path, how: dict[str, Any]
) -> None:
    record(root, load_run("usage_limit"))
    record(tmp_path / "other", load_run("usage_limit"), **how)
    await Ingest(store, root).catch_up()
    async with await open_store(sqlite_file(tmp_path / "other.db")) as other:
        await Ingest(other, tmp_path / "other").catch_up()
        assert [facts(call) for call in await other.calls()] == [facts(call) for call in await store.calls()]
        (one,), (two,) = await store.summaries(), await other.summaries()
        keys = [[message.key for message in await s.messages(one.row.id)] for s in (store, other)]
        assert one.row.id == two.row.id and keys[0] == keys[1]


async def test_a_call_that_the_connection_broke_is_told_as_far_as_it_came(root: Path, store: Store) -> None:
    record(root, load_run("drops"))
    await Ingest(store, root).catch_up()
    calls = await store.calls()
    assert [call.outcome for call in calls] == ["complete", *["upstream_disconnected"] * 2, *["complete"] * 3]
    (summary,) = await store.summaries()
    events = await store.file_events(summary.row.id)
    assert {event.status.value for event in events} == {"applied"}
    messages = await store.messages(summary.row.id)
    assert sum(message.parent_id is None for message in messages) == 1


async def test_an_error_message_is_the_error_of_its_call(root: Path, store: Store) -> None:
    record(root, load_run("usage_limit"))
    await Ingest(store, root).catch_up()
    assert [call.error is not None for call in await store.calls()] == [False, False, True]


async def test_a_call_that_was_open_when_the_relay_died_is_told(root: Path, store: Store) -> None:
    record(root, load_run("usage_limit")[:-2])
    JournalWriter.open(root / "worker-0", Journal()).close()
    await Ingest(store, root).catch_up()
    assert [call.outcome for call in await store.calls()] == ["complete", "complete", "recorder_died"]


async def test_a_connection_without_a_call_is_told_itself(root: Path, store: Store) -> None:
    lines = load_run("usage_limit")
    record(root, [lines[0], lines[-1]])
    await Ingest(store, root).catch_up()
    (call,) = await store.calls()
    assert (call.status, call.kind, call.problems) == (101, "other", [])


@pytest.mark.parametrize("status", [401, 404, 426])
async def test_a_refused_upgrade_is_told_as_a_probe_with_its_status(root: Path, store: Store, status: int) -> None:
    (opening, *_) = load_run("usage_limit")
    writer = JournalWriter.open(root / "worker-0", Journal())
    number = writer.next_exchange()
    assert opening.request is not None
    opened = Opened(opening.request.encode(), "/v1/responses", "openai", "http://127.0.0.1:1", "127.0.0.1:2")
    writer.append(Kind.OPENED, number, msgspec.msgpack.encode(opened))
    writer.append(Kind.RESPONSE_HEAD, number, b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % status)
    writer.append(Kind.ENDED, number, msgspec.msgpack.encode(Ended(Outcome.COMPLETE)))
    writer.commit()
    writer.close()
    await Ingest(store, root).catch_up()
    (call,) = await store.calls()
    assert (call.status, call.kind, call.protocol) == (status, "probe", "openai-responses")
    assert call.problems == []


async def test_behind_a_gap_nothing_is_guessed(root: Path, store: Store) -> None:
    lines = load_run("usage_limit")
    middle = next(at for at, line in enumerate(lines) if line.server and '"response.completed"' in line.server[:40]) + 1
    writer = JournalWriter.open(root / "worker-0", Journal())
    tape = SocketTape(writer)
    tape.play(lines[: middle + 2])
    gap = Gap("the disk was full", 1, 10, 0)
    writer.append(Kind.GAP, tape.numbers[1], msgspec.msgpack.encode(gap))
    tape.play(lines[middle + 2 :])
    writer.close()
    await Ingest(store, root).catch_up()
    connection, prewarm, broken = await store.calls()
    assert (prewarm.outcome, prewarm.problems) == ("complete", [])
    assert (broken.outcome, broken.problems[0]["code"]) == ("upstream_disconnected", "gap")
    assert {problem["code"] for problem in connection.problems} == {"gap", "bad_frame"}


async def test_sockets_of_other_protocols_stay_one_exchange(root: Path, store: Store) -> None:
    lines = [
        line._replace(request=line.request.replace("/v1/responses", "/v1/realtime")) if line.request else line
        for line in load_run("usage_limit")
    ]
    record(root, lines)
    await Ingest(store, root).catch_up()
    (call,) = await store.calls()
    assert (call.path, call.protocol) == ("/v1/realtime", None)


async def test_a_full_budget_drops_no_connection(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "MOST_HELD", 1)
    record(root, load_run("compaction"))
    await Ingest(store, root).catch_up()
    assert len(await store.calls()) == 6


def test_a_handshake_can_be_without_extensions() -> None:
    assert drop_extensions("HTTP/1.1 101 S\r\nSec-WebSocket-Extensions: x\r\na: b\r\n\r\n") == (
        "HTTP/1.1 101 S\r\na: b\r\n\r\n"
    )


async def test_a_client_that_says_nothing_of_itself_has_one_session(root: Path, store: Store) -> None:
    record(root, load_run("sdk"))
    await Ingest(store, root).catch_up()
    (summary,) = await store.summaries()
    messages = await store.messages(summary.row.id)
    assert [(message.role, message.depth) for message in messages] == [
        (role, depth) for depth, role in enumerate(["user", "assistant"] * 3)
    ]


async def test_a_delta_may_continue_what_another_connection_said(root: Path, store: Store) -> None:
    """As where the provider keeps the responses."""
    opening, *rest = load_run("sdk")
    first = next(at for at, line in enumerate(rest) if line.server and '"response.completed"' in line.server[:40]) + 1
    later = [line._replace(connection=2) for line in (opening, *rest[first:])]
    record(root, [opening, *rest[:first], Line(1, ended="complete"), *later])
    await Ingest(store, root).catch_up()
    (summary,) = await store.summaries()
    messages = await store.messages(summary.row.id)
    assert [message.depth for message in messages] == list(range(6))
    assert all(call.problems == [] for call in await store.calls())


async def test_a_mistake_of_ours_costs_one_connection(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    record(root, load_run("sdk"))
    monkeypatch.setattr(ResponsesCalls, "server", fail)
    await Ingest(store, root).catch_up()
    calls = await store.calls()
    assert any("ZeroDivisionError: oops" in problem["message"] for call in calls for problem in call.problems)
