"""What the generic agent reads out of results that speak for themselves."""

from __future__ import annotations

import pytest

from ocproxy.agents.generic import AGENT, numbered_lines
from ocproxy.model import ToolResult, ToolUse


def test_numbered_lines_of_a_read_are_its_content() -> None:
    use = ToolUse("1", "Read", {"file_path": "/a.py"})
    answer = AGENT.answer(use, ToolResult("1", "    1\tone\n    2\t\ttwo\n    3\t", is_error=False))
    assert answer.lines == ((1, "one"), (2, "\ttwo"), (3, ""))
    assert (answer.whole, answer.final_newline) == (None, None), "a result does not say whether more follows"


@pytest.mark.parametrize(
    "text", ["", "one\ntwo", "1\tone\ntwo", "1\tone\n3\tthree", "1\tone\n1\tone", "total 3\n1\ta", "1) one\n2) two"]
)
def test_other_texts_are_no_numbered_lines(text: str) -> None:
    assert numbered_lines(text) is None


def test_a_part_of_a_file_keeps_its_numbers() -> None:
    assert numbered_lines("41→a\n42→b\n") == ((41, "a"), (42, "b"))


@pytest.mark.parametrize(
    ("text", "created"),
    [
        ("File created successfully at: /a.py", True),
        ("Created a new file /a.py", True),
        ("The file /a.py has been updated", None),
        ("Wrote 3 lines; no file created", None),
    ],
)
def test_a_write_says_when_the_file_is_new(text: str, created: bool | None) -> None:
    use = ToolUse("1", "write_file", {"path": "/a.py", "content": "x"})
    assert AGENT.answer(use, ToolResult("1", text, is_error=False)).created is created
