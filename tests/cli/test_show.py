"""`ocproxy show` and `sessions` of a session with failed tries and subagents: folded, nested, marked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from ocproxy.cli import app
from ocproxy.model import Batch
from tests.cli.rows import CHILD, PARENT, call, fill, session


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


def test_tries_of_one_turn_are_one_row(turns: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, *turns, "show", PARENT).partition("Calls")[2]
    assert len(shown.strip().splitlines()) == 3
    assert "tried 2 times (before: overloaded_error: Overloaded)" in shown
    assert len(printed(capsys, *turns, "show", PARENT, "--full").partition("Calls")[2].strip().splitlines()) == 4


def test_subagents_are_nested_and_marked_where_they_were_worked_out(
    turns: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = printed(capsys, *turns, "show", PARENT).partition("Subagents")[2].splitlines()
    assert shown[1].startswith(f"  {CHILD}  title") and shown[2].startswith("  a3    title")
    assert shown[2].endswith("(inferred)") and not shown[1].endswith("(inferred)")
    assert "(inferred)" in printed(capsys, *turns, "sessions")
