"""What the commands answer about a recording, to programs and to people."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.story import prepare
from tests.e2e.answers import Answers
from tests.e2e.conftest import Recording

SESSION_KEYS = {
    "id", "opencode_id", "agent_name", "workdir", "title", "parent_id", "protocol", "model", "created_at", "updated_at",
    "calls", "messages", "file_events", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
}  # fmt: skip
MESSAGE_KEYS = {"id", "role", "content", "parts", "created_at"}
EVENT_KEYS = {
    "id", "session_id", "message_id", "event_type", "file_path", "status", "diff", "command", "exit_code", "tool_name",
    "tool_use_id", "certainty", "created_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def session(recording: Recording) -> dict[str, Any]:
    (found,) = recording.answers.ask("sessions")
    assert isinstance(found, dict)
    return found


def test_flush_returned_when_everything_was_there(recording: Recording) -> None:
    assert recording.flushed == len(recording.answers.ask("calls")) > 0


def test_sessions_have_the_fixed_keys(session: dict[str, Any]) -> None:
    assert set(session) >= SESSION_KEYS
    assert session["protocol"] == "anthropic-messages" and session["calls"] > 3


def test_show_has_the_fixed_keys(recording: Recording, session: dict[str, Any]) -> None:
    found = recording.answers.ask("show", session["id"])
    assert set(found) >= {"session", "messages", "file_events", "calls"}
    assert all(set(message) >= MESSAGE_KEYS for message in found["messages"])
    changing = {"status": found["session"]["status"], "pruned_at": None}  # an agent is active for some minutes only
    assert found["session"] == {**session, **changing}
    assert len(found["messages"]) == session["messages"] and len(found["calls"]) == session["calls"]


def test_files_have_the_fixed_keys_and_are_the_same_for_one_session_and_for_all(
    recording: Recording, session: dict[str, Any]
) -> None:
    found = recording.answers.ask("files", session["id"])
    assert found == recording.answers.ask("files")
    assert all(set(event) >= EVENT_KEYS for event in found)
    assert {event["event_type"] for event in found} >= {"read", "write", "edit", "bash"}
    assert {event["status"] for event in found} >= {"applied", "failed"}


def test_the_diff_turns_the_tree_as_it_was_into_the_tree_as_it_is(
    recording: Recording, session: dict[str, Any], tmp_path: Path
) -> None:
    prepare(tmp_path)
    patch = recording.answers.run("diff", session["id"])
    subprocess.run(("git", "apply", "-"), cwd=tmp_path, input=patch.encode(), check=True)
    for file in recording.workdir.iterdir():
        if file.is_file():
            assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_an_id_may_be_shortened_and_a_wrong_one_is_told(recording: Recording, session: dict[str, Any]) -> None:
    assert recording.answers.ask("show", session["id"][:6])["session"]["id"] == session["id"]
    assert recording.answers.run("show", "zzzz", code=1) == ""


def test_people_see_what_was_done(recording: Recording, session: dict[str, Any]) -> None:
    shown = recording.answers.run("show", session["id"][:8])
    for words in ("Edit", "temperature.py", "applied", "failed", "Calls"):
        assert words in shown
    listed = recording.answers.run("sessions").splitlines()
    assert len(listed) == 2 and listed[1].startswith(session["id"][:8])
    assert len(recording.answers.run("files").splitlines()) == session["file_events"] + 1
    assert len(recording.answers.run("calls").splitlines()) == session["calls"] + 1


def test_nothing_piped_has_colours(recording: Recording, session: dict[str, Any]) -> None:
    for command in (("sessions",), ("show", session["id"]), ("files",), ("calls",), ("diff", session["id"])):
        assert "\x1b" not in recording.answers.run(*command)


def test_what_was_said_run_and_touched_is_found(recording: Recording, session: dict[str, Any]) -> None:
    found = recording.answers.ask("search", "temperature.py")
    assert {hit["kind"] for hit in found["hits"]} == {"message", "path"}
    assert {hit["session_id"] for hit in found["hits"]} == {session["id"]}
    (command,) = recording.answers.ask("search", "PYTHON", "check.py")["hits"]
    assert (command["kind"], command["command"], command["marks"]) == ("command", "python check.py", [[0, 6], [7, 15]])
    assert recording.answers.ask("search", "there is no such thing")["hits"] == []


def test_lines_on_disk_are_blamed_on_the_session_that_wrote_them(recording: Recording, session: dict[str, Any]) -> None:
    file = recording.workdir / "temperature.py"
    found = recording.answers.ask("blame", str(file))
    assert [line["text"] for line in found["lines"]] == file.read_text("utf-8").splitlines()
    (wrote,) = [line for line in found["lines"] if line["by"] != "before"]
    assert (wrote["session_id"], wrote["text"].strip()) == (session["id"], "return celsius * 9 / 5 + 32")
    assert recording.answers.ask("blame", f"{file}:{wrote['number']}")["lines"] == [wrote]
    note = recording.answers.ask("blame", f"{recording.workdir / 'CHANGES.md'}:1-2")["lines"]
    assert [(line["by"], line["agent_name"]) for line in note] == [("session", session["agent_name"])] * 2
    events = recording.answers.ask("files", "--path", "temperature.py")
    assert [event["event_type"] for event in events] == ["read", "edit", "edit"]


@pytest.fixture
def copy(recording: Recording, tmp_path: Path) -> Answers:
    """The recording in a folder of its own, to be changed."""
    shutil.copytree(recording.answers.data, tmp_path / "copy" / "data")
    return Answers(tmp_path / "copy" / "data")


def test_rebuilding_gives_the_same_rows(copy: Answers) -> None:
    before = {command: copy.ask(command) for command in ("sessions", "files", "calls")}
    shown = copy.ask("show", before["sessions"][0]["id"])
    found = copy.ask("search", "fahrenheit")
    counts = copy.ask("rebuild")
    assert counts["calls"] == len(before["calls"]) and counts["file_events"] == len(before["files"])
    assert {command: copy.ask(command) for command in before} == before
    assert copy.ask("show", before["sessions"][0]["id"]) == shown
    assert copy.ask("search", "fahrenheit") == found and found["hits"]
    assert not list(copy.data.glob("ocproxy.db.*")), "nothing is left beside the database"


def test_rebuilding_into_another_database_leaves_the_old_one_alone(recording: Recording, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.db'}"
    recording.answers.run("rebuild", "--into", url)
    other = recording.answers.ask("--database-url", url, "sessions")
    assert other == recording.answers.ask("sessions") != []
    recording.answers.run("rebuild", "--into", url, code=1)  # it is not empty any more


def test_a_database_that_is_gone_is_made_again_from_the_journal(copy: Answers) -> None:
    calls = copy.ask("calls")
    for file in copy.data.glob("ocproxy.db*"):
        file.unlink()
    copy.run("calls", code=1)
    copy.run("flush")
    assert copy.ask("calls") == calls
