"""Every real agent does everything once, in each of its variants; the record is held against provider and disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.provider import Served
from ocproxy.demo.script import Script, text_of
from ocproxy.exchange import Outcome
from ocproxy.ingest.loop import Ingest
from ocproxy.store.base import open_store
from tests.real_agents.client import KEY, Client, Variant
from tests.real_agents.clients import variants
from tests.real_agents.conftest import Installed
from tests.real_agents.stage import Stage, apply, conversation, recorded, reduced, staged
from tests.real_agents.work import everything, exit_code_of, files_of
from tests.support import postgres
from tests.support.journals import Taped, read_tapes
from tests.support.scripted import blocks_of, dialect_of, request_of, usage_of
from tests.support.tables import BUT_FEED, assert_equal, tables

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

_LAST_CHUNK = b"0\r\n\r\n"
_LAST_EVENTS = (b"response.completed", b"data: [DONE]")
CHANGES = ("write", "edit", "delete", "move")
# A test of what only some agents do takes the runs of these.
with_tools = pytest.mark.parametrize("played", [one for one in variants() if not one.in_text], indirect=True, ids=str)
in_text = pytest.mark.parametrize("played", [one for one in variants() if one.in_text], indirect=True, ids=str)


@dataclass
class Played:
    """The stage after the run; `shown` is `ocproxy show --json` of its session."""

    variant: Variant
    script: Script
    stage: Stage[Client]
    opencode_id: str
    session: dict[str, Any]
    shown: dict[str, Any]


@pytest.fixture(scope="module", params=variants(), ids=str)
def played(
    request: pytest.FixtureRequest, installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    variant: Variant = request.param
    installation = installed(variant.client)
    with staged(
        tmp_path_factory.mktemp("work"),
        variant.client,
        installation,
        lambda workdir: [(variant.script or everything)("all", workdir, variant.tools)],
        variant.manners,
    ) as stage:
        stage.agent.options = variant.options
        finished = stage.agent.run("Do the work.", *variant.arguments)
        assert "All done. Ünïcødé 🚀." in finished.result
        stage.recorder.flush()
        (session,) = stage.sessions()
        script = (variant.script or everything)("all", stage.workdir, variant.tools)
        yield Played(variant, script, stage, finished.session, session, stage.show(session["id"]))


def events(played: Played, *types: str) -> list[dict[str, Any]]:
    return [event for event in played.shown["file_events"] if event["event_type"] in types]


def test_the_applied_file_events_replayed_give_the_final_tree(played: Played) -> None:
    tree = played.stage.copy_of_start("replayed")
    for event in events(played, *CHANGES):
        if event["status"] == "applied":
            assert event["diff"], event
            apply(local(event["diff"], played), tree)
    assert files_of(tree) == files_of(played.stage.workdir)


def local(diff: str, played: Played) -> str:
    """With paths in the working folder: where the wire does not tell it, they are absolute."""
    return diff.replace(f"{str(played.stage.workdir)[1:]}/", "")


def test_the_diff_of_the_session_applied_gives_the_final_tree(played: Played) -> None:
    tree = played.stage.copy_of_start("diffed")
    apply(local(played.stage.recorder.run("diff", played.session["id"]), played), tree)
    assert files_of(tree) == files_of(played.stage.workdir)


def test_every_command_is_there_with_its_exit_code(played: Played) -> None:
    calls = [call for step in played.script.steps for call in step.calls]
    commands = [command for call in calls if (command := played.variant.tools.command_of(call)) is not None]
    untold = [played.variant.last_command] if played.variant.exit_codes else commands
    codes = [None if command in untold else exit_code_of(command) for command in commands]
    assert [(event["command"], event["exit_code"]) for event in events(played, "bash")] == list(
        zip(commands, codes, strict=True)
    )


@with_tools
def test_the_failing_edit_and_read_are_told_as_failed(played: Played) -> None:
    failed = [event for event in played.shown["file_events"] if event["status"] == "failed"]
    files = [(event["event_type"], Path(event["file_path"]).name) for event in failed if event["event_type"] != "bash"]
    assert files == ([("edit", "input.txt"), ("read", "missing.txt")] if played.variant.files else [])


def test_no_event_is_left_without_its_result(played: Played) -> None:
    variant = played.variant
    said = {event["status"] for event in played.shown["file_events"] if event["event_type"] != "bash"}
    assert said == (
        ({"applied", "failed"} | (set() if variant.says_reads else {"unknown"})) if variant.files else set()
    )
    ends = [event["status"] for event in events(played, "bash")]
    if variant.last_command:
        assert ends.pop() == "requested"
    if variant.commands:
        assert set(ends) == ({"applied", "failed"} if variant.failures else {"unknown"})
    unknown = {event["event_type"] for event in played.shown["file_events"] if event["status"] == "unknown"}
    assert unknown <= {"bash", "read"}


@with_tools
def test_every_tool_use_has_its_event_and_none_is_there_twice(played: Played) -> None:
    said = conversation(played.stage.asked(*whose(played)))
    calls = [block for message in said for block in blocks_of(message) if block["type"] == "tool_use"]
    told = [event["tool_use_id"] for event in played.shown["file_events"]]
    assert [id_ for id_, _ in groupby(told)] == [block["id"] for block in calls]
    twice = Counter((e["tool_use_id"], e["event_type"], e["file_path"]) for e in played.shown["file_events"])
    assert set(twice.values()) == {1}
    assert len({event["id"] for event in played.shown["file_events"]}) == len(told)


@in_text
def test_what_is_written_into_answers_is_told_once_with_what_became_of_it(played: Played) -> None:
    """Commands in texts are told like those of tools."""
    found = [event for event in played.shown["file_events"] if event["event_type"] in CHANGES]
    assert tuple((e["event_type"], e["file_path"], e["status"]) for e in found) == played.variant.told
    assert {event["certainty"] for event in found if event["status"] == "applied"} <= {"exact"}


@in_text
def test_what_was_said_in_texts_is_told_once_and_in_its_order(played: Played) -> None:
    """The program puts messages of its own between: they are told as they crossed the wire, and each state of the files
    that are shown again with each request once."""
    turns = [served for served in played.stage.provider.log if played.stage.agent.is_turn(served)]
    told = [(role, blocks[0][1]) for role, blocks in map(recorded, played.shown["messages"])]
    sent = {one for turn in turns for one in said_in(turn)}
    assert [text for role, text in told if role == "assistant"] == [answer_of(turn) for turn in turns]
    assert [one for one in told if one[0] == "user" and one not in sent] == []
    assert max(Counter(told).values()) == 1
    asked = [told.index(("user", said_in(turn)[-1][1])) for turn in turns]
    answers = [told.index(("assistant", answer_of(turn))) for turn in turns]
    assert sorted([*asked, *answers]) == [at for pair in zip(asked, answers, strict=True) for at in pair]


def said_in(turn: Served) -> list[tuple[str, str]]:
    """Role and text of the messages of a request."""
    dialect = dialect_of(turn)
    assert dialect
    return [(message["role"], text_of(message)) for message in dialect.history(request_of(turn))]


def answer_of(turn: Served) -> str:
    dialect = dialect_of(turn)
    assert dialect and turn.reply
    return text_of(dialect.said(turn.reply))


def flat(messages: Iterable[tuple[str, list[tuple[str, ...]]]]) -> list[tuple[str, ...]]:
    """What was said, without the limits of messages, which some protocols draw otherwise than we do."""
    return [(role, *block) for role, blocks in messages for block in blocks]


def whose(played: Played) -> tuple[str | None, str | None]:
    """The main conversation, as the wire names it."""
    turn = next(served for served in played.stage.provider.log if played.stage.agent.is_turn(served))
    return played.stage.agent.whose(turn)


@with_tools
def test_the_messages_are_what_the_provider_saw_and_said(played: Played) -> None:
    expected = conversation(played.stage.asked(*whose(played)))
    if played.variant.protocol == "anthropic-messages":
        assert [recorded(message) for message in played.shown["messages"]] == [reduced(m) for m in expected]
    assert flat(map(recorded, played.shown["messages"])) == flat(map(reduced, expected))


def test_every_request_is_one_call(played: Played) -> None:
    log = played.stage.provider.log
    calls = played.stage.recorder.ask("calls")
    assert len(calls) == sum(served.status != 101 for served in log)  # the messages of a connection are its calls
    assert len({call["id"] for call in calls}) == len(calls)
    assert all(served.complete for served in log if served.status != 101)


def test_the_tokens_add_up_to_what_the_provider_counted(played: Played) -> None:
    log = [served for served in played.stage.provider.log if played.stage.agent.counts(served)]
    # Chat Completions counts in a stream only where it is asked to.
    always = played.variant.protocol == "anthropic-messages"
    answered = [
        served
        for served in log
        if dialect_of(served) and served.reply and (always or b"usage" in served.sent or served.method == "WEBSOCKET")
    ]
    counted = [usage_of(served) for served in answered]
    for name in ("input", "output", "cache_read", "cache_write"):
        assert (played.session[f"{name}_tokens"] or 0) == sum(usage[name] or 0 for usage in counted), name


def test_the_session_says_whose_it_is_and_where(played: Played) -> None:
    assert played.session["agent_name"] == played.variant.agent
    assert played.session["protocol"] == played.variant.protocol
    if played.variant.says_workdir:
        assert played.session["workdir"] == str(played.stage.workdir)
    if played.opencode_id:
        assert played.session["opencode_id"] == played.opencode_id
    assert len(played.stage.sessions()) == 1


def test_the_journal_has_every_body_byte_for_byte(played: Played) -> None:
    tapes = read_tapes(played.stage.recorder.data)
    assert tapes.gaps == []
    taped = [(exchange.request, whole(exchange)) for found in tapes.exchanges.values() for exchange in found]
    exchanges = [served for served in played.stage.provider.log if served.method != "WEBSOCKET"]
    expected = [(served.body, served.sent.partition(b"\r\n\r\n")[2]) for served in exchanges]
    assert sorted(taped) == sorted(expected)


def whole(exchange: Taped) -> bytes:
    """The response; with its last chunk, where the client hung up when it had the last event."""
    assert exchange.ended
    hung_up = exchange.ended.outcome is Outcome.CLIENT_DISCONNECTED
    hung_up &= any(event in exchange.response for event in _LAST_EVENTS)
    return exchange.response.removesuffix(_LAST_CHUNK) + _LAST_CHUNK if hung_up else exchange.response


def test_no_key_is_in_the_data_folder(played: Played) -> None:
    files = [path for path in played.stage.recorder.data.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_rebuilt_database_has_equal_rows(played: Played) -> None:
    """In all tables that say what was recorded."""
    recorder = played.stage.recorder
    recorder.stop()

    async def stored() -> dict[str, list[dict[str, Any]]]:
        async with await open_store(f"sqlite:///{recorder.data / 'ocproxy.db'}") as store:
            return await tables(store, BUT_FEED)

    before = asyncio.run(stored())
    recorder.run("rebuild")
    assert_equal(asyncio.run(stored()), before)


def test_both_engines_have_equal_rows(played: Played, tmp_path: Path) -> None:
    """Of the journal of this run, in all tables, ids included."""
    recorder = played.stage.recorder
    recorder.stop()
    database = postgres.make_database(migrated=True)

    async def ingested(url: str) -> dict[str, list[dict[str, Any]]]:
        async with await open_store(url) as store:
            await Ingest(store, recorder.data / "journal").catch_up()
            return await tables(store)

    try:
        on_sqlite = asyncio.run(ingested(f"sqlite:///{tmp_path / 'again.db'}"))
        on_postgres = asyncio.run(ingested(database.url))
    finally:
        postgres.drop_database(database)
    assert len(on_sqlite["opencode_file_events"]) == len(played.shown["file_events"])
    assert_equal(on_sqlite, on_postgres)
