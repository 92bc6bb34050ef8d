"""What the generic agent reads out of results that speak for themselves."""

from __future__ import annotations

import pytest

from ocproxy.agents.generic import AGENT, numbered_lines
from ocproxy.agents.openai_agents import AGENT as OPENAI_AGENTS
from ocproxy.agents.pydantic_ai import AGENT as PYDANTIC_AI
from ocproxy.model import Status, ToolResult, ToolUse


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


EDIT = ToolUse("1", "edit_file", {"path": "/a.py", "old_string": "x", "new_string": "y"})
COMMAND = ToolUse("1", "bash", {"command": "make"})


@pytest.mark.parametrize(
    ("use", "text", "flag", "status"),
    [
        (EDIT, "Error: x is not there", None, Status.FAILED),
        (EDIT, "Error: x is not there", False, Status.FAILED),  # as LangChain flags every result
        (EDIT, "Edited /a.py.", None, Status.APPLIED),
        (EDIT, "Yes.", None, Status.UNKNOWN),
        (EDIT, "Yes.", False, Status.APPLIED),
        (COMMAND, "error: as compilers say", False, Status.APPLIED),
        (COMMAND, "Exit code: 2\nerror: as compilers say", False, Status.FAILED),
        (COMMAND, "Exit code: 0\nerror: as compilers say", None, Status.APPLIED),
    ],
)
def test_a_result_is_judged_by_exit_code_wording_and_flag(
    use: ToolUse, text: str, flag: bool | None, status: Status
) -> None:
    assert AGENT.answer(use, ToolResult("1", text, is_error=flag)).status is status


def test_frameworks_have_words_of_their_own_for_a_tool_that_failed() -> None:
    retry = ToolResult("1", "x is 0 times in /a.py\n\nFix the errors and try again.")
    assert PYDANTIC_AI.answer(EDIT, retry).status is Status.FAILED
    raised = ToolResult("1", "An error occurred while running the tool. Please try again. Error: x is not there")
    assert OPENAI_AGENTS.answer(EDIT, raised).status is Status.FAILED


@pytest.mark.parametrize(
    ("text", "status", "note"),
    [
        ('{"error":"x is 0 times in /a.py"}', Status.FAILED, "x is 0 times in /a.py"),
        ('{"error":[{"type":"missing","loc":["path"]}]}', Status.FAILED, '[{"type":"missing","loc":["path"]}]'),
        ("The tool call was denied.", Status.REJECTED, "The tool call was denied."),
        ('{"error":"none","lines":3}', Status.UNKNOWN, None),  # a tool's own object
        ('{"error":"broken off', Status.UNKNOWN, None),
    ],
)
def test_pydantic_ai_wraps_what_went_wrong_where_the_protocol_has_no_flag(
    text: str, status: Status, note: str | None
) -> None:
    answer = PYDANTIC_AI.answer(EDIT, ToolResult("1", text))
    assert (answer.status, answer.note) == (status, note)


def test_a_read_that_numbers_its_lines_was_done() -> None:
    use = ToolUse("1", "read_file", {"path": "/a.py"})
    assert AGENT.answer(use, ToolResult("1", "1\tone\n2\ttwo")).status is Status.APPLIED
    assert AGENT.answer(use, ToolResult("1", "1: one\n2: two")).status is Status.UNKNOWN


def test_an_editor_numbers_lines_with_colons_and_says_created_of_any_file() -> None:
    view = ToolUse("1", "str_replace_based_edit_tool", {"command": "view", "path": "/a.py"})
    assert AGENT.answer(view, ToolResult("1", "1: one\n2:\n3: ")).lines == ((1, "one"), (2, ""), (3, ""))
    create = ToolUse("1", "str_replace_based_edit_tool", {"command": "create", "path": "/a", "file_text": "x"})
    assert AGENT.answer(create, ToolResult("1", "File created successfully at: /a")).created is None
