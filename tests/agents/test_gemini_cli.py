"""Gemini CLI on its own recorded requests: who it is, what its calls are for, what its tools did."""

from __future__ import annotations

from typing import Any

import pytest

from ocproxy.agents.base import Replacement
from ocproxy.agents.gemini_cli import AGENT
from ocproxy.model import CallKind, Message, Status, Text, ToolResult, ToolUse
from tests.agents.replayed import WORKDIR, conversation, events, facts, requests, told

HEADERS = {"user-agent": "GeminiCLI-tui/0.61.0/gemini-2.5-pro (linux; x64; terminal)"}
PATH = "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
SHELL = ToolUse("1", "run_shell_command", {"command": "x"})
READ = ToolUse("1", "read_file", {"file_path": "/f"})


def _call(last: str, system: str) -> Any:
    contents = [{"role": "user", "parts": [{"text": last}]}]
    return facts(
        "POST",
        PATH,
        HEADERS,
        {"contents": contents, "systemInstruction": {"parts": [{"text": system}], "role": "user"}},
    )


def _wrapped(text: str) -> str:
    return f"<untrusted_context>\n{text}\n</untrusted_context>"


def test_every_recorded_call_says_agent_version_and_folder_and_no_session() -> None:
    for call in requests("gemini_cli"):
        assert AGENT.recognises(call)
        identity = AGENT.identity(call)
        assert (identity.agent, identity.version) == ("gemini-cli", "0.61.0")
        assert (identity.session, identity.agent_id) == (None, None)
        assert AGENT.kind(call) is CallKind.MAIN


def test_the_folder_is_in_the_first_message() -> None:
    assert {AGENT.identity(call).workdir for call in requests("gemini_cli")[:3]} == {WORKDIR}


def test_a_run_that_does_everything_once_is_told_tool_by_tool() -> None:
    batch = conversation(AGENT, *requests("gemini_cli")[:3])
    assert told(batch) == [
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
        "edit applied: src/app.py",
        "edit applied: src/app.py",
        "bash failed 1: false",
        "edit applied: docs/with space.txt",
        "edit applied: no_newline.txt",
        "edit applied: crlf.txt",
        "write applied: created.txt",  # by `replace` with an empty old text
        "write applied: README.md",
        "write applied: new/deep.txt",
        "write applied: new/naïve name.txt",
        "write applied: new/__init__.py",
        "write applied: crlf2.txt",
        "search applied: **/*.py",
        "search applied: def ",
        "search applied: /home/user/project",
        "edit applied: README.md",  # with other spaces
        "edit applied: src/app.py",  # with another indentation
        "edit failed: src/app.py",  # found three times
        "bash applied: sleep 1; echo bg",  # in the background
        "bash applied 0: pwd",
        "read failed: missing.txt",
        "bash applied 0: cat scratch/out.txt",
        "edit applied: notes.md",
    ]
    unseen = {f"{WORKDIR}/{name}" for name in ("README.md", "crlf2.txt")} | {"crlf.txt"}  # never read
    applied = [event for event in events(batch) if event.diff and event.status is Status.APPLIED]
    assert {event.file_path for event in applied if event.certainty == "inferred"} == unseen


def test_an_edit_with_another_indentation_is_worked_out_line_for_line() -> None:
    edits = [event for event in events(conversation(AGENT, *requests("gemini_cli")[:3])) if event.diff]
    flexible = next(event for event in edits if event.diff and "return 222" in event.diff)
    assert flexible.diff and flexible.diff.endswith("-    return 22\n+    return 222\n \n \n def three():\n")


def test_a_subagent_begins_with_the_prompt_that_its_parent_gave() -> None:
    calls = requests("gemini_cli")
    child, parent = calls[4].request, calls[6].request
    assert parent and child
    uses = [part for message in parent.messages for part in message.parts if isinstance(part, ToolUse)]
    assert [prompt for use in uses if (prompt := AGENT.delegated(use))] == ["Do the subtask.", "Do the other subtask."]
    assert child.messages[0].parts == (Text("Do the subtask."),)


