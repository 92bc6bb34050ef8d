"""Edits of notebooks: what they make of the file, held against the files that a real run of Claude Code left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocproxy.agents.base import Cell, Replacement
from ocproxy.agents.claude_code import AGENT
from ocproxy.files.derive import FileLedger
from ocproxy.model import FileEvent, Message, Status, ToolResult, ToolUse
from tests.agents.recorded import DATA, said
from tests.files.claude_session import AT, git_apply, plant

WORKDIR = "/home/user/project"
NOTEBOOK = {"cells": [{"cell_type": "code", "source": "x"}], "nbformat": 4, "nbformat_minor": 4}


def _text(name: str) -> str:
    return (DATA / name).read_bytes().decode()


def _edits(ledger: FileLedger, messages: list[Message]) -> list[FileEvent]:
    told: dict[int, FileEvent] = {}
    for message in messages:
        told |= {event.ordinal: event for event in ledger.take(message.role, message.parts, "m", AT)}
    return [event for _, event in sorted(told.items()) if event.tool_name == "NotebookEdit"]


def test_edits_of_a_notebook_whose_file_was_seen_give_the_files_bytes(tmp_path: Path) -> None:
    before, after = _text("notebook_4_5_before.ipynb.txt"), _text("notebook_4_5_after.ipynb.txt")
    ledger = FileLedger("s", WORKDIR, AGENT)
    ledger.requested(ToolUse("r", "mcp__fs__read_text_file", {"path": f"{WORKDIR}/nb.ipynb"}), "m", AT)
    ledger.answered(ToolResult("r", json.dumps({"content": before}, separators=(",", ":"))), AT)
    edits = _edits(ledger, said("mcp_and_notebook"))
    assert [(event.status.value, event.certainty) for event in edits[:3]] == [("applied", "exact")] * 3
    assert edits[3].status is Status.FAILED
    one_by_one, at_once = (
        plant(tmp_path / name, {"nb.ipynb": before, "input.txt": "alpha\nbeta\ngamma\n"})
        for name in ("one_by_one", "at_once")
    )
    for event in edits[:3]:
        git_apply(one_by_one, event.diff or "")
    git_apply(at_once, ledger.session_diff().text)
    for folder in (one_by_one, at_once):
        assert (folder / "nb.ipynb").read_bytes().decode() == after


def test_a_notebook_that_the_agent_wrote_can_be_followed_too(tmp_path: Path) -> None:
    ledger = FileLedger("s", WORKDIR, AGENT)
    edits = _edits(ledger, said("notebook_4_4"))
    assert [(event.status.value, event.certainty) for event in edits] == [("applied", "exact")] * 3
    folder = plant(tmp_path / "work", {})
    found = ledger.session_diff()
    git_apply(folder, found.text)
    assert found.notes == ()
    assert (folder / "nb.ipynb").read_bytes().decode() == _text("notebook_4_4_after.ipynb.txt")


def test_a_notebook_of_which_only_cells_were_seen_gives_inferred_diffs() -> None:
    ledger = FileLedger("s", WORKDIR, AGENT)
    edits = _edits(ledger, said("mcp_and_notebook"))
    assert [event.certainty for event in edits] == ["inferred"] * 4
    assert edits[0].note == "cell b2 of a notebook: its place in the file is not known"
    assert edits[0].diff and "+print(2)\n+y = 3\n" in edits[0].diff
    assert "nb.ipynb: not in this diff: an edit of a notebook's cell" in ledger.session_diff().notes


def test_numbers_in_the_cells_of_a_notebook_are_no_line_numbers() -> None:
    shown = '<cell id="b2">\n1\tone\n2\ttwo</cell id="b2">'
    read = ToolUse("r", "Read", {"file_path": "/w/nb.ipynb"})
    assert AGENT.answer(read, ToolResult("r", shown)).lines is None


@pytest.mark.parametrize(
    "more",
    [
        {"metadata": {"x": 1.0}},
        {"metadata": {"2": 1}},
        {"metadata": {"x": 2**60}},
        {"metadata": {"x": float("nan")}},
        {"metadata": {"x": "\ud800"}},
        {"cells": {}},
        {"cells": [1]},
    ],
)
def test_what_javascript_would_write_otherwise_is_not_followed(more: dict[str, object]) -> None:
    edit = Replacement("", "y", cell=Cell("cell-0"))
    assert AGENT.replace(json.dumps(NOTEBOOK), edit) is not None
    assert AGENT.replace(json.dumps({**NOTEBOOK, **more}), edit) is None


@pytest.mark.parametrize(
    "cell",
    [
        Cell("cell-1"),
        Cell("no such cell"),
        Cell(None),
        Cell(None, "delete"),
        Cell(None, "insert"),
        Cell("no such cell", "insert", "code"),
        Cell(None, "insert", "code", "an-id-that-this-format-has-not"),
        Cell("cell-0", "replace", "markdown"),
        Cell("cell-0", "explode"),
    ],
)
def test_an_edit_that_claude_code_would_refuse_or_that_was_never_seen_is_not_followed(cell: Cell) -> None:
    assert AGENT.replace(json.dumps(NOTEBOOK), Replacement("", "y", cell=cell)) is None


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "[" * 100_000, json.dumps(NOTEBOOK, indent=1).replace("\n", "\r\n")]
)
def test_a_file_that_is_no_notebook_is_not_followed(text: str) -> None:
    assert AGENT.replace(text, Replacement("", "y", cell=Cell("cell-0"))) is None
