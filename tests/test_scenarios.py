"""The table of agent and scenario that `make test-agents` prints, and the one that docs/agents.md keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.real_agents.scenarios import BEGIN, END, EVERYTHING, keep, place_of, table

NAMES = ["Codex, HTTP, functions", "Codex, HTTP", "mini-swe-agent", "Claude Code, newest model"]


@pytest.mark.parametrize(
    ("nodeid", "place"),
    [
        ("tests/real_agents/test_everything.py::test_the_tokens[mini-swe-agent]", ("mini-swe-agent", EVERYTHING)),
        (
            "tests/real_agents/test_x.py::test_a_turn_that_broke_is_told_once_and_right[Codex, HTTP, functions-500]",
            ("Codex, HTTP, functions", "faults"),
        ),
        (
            "tests/real_agents/test_claude_code_sessions.py::test_a_subagent_is_a_child_session",
            ("Claude Code, newest model", "subagents"),
        ),
        ("tests/real_agents/test_x.py::test_something_else", ("one agent", "other")),
    ],
)
def test_a_test_stands_in_the_row_of_its_variant_and_the_column_of_its_scenario(
    nodeid: str, place: tuple[str, str]
) -> None:
    assert place_of(nodeid, NAMES) == place


def test_the_table_tells_what_passed_what_failed_and_what_could_not_run() -> None:
    ends = {
        ("one", EVERYTHING): ["passed", "passed"],
        ("one", "faults"): ["passed", "failed", "passed"],
        ("two", EVERYTHING): ["skipped"],
    }
    assert [re.sub(" +", " ", line) for line in table(ends)] == [
        "| agent | everything once | faults |",
        "| --- | :-: | :-: |",
        "| one | ✓ | ✗ 2/3 |",
        "| two | – | |",
    ]


def test_a_document_keeps_the_table_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "agents.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    for lines in (["a"], ["b"]):
        keep(document, lines)
    assert document.read_text("utf-8") == f"before\n{BEGIN}\n\nb\n\n{END}\nafter\n"
    (tmp_path / "other.md").write_text("nothing")
    with pytest.raises(ValueError, match="has no place for the table"):
        keep(tmp_path / "other.md", ["a"])