def test_the_context_of_the_first_message_is_not_what_the_user_said() -> None:
    first = requests("gemini_cli")[0].request
    assert first
    said = [AGENT.spoken(part.text) for part in first.messages[0].parts if isinstance(part, Text)]
    assert [text for text in said if text] == ["Do the work."]


def test_a_message_whose_results_a_resumed_session_sends_twice_keeps_its_key() -> None:
    results = (ToolResult("a", "1"), ToolResult("b", "2"))
    once, twice = Message("user", results), Message("user", (*results, *results))
    assert AGENT.key(once) == AGENT.key(twice)
    assert AGENT.key(once) != AGENT.key(Message("user", results[:1]))


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (_call("Generate a new <state_snapshot>.", "You are a specialized system component"), CallKind.SUMMARY),
        (_call("Analyze *only* the content and structure of your response", "x"), CallKind.CHECK),
        (_call("Is it a loop?", "You are a Task Routing AI."), CallKind.CHECK),
    ],
)
def test_calls_without_functions_are_side_calls(call: Any, kind: CallKind) -> None:
    assert AGENT.kind(call) is kind


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        (_wrapped("Output: a\nProcess Group PGID: 7"), Status.APPLIED, 0),
        (_wrapped("Output: a\nExit Code: 3\nProcess Group PGID: 7"), Status.FAILED, 3),
        (_wrapped("Output: Exit Code: 3\nand more\nProcess Group PGID: 7"), Status.APPLIED, 0),
        (_wrapped("Output: (empty)\nSignal: SIGKILL\nProcess Group PGID: 7"), Status.FAILED, None),
        (_wrapped("Command moved to background (PID: 7). Output hidden."), Status.APPLIED, None),
        ("Command was cancelled by user before it could complete. There was no output", Status.FAILED, None),
        ("something that no version ever said", Status.UNKNOWN, None),
    ],
)
def test_the_shell_says_how_a_command_ended(text: str, status: Status, code: int | None) -> None:
    """The tool's own description: the exit code is only included when it is not 0."""
    answer = AGENT.answer(SHELL, ToolResult("1", text, content={"output": text}))
    assert (answer.status, answer.exit_code) == (status, code)


@pytest.mark.parametrize(
    ("error", "status", "missing"),
    [
        ("File not found: /f", Status.FAILED, True),
        ("[Operation Cancelled] Reason: User cancelled", Status.REJECTED, False),
        ("Tool execution denied by policy.", Status.REJECTED, False),
        ("Path is a directory", Status.FAILED, False),
    ],
)
def test_an_error_is_a_failure_or_a_rejection(error: str, status: Status, missing: bool) -> None:
    answer = AGENT.answer(READ, ToolResult("1", error, True, content={"error": error}))
    assert (answer.status, answer.missing, answer.note) == (status, missing, error)


def test_a_call_that_nobody_could_be_asked_about_is_rejected() -> None:
    error = 'Tool execution for "WriteFile" requires user confirmation, which is not supported in non-interactive mode.'
    answer = AGENT.answer(READ, ToolResult("1", error, True, content={"error": error}))
    assert (answer.status, answer.note) == (Status.REJECTED, error)


def test_the_end_of_a_command_in_the_background_is_heard_when_the_model_asks_for_it() -> None:
    started = "Command moved to background (PID: 7735). Output hidden. Press Ctrl+B to view."
    answer = AGENT.answer(SHELL, ToolResult("1", _wrapped(started)))
    assert (answer.status, answer.exit_code, answer.background) == (Status.APPLIED, None, "7735")
    listed = (
        "- [PID 7730] RUNNING: `sleep 60`\n- [PID 7735] EXITED: `sleep 2; echo late; exit 4` (Exit Code: 4)\n"
        "- [PID 7736] EXITED: `echo a\necho b` (Exit Code: 0)\n- [PID 7737] EXITED: `cat` (Signal: SIGTERM)"
    )
    news = AGENT.news(ToolResult("2", listed), ToolUse("2", "list_background_processes", {}))
    assert [(end.background, end.status, end.exit_code) for end in news.ended] == [
        ("7735", Status.FAILED, 4),
        ("7736", Status.APPLIED, 0),
        ("7737", Status.FAILED, None),
    ]
    assert AGENT.news(ToolResult("2", listed), SHELL).ended == ()


