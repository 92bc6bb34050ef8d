"""Codex on its own recorded requests: who it is, what its calls are for, what its tools did."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocproxy.agents.base import Replacement
from ocproxy.agents.codex import AGENT
from ocproxy.agents.codex_patch import apply_hunks
from ocproxy.agents.patches import parse_patch
from ocproxy.model import CallKind, EventType, Status, Text, ToolResult, ToolUse
from tests.agents.replayed import WORKDIR, conversation, events, rebuilt, requests, told, tree_after

SHELL = ToolUse("1", "exec_command", {"cmd": "x"})
HEAD = "Chunk ID: a\nWall time: 0.1 seconds\n"


def _of(file: str) -> list[str]:
    """What happened to one file, in its order."""
    return [line.partition(":")[0] for line in told(conversation(AGENT, *requests("codex"))) if line.endswith(file)]


def test_every_recorded_call_says_agent_session_folder_and_version() -> None:
    for call in requests("codex"):
        assert AGENT.recognises(call)
        identity = AGENT.identity(call)
        assert (identity.agent, identity.version, identity.workdir) == ("codex", "0.169.0", WORKDIR)
        assert identity.session and identity.session == call.headers["session-id"]
        assert (identity.agent_id, identity.parent_session) == (None, None)
        assert AGENT.kind(call) is CallKind.MAIN


def test_threads_of_one_session_are_its_subagents() -> None:
    parent, *children = map(AGENT.identity, requests("codex_subagents"))
    assert parent.agent_id is None
    assert {child.session for child in children} == {parent.session}
    assert len({child.agent_id for child in children}) == len(children) == 2
    assert {child.parent_agent_id for child in children} == {None}  # started by the session's first thread
    assert [parent.title, *(child.title for child in children)] == [None, "/root/sub_child", "/root/sub_other"]


def test_a_subagent_begins_behind_what_it_was_given_of_its_parents_talk() -> None:
    parent, *children = (call.request for call in requests("codex_subagents"))
    assert parent and AGENT.inherited([message.parts for message in parent.messages]) == 0
    for child in children:
        assert child
        first = AGENT.inherited([message.parts for message in child.messages])
        assert any(isinstance(p, Text) and "newly spawned" in p.text for p in child.messages[first].parts)
        before = [p for message in child.messages[:first] for p in message.parts]
        assert any(isinstance(p, ToolResult) and p.text == "aborted" for p in before)  # what its parent still waits for


def test_a_subagents_subagent_begins_behind_what_both_were_given() -> None:
    *_, child = (call.request for call in requests("codex_subagents"))
    assert child
    parts = [message.parts for message in child.messages]
    own = AGENT.inherited(parts)
    assert AGENT.inherited([*parts, *parts[own:]]) == len(parts)


def test_a_terminal_session_warms_up_and_asks_for_a_title_in_a_thread_of_its_own() -> None:
    calls = requests("codex_terminal")
    assert [AGENT.kind(call) for call in calls] == [CallKind.PROBE, CallKind.PROBE, CallKind.TITLE, CallKind.MAIN]
    warm, title_warm, title, turn = map(AGENT.identity, calls)
    assert warm.session and warm.session == turn.session
    assert (title_warm.session, title.session) == (None, None)
    assert AGENT.about(calls[2]) == "Say hello to the world please"
    assert AGENT.about(calls[3]) is None


def test_a_run_that_does_everything_once_is_told_tool_by_tool() -> None:
    assert told(conversation(AGENT, *requests("codex")))[:29] == [
        "bash applied 0: cat '/home/user/project/input.txt'",
        "read applied: input.txt",
        "bash applied 0: ls",
        "write applied: notes.md",
        "edit applied: input.txt",
        "edit failed: input.txt",
        "bash applied 0: mkdir -p scratch && printf 'made by bash\\n' > scratch/out.txt && wc -l input.txt",
        "bash failed 3: echo to-stdout; echo to-stderr >&2; exit 3",
        "bash applied 0: cat '/home/user/project/src/app.py'",
        "read applied: src/app.py",
        "bash applied 0: cat '/home/user/project/docs/with space.txt'",
        "read applied: docs/with space.txt",
        "bash applied 0: cat '/home/user/project/no_newline.txt'",
        "read applied: no_newline.txt",
        "bash applied 0: cat '/home/user/project/README.md'",
        "read applied: README.md",
        "bash applied 0: cat '/home/user/project/.gitignore'",
        "read applied: .gitignore",
        "write applied: new/deep.txt",
        "edit applied: src/app.py",
        "edit applied: README.md",
        "move applied: README.md",
        "delete applied: .gitignore",
        "bash failed 1: false",
        "edit applied: docs/with space.txt",
        "edit applied: no_newline.txt",
        "edit applied: notes.md",
        "write applied: input.txt",
        "bash failed 1: cat '/home/user/project/missing.txt'",
    ]


def test_patches_inside_a_command_are_no_commands() -> None:
    lines = told(conversation(AGENT, *requests("codex")))
    assert "write applied: heredoc.txt" in lines
    assert [line for line in lines if "apply_patch" in line] == []
    assert _of("src/app.py")[-3:] == ["edit applied", "edit failed", "read applied"]  # the first behind `cd src &&`


def test_patches_of_a_missing_file_fail_and_so_do_tools_that_are_not_there() -> None:
    assert _of("nothing.txt") == ["edit failed", "delete failed"]
    assert _of("mcp.txt") == ["write failed"]  # `unsupported call`
    assert _of("none.png") == ["read failed"]


def test_the_end_of_a_command_in_the_background_is_told_with_the_poll_that_saw_it() -> None:
    batch = conversation(AGENT, *requests("codex"))
    (event,) = [event for event in events(batch) if event.command == "sleep 1; echo late; exit 4"]
    assert (event.status, event.exit_code) == (Status.FAILED, 4)
    assert Status.APPLIED in [one.status for one in batch.file_events if one.id == event.id]  # it was begun


def test_an_output_that_was_cut_has_no_size() -> None:
    (event,) = [e for e in events(conversation(AGENT, *requests("codex"))) if e.command == "seq 1 20000"]
    assert (event.status, event.exit_code, event.output_bytes) == (Status.APPLIED, 0, None)


def test_the_diffs_give_the_tree_that_the_run_left(tmp_path: Path) -> None:
    """Among them: equal hunks one behind the other, hunks at the end of the file, insertions, a move."""
    assert rebuilt(tmp_path, "codex", conversation(AGENT, *requests("codex"))) == tree_after("codex")


def test_a_hunk_is_looked_for_behind_the_one_before_it() -> None:
    assert (_of("rep5.txt"), _of("rep6.txt")) == (["write applied", "edit applied"], ["write applied", "edit failed"])
    forward, backward = "@@\n one\n+first\n@@\n two\n+second", "@@\n two\n+second\n@@\n one\n+first"
    assert _patched("one\ntwo\n", forward) == "one\nfirst\ntwo\nsecond\n"
    assert _patched("one\ntwo\n", backward) is None


def test_a_hunk_at_the_end_of_the_file_fits_nowhere_else() -> None:
    assert _of("rep7.txt") == ["write applied", "edit failed"]
    assert _patched("x\ny\nx\n", "@@\n x\n+tail\n*** End of File") == "x\ny\nx\ntail\n"
    assert _patched("x\ny\n", "@@\n x\n+tail\n*** End of File") is None
    assert _patched("x\ny\nx\n", "@@\n x\n+tail") == "x\ntail\ny\nx\n"


def _patched(text: str, body: str) -> str | None:
    (action,) = parse_patch(f"*** Begin Patch\n*** Update File: f\n{body}\n*** End Patch\n")
    return apply_hunks(text, action.replacements)


@pytest.mark.parametrize(
    ("text", "old", "new", "after"),
    [
        ("a\nb", "b\n", "c\n", "a\nc\n"),
        ("a  \nb\n", "a\n", "c\n", "c\nb\n"),
        ("\ta\nb\n", "a\n", "c\n", "c\nb\n"),
        ("say \u201chi\u201d\n", 'say "hi"\n', "x\n", "x\n"),
        ("a\n", "", "b\n", "a\nb\n"),
        ("a\n", "b\n", "c\n", None),
    ],
)
def test_lines_are_compared_ever_more_loosely(text: str, old: str, new: str, after: str | None) -> None:
    assert AGENT.replace(text, Replacement(old, new, whole_lines=True)) == after


@pytest.mark.parametrize(
    ("text", "status", "code", "runs"),
    [
        (f"{HEAD}Process exited with code 0\nOriginal token count: 1\nOutput:\na\n", Status.APPLIED, 0, None),
        (f"{HEAD}Process exited with code 3\nOriginal token count: 1\nOutput:\na\n", Status.FAILED, 3, None),
        (f"{HEAD}Process running with session ID 7\nOriginal token count: 0\nOutput:\n", Status.APPLIED, None, "7"),
        ("aborted", Status.UNKNOWN, None, None),
        ("aborted by user after 1.5s", Status.UNKNOWN, None, None),
        ("failed to parse function arguments: missing field `cmd`", Status.FAILED, None, None),
        ("exec command rejected by user", Status.REJECTED, None, None),
        ('{"output":"a\\n","metadata":{"exit_code":2,"duration_seconds":0.1}}', Status.FAILED, 2, None),
        ("something that no version ever said", Status.UNKNOWN, None, None),
    ],
)
def test_a_result_says_how_a_command_ended(text: str, status: Status, code: int | None, runs: str | None) -> None:
    answer = AGENT.answer(SHELL, ToolResult("1", text))
    assert (answer.status, answer.exit_code, answer.background) == (status, code, runs)


@pytest.mark.parametrize(
    ("command", "reads"),
    [
        ("cat a.txt", (None, None)),
        ("sed -n '2,3p' a.txt", (2, 2)),
        ("head -n 2 a.txt", (1, 2)),
        ("nl -ba a.txt", (None, None)),
    ],
)
def test_commands_that_print_a_file_are_reads_of_it(command: str, reads: tuple[int | None, int | None]) -> None:
    bash, read = AGENT.actions(ToolUse("1", "exec_command", {"cmd": command, "workdir": "/w"}))
    assert (bash.event_type, read.event_type, read.path) == (EventType.BASH, EventType.READ, "/w/a.txt")
    assert (read.first_line, read.line_count) == reads


@pytest.mark.parametrize(
    "command", ["cat a b", "cat a > b", "cat *.txt", "cat a; rm a", "cat $HOME/a", "sed -i s/a/b/ f"]
)
def test_other_commands_are_no_reads(command: str) -> None:
    assert [a.event_type for a in AGENT.actions(ToolUse("1", "exec_command", {"cmd": command}))] == [EventType.BASH]


def test_tools_of_servers_carry_their_namespace() -> None:
    use = ToolUse("1", "write_file", {"path": "a", "content": "b\n"}, extra={"namespace": "mcp__files"})
    (action,) = AGENT.actions(use)
    assert (action.event_type, action.path, action.content) == (EventType.WRITE, "a", "b\n")
    done = ToolResult("1", "Wall time: 0.1 seconds\nOutput:\nSuccessfully wrote to a")
    assert AGENT.answer(use, done).status is Status.APPLIED
    assert AGENT.answer(use, ToolResult("1", "tool call error: it broke")).status is Status.FAILED
