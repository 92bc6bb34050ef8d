"""opencode on its own recorded requests: who it is, what its calls are for, what its tools did."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ocproxy.agents.base import Replacement
from ocproxy.agents.opencode import AGENT
from ocproxy.model import CallKind, EventType, FileEvent, Reply, Status, Text, ToolResult, ToolUse
from tests.agents.replayed import WORKDIR, conversation, events, rebuilt, requests, told, tree_after

READ = ToolUse("1", "read", {"filePath": "/f"})
BASH = ToolUse("1", "bash", {"command": "x"})
EDIT = ToolUse("1", "edit", {"filePath": "/f", "oldString": "a", "newString": "b"})
TIMED_OUT = (
    "begun\n\n\n<shell_metadata>\nshell tool terminated command after exceeding timeout 1000 ms.\n</shell_metadata>"
)


def _shown(lines: str, end: str) -> str:
    return f"<path>/f</path>\n<type>file</type>\n<content>\n{lines}\n\n({end})\n</content>"


def _of(recording: str, file: str) -> list[str]:
    """What happened to one file, in its order."""
    lines = told(conversation(AGENT, requests(recording)[-1]))
    return [line.partition(":")[0] for line in lines if line.endswith(f" {file}")]


def test_every_recorded_call_says_agent_session_folder_and_version() -> None:
    for call in [*requests("opencode")[1:], *requests("opencode_patches")]:
        assert AGENT.recognises(call)
        identity = AGENT.identity(call)
        assert (identity.agent, identity.version, identity.workdir) == ("opencode", "1.18.33", WORKDIR)
        assert identity.session == call.headers["x-session-id"]
        assert (identity.agent_id, identity.parent_session) == (None, None)
        assert AGENT.kind(call) is CallKind.MAIN


def test_a_title_is_asked_for_in_the_session_itself() -> None:
    title, turn, _ = requests("opencode")
    assert AGENT.kind(title) is CallKind.TITLE
    assert AGENT.identity(title).session == AGENT.identity(turn).session
    said = msgspec.structs.replace(title, reply=Reply(parts=(Text("<think>hm</think>\nA title\n"),)))
    assert (AGENT.title(said), AGENT.title(turn)) == ("A title", None)


def test_subagents_are_sessions_that_name_their_parents() -> None:
    parent, *children = map(AGENT.identity, requests("opencode_subagents"))
    assert parent.parent_session is None
    assert len({child.session for child in children} - {parent.session}) == len(children) == 2
    assert {child.parent_session for child in children} == {parent.session}
    assert {AGENT.kind(call) for call in requests("opencode_subagents")} == {CallKind.MAIN}


def test_a_run_that_does_everything_once_is_told_tool_by_tool() -> None:
    lines = told(conversation(AGENT, requests("opencode")[-1]))
    assert lines == [
        "read applied: input.txt",
        "bash unknown: ls",  # exit codes are not said
        "write applied: notes.md",
        "edit applied: input.txt",
        "edit failed: input.txt",
        "bash unknown: mkdir -p scratch && printf 'made by bash\\n' > scratch/out.txt && wc -l input.txt",
        "bash unknown: echo to-stdout; echo to-stderr >&2; exit 3",
        "read applied: src/app.py",
        "read applied: docs/with space.txt",
        "read applied: no_newline.txt",
        "read applied: README.md",
        "edit applied: src/app.py",
        "edit applied: src/app.py",
        "bash unknown: false",
        "edit applied: docs/with space.txt",
        "edit applied: no_newline.txt",
        "write applied: README.md",
        "write applied: new/deep.txt",
        "write applied: new/naïve name.txt",
        "write applied: new/__init__.py",
        "edit applied: notes.md",
        "edit applied: README.md",
        "read failed: missing.txt",
        "bash unknown: cat scratch/out.txt",
        "read applied: src/app.py",  # two lines of it
        "read applied: src",  # a folder
        "search failed: **/*.py",  # `ripgrep execution failed`
        "search failed: def ",
        "search failed: *.txt",
        "edit failed: src/app.py",  # found more than once
        "edit applied: src/app.py",  # with other white space
        "write applied: created.txt",  # by an edit of nothing
        "edit failed: nothing.txt",
        "edit failed: notes.md",  # old and new are the same
        "write applied: mcp.txt",  # by an MCP server
        "bash failed: echo begun; sleep 20",  # stopped after its time
        "bash unknown: pwd",
        "bash unknown: true",
        "edit applied: no_newline.txt",
    ]


# Whether a file ends in a newline is not shown, so the diffs of this one can be wrong.
UNENDED = "no_newline.txt"


def _is_unended(event: FileEvent) -> bool:
    return (event.file_path or "").endswith(UNENDED)


@pytest.mark.parametrize("recording", ["opencode", "opencode_patches"])
def test_the_diffs_give_the_tree_that_the_run_left(tmp_path: Path, recording: str) -> None:
    batch = conversation(AGENT, requests(recording)[-1])
    batch.file_events = [event for event in batch.file_events if not _is_unended(event)]
    got, expected = rebuilt(tmp_path, recording, batch), tree_after(recording)
    assert {**got, UNENDED: ""} == {**expected, UNENDED: ""}


@pytest.mark.parametrize("recording", ["opencode", "opencode_patches"])
def test_edits_at_an_end_that_no_read_shows_are_not_exact(recording: str) -> None:
    edits = [e for e in events(conversation(AGENT, requests(recording)[-1])) if _is_unended(e) and e.diff]
    assert edits
    assert {event.certainty for event in edits} == {"inferred"}


def test_patches_are_told_file_by_file() -> None:
    assert _of("opencode_patches", "src/app.py") == ["read applied", "edit applied"]
    assert _of("opencode_patches", "README.md") == ["read applied", "edit applied", "move applied"]
    assert _of("opencode_patches", ".gitignore") == ["read applied", "delete applied"]
    assert _of("opencode_patches", "nothing.txt") == ["edit failed", "delete failed"]
    assert _of("opencode_patches", "rep6.txt") == ["write applied", "edit failed"]  # hunks in the wrong order


def test_the_end_of_the_file_is_no_place_for_a_hunk() -> None:
    """Otherwise than in Codex, whose patches these are."""
    assert _of("opencode_patches", "rep7.txt") == ["write applied", "edit applied"]
    hunk = Replacement("x\n", "x\ntail\n", whole_lines=True, at_end=True)
    assert AGENT.replace_all("x\ny\nx\n", (hunk,)) == "x\ntail\ny\nx\n"


@pytest.mark.parametrize(
    ("use", "text", "status", "missing"),
    [
        (READ, "File not found: /f", Status.FAILED, True),
        (EDIT, "File /f not found", Status.FAILED, False),
        (EDIT, "Edit applied successfully.", Status.APPLIED, False),
        (EDIT, "Edit applied successfully.\n\nLSP errors detected in this file", Status.APPLIED, False),
        (EDIT, "something that no version ever said", Status.UNKNOWN, False),
        (EDIT, "The user rejected permission to use this specific tool call.", Status.REJECTED, False),
        (BASH, "Tool execution aborted", Status.UNKNOWN, False),
        (BASH, "a\n", Status.UNKNOWN, False),
        (BASH, TIMED_OUT, Status.FAILED, False),
    ],
)
def test_a_result_says_by_its_words_what_became_of_the_use(
    use: ToolUse, text: str, status: Status, missing: bool
) -> None:
    answer = AGENT.answer(use, ToolResult("1", text))
    assert (answer.status, answer.missing, answer.exit_code) == (status, missing, None)


def test_a_command_without_output_has_none() -> None:
    assert AGENT.answer(BASH, ToolResult("1", "(no output)")).output_bytes == 0
    assert AGENT.answer(BASH, ToolResult("1", TIMED_OUT)).output_bytes == len("begun\n")


def test_a_read_to_the_end_shows_the_whole_file() -> None:
    answer = AGENT.answer(READ, ToolResult("1", _shown("1: a\n2: ", "End of file - total 2 lines")))
    assert (answer.lines, answer.whole) == (((1, "a"), (2, "")), True)


def test_a_partial_read_has_its_own_line_numbers() -> None:
    answer = AGENT.answer(READ, ToolResult("1", _shown("5: a\n6: b", "Showing lines 5-6 of 10. Use offset=7.")))
    assert (answer.lines, answer.whole, answer.final_newline) == (((5, "a"), (6, "b")), None, None)


def test_servers_tools_are_told_by_their_names() -> None:
    use = ToolUse("1", "files_write_file", {"path": "a", "content": "b\n"})
    (action,) = AGENT.actions(use)
    assert (action.event_type, action.path, action.content) == (EventType.WRITE, "a", "b\n")
    assert AGENT.answer(use, ToolResult("1", "Error: this tool always fails")).status is Status.FAILED
    assert AGENT.answer(use, ToolResult("1", "Successfully wrote to a")).status is Status.APPLIED


@pytest.mark.parametrize(
    ("text", "old", "new", "everywhere", "after"),
    [
        ("a\nb\n", "b", "c", False, "a\nc\n"),
        ("a\na\n", "a", "c", False, None),
        ("a\na\n", "a", "c", True, "c\nc\n"),
        ("  a\n    b\n", "a\nb\n", "x\n", False, "x\n\n"),
        ("a\r\nb\r\n", "a\nb", "x\ny", False, "x\r\ny\r\n"),
        ("a\n", "b", "c", False, None),
        ("a\n", "a", "a", False, None),
    ],
)
def test_an_edit_finds_its_place_as_the_program_does(
    text: str, old: str, new: str, everywhere: bool, after: str | None
) -> None:
    assert AGENT.replace(text, Replacement(old, new, everywhere)) == after
