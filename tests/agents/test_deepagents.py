"""deepagents on recorded requests."""

from __future__ import annotations

from ocproxy.agents.deepagents import AGENT
from ocproxy.model import Status, Text, ToolResult, ToolUse
from tests.agents.replayed import conversation, requests, told

READ = ToolUse("1", "read_file", {"file_path": "/f"})


def test_every_recorded_call_is_known_by_its_tools_subagents_too() -> None:
    calls = requests("deepagents")
    assert all(AGENT.recognises(call) for call in calls)
    assert {AGENT.identity(call).agent for call in calls} == {"deepagents"}


def test_a_run_that_does_everything_once_is_told_tool_by_tool() -> None:
    calls = requests("deepagents")
    assert told(conversation(AGENT, calls[0], calls[1], calls[3])) == [
        "read applied: input.txt",
        "bash applied 0: ls",
        "search applied: /home/user/project",
        "read applied: src/app.py",
        "read failed: missing.txt",
        "write applied: notes.md",
        "bash failed 3: echo out; echo err >&2; exit 3",
        "edit applied: input.txt",
        "edit failed: notes.md",
        "read applied: no_newline.txt",
        "read applied: src/app.py",
        "edit applied: src/app.py",
        "edit applied: no_newline.txt",
        "write applied: README.md",
        "search applied: **/*.py",
        "search applied: def ",
        "delete applied: crlf.txt",
    ]


def test_a_subagent_begins_with_the_description_that_its_parent_gave() -> None:
    calls = requests("deepagents")
    child, parent = calls[2].request, calls[3].request
    assert child and parent
    uses = [part for message in parent.messages for part in message.parts if isinstance(part, ToolUse)]
    assert [task for use in uses if (task := AGENT.delegated(use))] == ["Do the subtask."]
    assert child.messages[0].parts == (Text("Do the subtask."),)


def test_a_partial_read_has_its_own_line_numbers() -> None:
    answer = AGENT.answer(READ, ToolResult("1", "@@ lines 2-3 of 10 | next offset 3 @@\nb\n"))
    assert (answer.lines, answer.whole, answer.final_newline) == (((2, "b"), (3, "")), None, None)


def test_a_file_that_was_not_there_is_missing() -> None:
    answer = AGENT.answer(READ, ToolResult("1", "Error: File '/f' not found"))
    assert (answer.status, answer.missing) == (Status.FAILED, True)


def test_a_whole_file_is_known_but_for_its_last_newline() -> None:
    answer = AGENT.answer(READ, ToolResult("1", "@@ lines 1-2 of 2 @@\na\nb"))
    assert (answer.lines, answer.whole) == (((1, "a"), (2, "b")), True)
    assert (answer.final_newline, answer.ending_assumed) == (True, True)
