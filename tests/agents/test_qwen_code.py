"""Qwen Code on its own recorded requests: who it is, what its calls are for, what its tools did."""

from __future__ import annotations

from typing import Any

import pytest

from ocproxy.agents.base import Replacement
from ocproxy.agents.qwen_code import AGENT
from ocproxy.model import CallKind, Reply, Status, Text, ToolResult, ToolUse
from tests.agents.replayed import WORKDIR, conversation, events, facts, requests, told

AGENT_HEADERS = {"user-agent": "QwenCode/0.24.4 (linux; x64)"}
EVERYTHING = slice(0, 3)
PARENT, CHILD = (3, 4, 6), 5


def _call(last: str, system: str = "You are Qwen Code", tools: bool = True) -> Any:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": last}],
    }
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": "read_file"}}]
    return facts("POST", "/v1/chat/completions", AGENT_HEADERS, body)


def test_every_recorded_call_says_agent_version_and_folder_and_no_session() -> None:
    for call in requests("qwen_code"):
        assert AGENT.recognises(call)
        identity = AGENT.identity(call)
        assert (identity.agent, identity.version, identity.workdir) == ("qwen-code", "0.24.4", WORKDIR)
        assert (identity.session, identity.agent_id) == (None, None)
        assert AGENT.kind(call) is CallKind.MAIN


def test_a_run_that_does_everything_once_is_told_tool_by_tool() -> None:
    assert told(conversation(AGENT, *requests("qwen_code")[EVERYTHING])) == [
        "read applied: input.txt",
        "bash applied 0: ls",
        "write applied: notes.md",
        "edit applied: input.txt",
        "edit failed: input.txt",
        "bash applied 0: mkdir -p scratch && printf 'made by bash\\n' > scratch/out.txt && wc -l input.txt",
        "bash failed 3: echo to-stdout; echo to-stderr >&2; exit 3",
        "read applied: src/app.py",
        "read applied: src/app.py",
        "read applied: docs/with space.txt",
        "read applied: no_newline.txt",
        "read failed: input.txt",  # by a relative path
        "edit applied: src/app.py",
        "edit applied: src/app.py",
        "bash failed 1: false",
        "edit applied: docs/with space.txt",
        "edit applied: no_newline.txt",
        "edit failed: crlf.txt",  # not read before
        "write applied: created.txt",
        "write failed: README.md",  # not read before
        "write applied: new/deep.txt",
        "write applied: new/naïve name.txt",
        "write applied: new/__init__.py",
        "write failed: crlf2.txt",
        "search applied: **/*.py",
        "search applied: def ",
        "search unknown: /home/user/project",  # a tool that is switched off
        "edit failed: README.md",
        "edit failed: src/app.py",
        "edit failed: src/app.py",
        "bash applied: sleep 1; echo bg",  # in the background
        "bash applied 0: pwd",
        "read failed: missing.txt",
        "bash applied 0: cat scratch/out.txt",
        "write failed: called.txt",  # by `tool_call`, which was not needed
        "edit applied: notes.md",
    ]


def test_what_was_applied_to_files_that_were_read_or_made_is_known_exactly() -> None:
    applied = [event for event in events(conversation(AGENT, *requests("qwen_code")[EVERYTHING])) if event.diff]
    assert {event.certainty for event in applied if event.status is Status.APPLIED} == {"exact"}


def test_a_partial_read_has_its_own_line_numbers() -> None:
    use = ToolUse("1", "read_file", {"file_path": "/f", "offset": 1, "limit": 3})
    answer = AGENT.answer(use, ToolResult("1", "Showing lines 2-4 of 11 total lines.\n\n---\n\n    return 1\n\n"))
    assert answer.lines == ((2, "    return 1"), (3, ""), (4, ""))
    assert (answer.whole, answer.final_newline) == (None, None)
    assert (AGENT.actions(use)[0].first_line, AGENT.actions(use)[0].line_count) == (2, 3)


@pytest.mark.parametrize(("text", "lines", "ended"), [("a\nb\n", 2, True), ("a\nb", 2, False), ("", 0, True)])
def test_a_read_without_a_head_is_the_whole_file(text: str, lines: int, ended: bool) -> None:
    answer = AGENT.answer(ToolUse("1", "read_file", {"file_path": "/f"}), ToolResult("1", text))
    assert answer.lines is not None
    assert (answer.status, len(answer.lines), answer.whole, answer.final_newline) == (
        Status.APPLIED,
        lines,
        True,
        ended,
    )


def test_tool_call_is_unwrapped_whether_its_arguments_are_an_object_or_text() -> None:
    inner = {"file_path": "/f", "content": "x"}
    for arguments in (inner, '{"file_path": "/f", "content": "x"}'):
        use = ToolUse("1", "tool_call", {"name": "write_file", "arguments": arguments})
        assert [(action.event_type, action.path, action.content) for action in AGENT.actions(use)] == [
            ("write", "/f", "x")
        ]


def test_a_file_written_through_tool_call_by_an_mcp_server_is_told() -> None:
    assert told(conversation(AGENT, requests("qwen_code")[7])) == [
        "write applied: called.txt",
        "bash applied: sleep 0.1; echo bg; exit 4",
        "read applied: n.ipynb",
        "bash applied 0: sleep 1 # intentional-sleep: a test",
        "edit applied: n.ipynb",
        "bash applied 0: true",
    ]


