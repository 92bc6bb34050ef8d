"""The tables of agent and scenario that `make test-agents` prints, and the one that docs/agents.md keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.real_agents.scenarios import BEGIN, END, EVERYTHING, FAULTS, GROUPS, OTHER, TESTS, keep, place_of, tables

NAMES = [
    *("Codex, HTTP, functions", "Codex, HTTP", "mini-swe-agent"),
    *("Claude Code, newest model", "Claude Code, older model", "openai-agents, Responses"),
]
BROKEN = "test_a_turn_that_broke_is_told_once_and_right"


@pytest.mark.parametrize(
    ("nodeid", "place"),
    [
        ("tests/real_agents/test_everything.py::test_the_tokens[mini-swe-agent]", ("mini-swe-agent", EVERYTHING)),
        (f"tests/real_agents/test_x.py::{BROKEN}[Codex, HTTP, functions-500]", ("Codex, HTTP, functions", "500")),
        (f"tests/real_agents/test_x.py::{BROKEN}[500-mini-swe-agent]", ("mini-swe-agent", "500")),
        (
            f"tests/real_agents/test_claude_code_faults.py::{BROKEN}[drop between tool uses-older model]",
            ("Claude Code, older model", "drop in a tool use"),
        ),
        (f"tests/real_agents/test_x.py::{BROKEN}[Codex, HTTP-the moon fell]", ("Codex, HTTP", "other")),
        (
            "tests/real_agents/test_claude_code_sessions.py::test_a_subagent_is_a_child_session",
            ("Claude Code, newest model", "one subagent"),
        ),
        ("tests/real_agents/test_x.py::test_a_handoff[openai-agents, handoff]", ("openai-agents, Responses", "other")),
        ("tests/real_agents/test_x.py::test_tools[smolagents, tools]", ("smolagents", "other")),
        ("tests/real_agents/test_x.py::test_something_else", ("one agent", "other")),
    ],
)
def test_a_test_stands_in_the_row_of_its_variant_and_the_column_of_its_scenario(
    nodeid: str, place: tuple[str, str]
) -> None:
    assert place_of(nodeid, NAMES) == place


def test_the_tables_tell_what_passed_what_failed_and_what_could_not_run() -> None:
    ends = {
        ("one", EVERYTHING): ["passed", "passed"],
        ("one", "500"): ["passed", "failed", "passed"],
        ("one", OTHER): ["passed"],
        ("three", "MCP"): ["passed", "passed"],
        ("two", EVERYTHING): ["skipped"],
    }
    assert [re.sub(" +", " ", line) for line in tables(ends)] == [
        "**Sessions and tools**",
        "",
        "| agent | everything once | MCP |",
        "| --- | :-: | :-: |",
        "| one | ✓ | |",
        "| three | | ✓ 2 |",
        "| two | – | |",
        "",
        "**Turns that broke**",
        "",
        "| agent | 500 |",
        "| --- | :-: |",
        "| one | ✗ 2/3 |",
    ]


def test_every_scenario_of_the_tables_is_played_by_a_test_and_stands_in_one_of_them() -> None:
    """A test that was given another name would drop out of its column without a word."""
    files = (Path(__file__).parent / "real_agents").glob("test_*.py")
    written = {name for file in files for name in re.findall(r"^def test_(\w+)\(", file.read_text("utf-8"), re.M)}
    named = [test for tests in TESTS.values() for test in tests]
    assert set(named) - written == set()
    assert len(set(named)) == len(named)
    assert sorted(column for columns in GROUPS.values() for column in columns) == sorted([EVERYTHING, *TESTS, *FAULTS])


def test_a_document_keeps_the_table_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "agents.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    for lines in (["a"], ["b"]):
        keep(document, lines)
    assert document.read_text("utf-8") == f"before\n{BEGIN}\n\nb\n\n{END}\nafter\n"
    (tmp_path / "other.md").write_text("nothing")
    with pytest.raises(ValueError, match="has no place for the table"):
        keep(tmp_path / "other.md", ["a"])
