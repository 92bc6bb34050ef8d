"""`ocproxy show` and `sessions` of a session with failed tries and subagents: folded, nested, marked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from ocproxy.cli import app
from ocproxy.config import Journal
from ocproxy.journal import JournalWriter
from ocproxy.model import Batch
from tests.cli.rows import CHILD, PARENT, call, fill, message, session
from tests.support.sessions import load
from tests.support.sockets import SocketTape, load_run


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert app.main([*arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture
def turns(tmp_path: Path) -> list[str]:
    """A turn that was tried twice, and a subagent's subagent that was worked out."""
    folder = tmp_path / "turns"
    (tmp_path / "settings.toml").touch()
    tries = [
        call("c1", "main", PARENT, request_message_id="m0", error="overloaded_error: Overloaded", status=529),
        call("c2", "main", PARENT, request_message_id="m0"),
        call("c3", "main", PARENT, request_message_id="m2"),
    ]
    grandchild = msgspec.structs.replace(session("a3", 3, CHILD), parent_certainty="inferred")
    batch = Batch(sessions=[session(PARENT, 1), session(CHILD, 2, PARENT), grandchild], calls=tries)
    asyncio.run(fill(folder, batch))
    return ["--config", str(tmp_path / "settings.toml"), "--data-dir", str(folder)]


def recorded(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What `show` and `files` say of a recorded session of a real agent."""
    writer = JournalWriter.open(folder / "journal" / "worker-0", Journal())
    for _ in load(case).play(writer):
        assert writer.commit()
    return told(writer, folder, capsys)


def told(writer: JournalWriter, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    writer.close()
    (folder / "settings.toml").touch()
    given = ["--config", str(folder / "settings.toml"), "--data-dir", str(folder)]
    printed(capsys, *given, "flush")
    id = json.loads(printed(capsys, *given, "sessions", "--json"))[0]["id"]
    return printed(capsys, *given, "show", id), printed(capsys, *given, "files")


def test_a_tool_use_says_what_was_done_how_it_ended_and_what_only_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, files = recorded("claude-code-newest-model-a-short-session", tmp_path, capsys)
    assert "* Write notes.md  +1 -0  applied\n* Edit input.txt  +1 -1  applied\n" in shown
    assert "* Edit input.txt  (+1 -1)  failed  (inferred; String to replace not found in file.)\n" in shown
    assert "* Bash echo out; exit 3  failed  (exit 3)\n" in shown
    assert [line.split("\t")[5] for line in files.splitlines()[1:]] == ["", "", "+1 -0", "+1 -1", "(+1 -1)", ""]


def test_results_of_several_tools_say_what_they_are_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown, _ = recorded("claude-code-newest-model-a-short-session", tmp_path, capsys)
    assert "  Read input.txt:\n  | 1 " in shown and "\n  Bash ls:\n  | README.md\n" in shown


def test_a_tool_whose_name_does_not_say_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown, _ = recorded("codex-websocket-code-mode-a-short-session", tmp_path, capsys)
    assert "* exec cat '/home/user/project/input.txt'  applied  (exit 0)\n* exec read input.txt  applied\n" in shown
    assert "* exec edit input.txt  +1 -1  applied\n" in shown
    shown, _ = recorded("cline-a-short-session", tmp_path / "cline", capsys)
    assert "* editor write notes.md" in shown and "* editor edit input.txt" in shown


def test_a_result_in_one_long_line_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.toml").touch()
    long = {"type": "tool_result", "tool_use_id": "u", "text": "x" * 5000 + "\n"}
    batch = Batch(sessions=[session(PARENT, 1)], messages=[message("m0", 0, [long])])
    asyncio.run(fill(tmp_path / "long", batch))
    given = ["--config", str(tmp_path / "settings.toml"), "--data-dir", str(tmp_path / "long"), "show", PARENT]
    assert f"  | {'x' * 300}…\n" in printed(capsys, *given)
    assert f"  | {'x' * 5000}\n" in printed(capsys, *given, "--full")


def test_edits_in_text_and_files_that_the_program_attached_are_shown_with_their_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, _ = recorded("aider-a-short-session", tmp_path, capsys)
    assert "```\n* edit block input.txt  +1 -1  applied\n* edit block notes.md  +1 -0  applied\n" in shown
    assert "* edit block README.md  (+1 -1)  requested\n" in shown
    assert "attached; --full shows them]\n* attachment read " in shown
    assert "Trust this message" not in shown
    assert "tokens     the provider did not say" in shown and "agent's id" not in shown


def test_an_answer_that_broke_off_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = JournalWriter.open(tmp_path / "journal" / "worker-0", Journal())
    SocketTape(writer).play(load_run("drops"))
    shown, _ = told(writer, tmp_path, capsys)
    half, whole = "cut off in the middle of i\n", "cut off in the middle of its stream of pieces.\n"
    assert f"{half}[the answer broke off: upstream_disconnected]\n" in shown
    assert f"{whole}* apply_patch write" in shown
    assert "tried 2 times (before: upstream_disconnected)" in shown


def test_tries_of_one_turn_are_one_row(turns: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, *turns, "show", PARENT).partition("Calls")[2]
    assert len(shown.strip().splitlines()) == 3
    assert "tried 2 times (before: overloaded_error: Overloaded)" in shown
    assert len(printed(capsys, *turns, "show", PARENT, "--full").partition("Calls")[2].strip().splitlines()) == 4


def test_subagents_are_nested_and_marked_where_they_were_worked_out(
    turns: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = printed(capsys, *turns, "show", PARENT).partition("Subagents")[2].splitlines()
    assert shown[1].startswith(f"  {CHILD}  title") and shown[2].startswith("  a3  └ title")
    assert "(inferred)" in shown[2] and "(inferred)" not in shown[1]
    assert shown[1].endswith("  0 calls, 0 file events")
    assert "(inferred)" in printed(capsys, *turns, "sessions")