def test_what_a_server_or_a_mode_refused_is_told() -> None:
    use = ToolUse("1", "tool_call", {"name": "mcp__files__write_file", "arguments": {"path": "a/b", "content": "x"}})
    failed = "MCP tool 'write_file' reported tool error for function call: {} with response: []"
    assert AGENT.answer(use, ToolResult("1", failed)).status is Status.FAILED
    for end in (".", ' Matching deny rule: "edit".', " (non-interactive mode cannot prompt for confirmation)."):
        refused = f'Qwen Code requires permission to use "write_file", but that permission was declined{end}'
        for tool in ("write_file", "run_shell_command"):
            answer = AGENT.answer(
                ToolUse("1", tool, {"file_path": "/f", "content": "", "command": "x"}), ToolResult("1", refused)
            )
            assert (answer.status, answer.note) == (Status.REJECTED, refused)


def test_the_end_of_a_command_in_the_background_is_heard_from_the_notification() -> None:
    text = (
        "<task-notification>\n<task-id>bg_1</task-id>\n<status>failed</status>\n"
        "<summary>Shell failed with exit code 4.</summary>\n</task-notification>"
    )
    ended = AGENT.news(Text(text), None).ended
    assert [(end.background, end.status, end.exit_code) for end in ended] == [("bg_1", Status.FAILED, 4)]


def test_a_subagent_begins_with_the_prompt_that_its_parent_gave() -> None:
    calls = requests("qwen_code")
    parent = calls[PARENT[1]].request
    child = calls[CHILD].request
    assert parent and child
    uses = [part for message in parent.messages for part in message.parts if isinstance(part, ToolUse)]
    begins = [AGENT.spoken(part.text) for part in child.messages[0].parts if isinstance(part, Text)]
    assert [AGENT.delegated(use) for use in uses] == ["Do the subtask.", "Do the other subtask."]
    assert [text for text in begins if text] == ["Do the other subtask."]


def test_reminders_of_the_program_are_not_what_the_user_said() -> None:
    first = requests("qwen_code")[0].request
    assert first
    said = [AGENT.spoken(part.text) for part in first.messages[0].parts if isinstance(part, Text)]
    assert [text for text in said if text] == ["Do the work."]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (_call("You are the component that summarizes a conversation when its context"), CallKind.SUMMARY),
        (_call("Managed memory has TWO directories. Choose which one"), CallKind.MEMORY),
        (_call("Generate the session title now.", tools=False), CallKind.TITLE),
        (_call("Judge this.", "You are a security classifier for an AI coding agent", tools=False), CallKind.SAFETY),
        (_call("Anything else.", tools=False), CallKind.CHECK),
        (_call("[SUGGESTION MODE: Suggest what the user might naturally type next.]\n\nFIRST: Read"), CallKind.CHECK),
        (_call("Do the work."), CallKind.MAIN),
    ],
)
def test_side_calls_are_told_from_the_conversation(call: Any, kind: CallKind) -> None:
    assert AGENT.kind(call) is kind


def test_a_title_is_read_from_a_tool_call_or_from_json() -> None:
    asked = _call("Generate the session title now.", tools=False)
    for part in (ToolUse("1", "respond", {"title": "Fix it"}), Text('{"title": "Fix it"}')):
        call = facts("POST", asked.path, asked.headers, None, Reply(parts=(part,)))
        assert AGENT.title(type(call)("POST", call.path, call.headers, {}, None, asked.request, call.reply)) == "Fix it"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Command was cancelled by user before it could complete.", Status.FAILED),
        ("Blocked: standalone sleep 2. Run blocking commands in the background", Status.REJECTED),
        ('Tool "run_shell_command" denied by user.', Status.REJECTED),
        ("something that no version ever said", Status.UNKNOWN),
    ],
)
def test_a_command_that_did_not_run_to_its_end_claims_no_exit_code(text: str, status: Status) -> None:
    answer = AGENT.answer(ToolUse("1", "run_shell_command", {"command": "x"}), ToolResult("1", text))
    assert (answer.status, answer.exit_code) == (status, None)


def test_the_exit_code_is_the_programs_own_and_not_one_that_the_output_quotes() -> None:
    ending = "\nError: (none)\nExit Code: {}\nSignal: (none)\nProcess Group PGID: (none)"
    text = f"Command: x\nDirectory: (root)\nOutput: {ending.format(7)}\n{ending.format(0)}"
    answer = AGENT.answer(ToolUse("1", "run_shell_command", {"command": "x"}), ToolResult("1", text))
    assert (answer.status, answer.exit_code) == (Status.APPLIED, 0)


@pytest.mark.parametrize(
    ("text", "edit", "after"),
    [
        ("a\nb\n", Replacement("b", "c"), "a\nc\n"),
        ("a\na\n", Replacement("a", "c"), None),
        ("a\na\n", Replacement("a", "c", everywhere=True), "c\nc\n"),
        ("say “hi”\n", Replacement('say "hi"', "hello"), "hello\n"),
        ("one  \ntwo\n", Replacement("one\ntwo\n", "1\n2\n"), "1\n2\n"),
        ("a\nb\nc\n", Replacement("b", ""), "a\nc\n"),
        ("a\r\nb\r\n", Replacement("a\nb", "a\nx\ny"), "a\r\nx\r\ny\r\n"),
        ("a\n", Replacement("b", "c"), None),
        ("  a\n", Replacement("a\nb", "c"), None),
    ],
)
def test_an_edit_finds_its_place_as_the_program_does(text: str, edit: Replacement, after: str | None) -> None:
    assert AGENT.replace(text, edit) == after


def test_a_write_keeps_the_line_ends_of_the_file() -> None:
    assert AGENT.written("a\r\nb\r\n", "x\ny\n") == "x\r\ny\r\n"
    assert AGENT.written("a\n", "x\r\n") == "x\r\n"
