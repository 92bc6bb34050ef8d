"""Cline on its own recorded requests: one call, many files or commands, each told apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocproxy.agents.cline import AGENT
from ocproxy.model import CallKind, Status, Text, ToolResult, ToolUse
from tests.agents.replayed import WORKDIR, conversation, events, facts, requests, told

EVERYTHING = slice(0, 3)
CHILDREN, PARENT = (4, 5), 7


def _answer(use: ToolUse, *said: dict[str, Any]) -> Any:
    return AGENT.answer(use, ToolResult("1", json.dumps(list(said))))


def test_every_recorded_call_is_known_by_prompt_or_tools() -> None:
    calls = requests("cline")
    assert all(AGENT.recognises(call) and AGENT.kind(call) is CallKind.MAIN for call in calls)
    folders = [AGENT.identity(call).workdir for call in calls]
    assert folders == [WORKDIR] * 4 + [None, None] + [WORKDIR] * 2  # subagents do not say it


def test_a_run_that_does_everything_once_is_told_file_by_file_and_command_by_command() -> None:
    assert told(conversation(AGENT, *requests("cline")[EVERYTHING])) == [
        "read applied: input.txt",
        "read applied: src/app.py",
        "read failed: missing.txt",
        "bash applied 0: ls",
        "bash failed 3: exit 3",
        "bash applied 0: mkdir -p scratch && printf 'made\\n' > scratch/out.txt && wc -l input.txt",
        "write applied: notes.md",
        "edit applied: input.txt",
        "edit failed: input.txt",
        "read applied: src/app.py",
        "read applied: docs/with space.txt",
        "read applied: no_newline.txt",
        "read applied: README.md",
        "edit failed: src/app.py",  # found twice
        "bash failed 1: false",
        "bash failed 3: echo to-stdout; echo to-stderr >&2; exit 3",
        "edit applied: src/app.py",  # a line put in
        "edit applied: no_newline.txt",
        "edit applied: docs/with space.txt",
        "write failed: README.md",  # exists
        "write applied: new/deep.txt",
        "write applied: new/__init__.py",
        "edit applied: src/app.py",
        "search applied: def ",
        "search applied: nothing-at-all",
        "read applied: src/app.py",
        "read applied: crlf.txt",
        "bash applied 0: cat scratch/out.txt",
        "edit applied: notes.md",
        "edit applied: input.txt",  # a line put in at the beginning
        "edit applied: crlf.txt",
    ]


def test_a_line_is_put_in_where_the_call_says() -> None:
    edits = [event for event in events(conversation(AGENT, *requests("cline")[EVERYTHING])) if event.diff]
    inserted = next(event for event in edits if event.diff and "# inserted" in event.diff)
    assert inserted.certainty == "exact"
    assert inserted.diff and "\n def one():\n+    # inserted\n     return 1\n" in inserted.diff


def test_the_last_line_of_a_read_may_lack_its_newline() -> None:
    use = ToolUse("1", "read_files", {"files": [{"path": "/f"}]})
    (one,) = _answer(use, {"query": "/f", "result": " 9 | a\n10 | b", "success": True}).each
    assert (one.lines, one.whole, one.final_newline) == (((9, "a"), (10, "b")), None, None)


def test_what_stands_behind_the_numbered_lines_is_no_part_of_the_file() -> None:
    use = ToolUse("1", "read_files", {"files": [{"path": "/f"}]})
    (one,) = _answer(use, {"query": "/f", "result": "1 | a\n[more lines]", "success": True}).each
    assert one.lines == ((1, "a"),)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("Command exited with code 3", Status.FAILED, 3),
        ("Command timed out after 30s", Status.FAILED, None),
        ("Tool use was denied", Status.REJECTED, None),
    ],
)
def test_a_command_that_did_not_succeed_says_why(error: str, status: Status, code: int | None) -> None:
    use = ToolUse("1", "run_commands", {"commands": ["x"]})
    (one,) = _answer(use, {"query": "x", "result": "", "error": error, "success": False}).each
    assert (one.status, one.exit_code, one.note) == (status, code, error)


def test_a_single_command_without_its_list_is_taken() -> None:
    (action,) = AGENT.actions(ToolUse("1", "run_commands", {"commands": "ls"}))
    assert action.command == "ls"


@pytest.mark.parametrize(
    ("tool", "error", "status"),
    [
        (
            "editor",
            'Tool "editor" requires approval in a TTY session -- NOT a tool or system failure. Clarify with user before'
            " proceeding.",
            Status.REJECTED,
        ),
        ("run_commands", "This tool call was rejected by the user and not executed.", Status.REJECTED),
        (
            "editor",
            'Tool "editor" emitted invalid JSON arguments: Tool call arguments could not be parsed as JSON.',
            Status.FAILED,
        ),
    ],
)
def test_a_call_that_was_never_run_says_so_without_a_list(tool: str, error: str, status: Status) -> None:
    answer = AGENT.answer(ToolUse("1", tool, {}), ToolResult("1", json.dumps({"error": error})))
    assert (answer.status, answer.note) == (status, error)


@pytest.mark.parametrize(("failed", "status"), [(False, Status.APPLIED), (True, Status.FAILED)])
def test_the_result_of_an_mcp_server_says_whether_it_failed(failed: bool, status: Status) -> None:
    said = {"content": [{"type": "text", "text": "Error: this tool always fails"}], "isError": failed}
    answer = AGENT.answer(ToolUse("1", "files__fail", {}), ToolResult("1", json.dumps(said)))
    assert (answer.status, answer.note) == (status, "Error: this tool always fails" if failed else None)


def test_a_patch_over_responses_is_told_file_by_file() -> None:
    patch = "*** Begin Patch\n*** Add File: a\n+x\n*** Delete File: b\n*** End Patch"
    assert [action.event_type for action in AGENT.actions(ToolUse("1", "apply_patch", {"input": patch}))] == [
        "write",
        "delete",
    ]


def test_a_file_that_a_patch_adds_has_no_newline_at_its_end() -> None:
    """Measured: 3.0.65 joins the added lines. A hunk keeps the end that the file had."""
    patch = "*** Begin Patch\n*** Add File: a\n+one\n+\n*** Update File: b\n@@\n-x\n+y\n*** End Patch"
    added, changed = AGENT.actions(ToolUse("1", "apply_patch", {"input": patch}))
    assert added.content == "one\n"
    assert AGENT.replace("w\nx", changed.replacements[0]) == "w\ny"


def test_a_subagent_begins_with_the_task_that_its_parent_gave() -> None:
    calls = requests("cline")
    parent = calls[PARENT].request
    assert parent
    uses = [part for message in parent.messages for part in message.parts if isinstance(part, ToolUse)]
    assert [task for use in uses if (task := AGENT.delegated(use))] == ["Do the subtask.", "Do the other subtask."]
    begins = [request.messages[0].parts for place in CHILDREN if (request := calls[place].request)]
    assert begins == [(Text("Do the subtask."),), (Text("Do the other subtask."),)]


def test_other_agents_of_the_same_library_are_not_taken_for_it() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert not AGENT.recognises(facts("POST", "/v1/chat/completions", {"user-agent": "ai-sdk/openai-compatible"}, body))
