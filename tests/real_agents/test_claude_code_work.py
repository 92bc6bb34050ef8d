"""A real Claude Code does everything once, in both request layouts; the record is held against provider and disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.provider import Provider
from tests.real_agents.claude_code import KEY
from tests.real_agents.installation import Installation
from tests.real_agents.stage import Stage, apply, conversation, recorded, reduced, staged
from tests.real_agents.work import COMMANDS, everything, files_of
from tests.support.journals import read_tapes
from tests.support.provider import Awkward

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

CHANGES = ("write", "edit", "delete", "move")


@dataclass
class Played:
    """The stage after the run; `shown` is `ocproxy show --json` of its session."""

    stage: Stage
    opencode_id: str
    session: dict[str, Any]
    shown: dict[str, Any]


VARIANTS: list[tuple[str, tuple[str, ...], type[Provider]]] = [
    ("newest model", (), Provider),
    ("older model", ("--model", "claude-sonnet-4-5"), Provider),
    ("gzip cut at odd places", (), Awkward),
]


# New models get environment and reminders as system messages in the middle, older ones as text of user messages.
@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: variant[0])
def played(
    request: pytest.FixtureRequest, installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    _, arguments, manners = request.param
    folder = tmp_path_factory.mktemp("work")
    with staged(folder, installation, lambda workdir: [everything("all", workdir)], manners) as stage:
        finished = stage.claude.run("Do the work.", *arguments)
        assert finished.result == "All done. Ünïcødé 🚀."
        stage.recorder.flush()
        session = stage.session(finished.session)
        yield Played(stage, finished.session, session, stage.show(session["id"]))


def events(played: Played, *types: str) -> list[dict[str, Any]]:
    return [event for event in played.shown["file_events"] if event["event_type"] in types]


def test_the_applied_file_events_replayed_give_the_final_tree(played: Played) -> None:
    tree = played.stage.copy_of_start("replayed")
    for event in events(played, *CHANGES):
        if event["status"] == "applied":
            assert event["diff"], event
            apply(event["diff"], tree)
    assert files_of(tree) == files_of(played.stage.workdir)


def test_the_diff_of_the_session_applied_gives_the_final_tree(played: Played) -> None:
    tree = played.stage.copy_of_start("diffed")
    apply(played.stage.recorder.run("diff", played.session["id"]), tree)
    assert files_of(tree) == files_of(played.stage.workdir)


def test_every_command_is_there_with_its_exit_code(played: Played) -> None:
    assert [(event["command"], event["exit_code"]) for event in events(played, "bash")] == COMMANDS


def test_the_failing_edit_and_read_are_told_as_failed(played: Played) -> None:
    failed = [event for event in played.shown["file_events"] if event["status"] == "failed"]
    files = [(event["event_type"], Path(event["file_path"]).name) for event in failed if event["event_type"] != "bash"]
    assert files == [("edit", "input.txt"), ("read", "missing.txt")]


def test_no_event_is_left_without_its_result(played: Played) -> None:
    assert {event["status"] for event in played.shown["file_events"]} == {"applied", "failed"}


def test_every_tool_use_has_its_event_and_none_is_there_twice(played: Played) -> None:
    calls = [block for turn in turns(played) for block in turn["content"] if block["type"] == "tool_use"]
    told = Counter(event["tool_use_id"] for event in played.shown["file_events"])
    assert told == Counter(block["id"] for block in calls)
    assert len({event["id"] for event in played.shown["file_events"]}) == len(calls)


def turns(played: Played) -> list[dict[str, Any]]:
    replies = [turn.reply for turn in played.stage.asked(played.opencode_id)]
    return [reply for reply in replies if reply]


def test_the_messages_are_what_the_provider_saw_and_said(played: Played) -> None:
    expected = conversation(played.stage.asked(played.opencode_id))
    assert [recorded(message) for message in played.shown["messages"]] == [reduced(message) for message in expected]


def test_every_request_is_one_call(played: Played) -> None:
    log = played.stage.provider.log
    calls = played.stage.recorder.ask("calls")
    assert len(calls) == len(log)
    assert len({call["id"] for call in calls}) == len(calls)
    assert all(served.complete for served in log)


def test_the_tokens_add_up_to_what_the_provider_counted(played: Played) -> None:
    usages = [reply["usage"] for reply in turns(played)]
    for column, field in [
        ("input_tokens", "input_tokens"),
        ("output_tokens", "output_tokens"),
        ("cache_read_tokens", "cache_read_input_tokens"),
        ("cache_write_tokens", "cache_creation_input_tokens"),
    ]:
        assert played.session[column] == sum(usage[field] for usage in usages), column


def test_the_session_says_whose_it_is_and_where(played: Played) -> None:
    assert played.session["agent_name"] == "claude-code"
    assert played.session["workdir"] == str(played.stage.workdir)
    assert played.session["protocol"] == "anthropic-messages"
    assert len(played.stage.sessions()) == 1


def test_the_journal_has_every_body_byte_for_byte(played: Played) -> None:
    tapes = read_tapes(played.stage.recorder.data)
    assert tapes.gaps == []
    taped = [(exchange.request, exchange.response) for found in tapes.exchanges.values() for exchange in found]
    expected = [(served.body, served.sent.partition(b"\r\n\r\n")[2]) for served in played.stage.provider.log]
    assert sorted(taped) == sorted(expected)


def test_no_key_is_in_the_data_folder(played: Played) -> None:
    files = [path for path in played.stage.recorder.data.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_rebuilt_database_has_equal_rows(played: Played) -> None:
    recorder = played.stage.recorder
    recorder.stop()
    asked = [("sessions",), ("show", played.session["id"]), ("files",), ("calls",)]
    before = [recorder.ask(*command) for command in asked]
    recorder.run("rebuild")
    assert [recorder.ask(*command) for command in asked] == before