def test_files_that_a_prompt_mentions_are_reads_of_which_no_line_is_claimed() -> None:
    (first, second) = events(conversation(AGENT, requests("gemini_cli")[7]))
    assert [(event.file_path, event.tool_name) for event in (first, second)] == [
        ("docs/with space.txt", "attachment"),
        ("input.txt", "attachment"),
    ]


def test_a_partial_read_has_its_own_line_numbers() -> None:
    head = (
        "\nIMPORTANT: The file content has been truncated.\nStatus: Showing lines 2-4 of 4 total lines.\n"
        "Action: To read more of the file, use start_line: 5.\n\n--- FILE CONTENT (truncated) ---\n"
    )
    answer = AGENT.answer(READ, ToolResult("1", f"{head}b\nc\n", content={"output": f"{head}b\nc\n"}))
    assert answer.lines == ((2, "b"), (3, "c"))
    assert (answer.whole, answer.final_newline) == (None, True)


def test_a_line_that_was_cut_is_not_taken_for_the_files_own() -> None:
    text = f"a\n{'x' * 2000}... [truncated]\nc\n"
    answer = AGENT.answer(READ, ToolResult("1", text, content={"output": text}))
    assert (answer.lines, answer.whole, answer.final_newline) == (((1, "a"),), None, None)


def test_context_that_the_program_found_on_the_way_is_no_part_of_a_file() -> None:
    text = "a\n\n\n--- Newly Discovered Project Context ---\nmore\n--- End Project Context ---"
    assert AGENT.answer(READ, ToolResult("1", text, content={"output": text})).lines == ((1, "a"),)


def test_a_proposal_that_the_user_changed_is_told_as_altered() -> None:
    text = "Successfully overwrote file: /f. User modified the `content` to be: y Here is the updated code:\ny"
    use = ToolUse("1", "write_file", {"file_path": "/f", "content": "x"})
    answer = AGENT.answer(use, ToolResult("1", text, content={"output": text}))
    assert (answer.status, answer.altered, answer.created) == (Status.APPLIED, True, False)


@pytest.mark.parametrize(
    ("text", "edit", "after"),
    [
        ("a\nb\n", Replacement("b", "c"), "a\nc\n"),
        ("a\na\n", Replacement("a", "c"), None),
        ("a\na\n", Replacement("a", "c", everywhere=True), "c\nc\n"),
        ("a\nb\n", Replacement("b\n", ""), "a\n"),
        ("a\nb", Replacement("b", "c\n"), "a\nc"),
        ("  a\n  b\n", Replacement("a\nb", "x\n  y"), "  x\n    y\n"),
        ("f(a, b)\n", Replacement("f( a,b )", "g()"), None),
        ("  f(a, b)\n", Replacement("f( a, b )", "g()"), "  g()\n"),
        ("the quick brown fox\n", Replacement("the quick brawn fox", "the slow fox"), "the slow fox\n"),
        ("the quick brown fox\n", Replacement("an entirely different text", "x"), None),
        ("a\r\nb\r\n", Replacement("a\nb", "a\nx\ny"), "a\r\nx\r\ny\r\n"),
        ("a\n", Replacement("a", "a"), None),
    ],
)
def test_an_edit_finds_its_place_as_the_program_does(text: str, edit: Replacement, after: str | None) -> None:
    assert AGENT.replace(text, edit) == after


def test_a_write_keeps_the_line_ends_of_the_file() -> None:
    assert AGENT.written("a\r\nb\r\n", "x\ny\n") == "x\r\ny\r\n"
