"""`ocproxy search`, `blame` and `files --path` as people see them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ocproxy.cli.search import marked
from tests.cli import rows
from tests.e2e.answers import Answers


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    asyncio.run(rows.fill(tmp_path / "data"))
    return Answers(tmp_path / "data")


def test_what_was_found_is_marked_and_everything_is_inert() -> None:
    text = marked("a\x1b[2Jneedle\nb\tc", [[5, 11]])
    assert text.plain == "a\\x1b[2Jneedle ⏎ b c"
    assert [text.plain[span.start : span.end] for span in text.spans] == ["needle"]


def test_hits_are_told_one_a_line_and_inert(answers: Answers) -> None:
    head, *lines = answers.run("search", "owned").splitlines()
    assert head.split("\t") == ["TIME", "SESSION", "AGENT", "KIND", "TEXT"]
    assert {line.split("\t")[3] for line in lines} == {"user", "assistant", "command", "path"}
    assert all("\x1b" not in line and len(line.split("\t")) == 5 for line in lines)
    assert answers.run("search", "[red]x[/red]", "--limit", "1").count("\n") == 2


def test_nothing_found_is_said_with_what_was_looked_for(answers: Answers, capfd: pytest.CaptureFixture[str]) -> None:
    assert answers.run("search", "zzz", '"two words"', "--agent", "me") == ""
    assert 'no message, command or path holds "zzz" and "two words" (with --agent me)' in capfd.readouterr().err
    assert answers.run("search", "owned", "--limit", "1") != ""
    assert "there are more: these are the newest 1" in capfd.readouterr().err
    assert answers.ask("search", "zzz")["hits"] == []


def test_a_mistake_in_a_question_is_told(answers: Answers, capfd: pytest.CaptureFixture[str]) -> None:
    answers.run("search", " ", code=2)
    assert "nothing to search for" in capfd.readouterr().err
    answers.run("search", "x", "--since", "soon", code=2)
    answers.run("blame", "a.py:0", code=2)
    answers.run("blame", "a.py:5-2", code=2)
    capfd.readouterr()
    answers.run("blame", "a.py:5", code=1)
    assert "nothing is recorded of a.py" in capfd.readouterr().err


def test_events_of_a_file_tell_whose_they_are(answers: Answers, capfd: pytest.CaptureFixture[str]) -> None:
    head, line = answers.run("files", "--path", "x").splitlines()
    assert head.split("\t")[:4] == ["TIME", "SESSION", "AGENT", "EVENT"]
    assert line.split("\t")[1] == "aaaa0000"
    assert line.split("\t")[3:5] == ["edit", "applied"]
    assert [event["id"] for event in answers.ask("files", "--path", "/a")] == ["e2"]
    assert answers.run("files", "--path", "nothing.py") == ""
    assert "no session touched nothing.py" in capfd.readouterr().err


def test_an_older_database_is_upgraded_and_searched(tmp_path: Path) -> None:
    asyncio.run(rows.fill(tmp_path / "data"))
    answers = Answers(tmp_path / "data")
    before = answers.ask("search", "owned")
    answers.run("db", "downgrade", "20261130_add_seed_changes")
    assert answers.ask("search", "owned") == before and before["hits"] and before["indexed"]
