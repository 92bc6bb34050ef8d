"""pi on its own recorded requests, in three protocols and two versions."""

from __future__ import annotations

import pytest

from ocproxy.agents.base import Replacement
from ocproxy.agents.pi import AGENT
from ocproxy.model import CallKind, Status, ToolResult, ToolUse
from tests.agents.replayed import WORKDIR, conversation, events, facts, requests, told

# Places in the recording: Chat Completions by 0.87.1 and 0.73.1, Messages and Responses by 0.87.1.
RUNS = {"chat": slice(0, 3), "chat, 0.73.1": slice(3, 5), "messages": slice(5, 7), "responses": slice(7, 9)}
SESSION = "11111111-2222-7333-8444-555555555555"

EVERYTHING = [
    "read applied: input.txt",
    "bash applied 0: ls",
    "write applied: notes.md",
    "edit applied: input.txt",
    "edit failed: input.txt",
    "bash applied 0: mkdir -p scratch && printf 'made by bash\\n' > scratch/out.txt && wc -l input.txt",
    "bash failed 3: echo to-stdout; echo to-stderr >&2; exit 3",
    "bash failed 1: false",
    "bash failed: sleep 5",  # timed out
    "read applied: src/app.py",
    "read applied: src/app.py",
    "read applied: docs/with space.txt",
    "read applied: no_newline.txt",
    "read applied: crlf.txt",
    "read applied: README.md",
    "edit applied: src/app.py",
    "edit applied: docs/with space.txt",
    "edit applied: no_newline.txt",
    "edit applied: crlf.txt",
    "write applied: README.md",
    "write applied: new/deep.txt",
    "write applied: new/__init__.py",
    "edit failed: src/app.py",  # found three times
    "edit applied: src/app.py",  # with spaces at a line's end
    "edit applied: src/app.py",  # with plain quotes for typographic ones
    "read failed: missing.txt",
    "bash applied 0: cat scratch/out.txt",
    "edit applied: notes.md",
]


@pytest.mark.parametrize("run", RUNS)
def test_every_recorded_call_says_agent_and_folder(run: str) -> None:
    for call in requests("pi")[RUNS[run]]:
        assert AGENT.recognises(call)
        assert AGENT.kind(call) is CallKind.MAIN
        identity = AGENT.identity(call)
        assert (identity.agent, identity.workdir) == ("pi", WORKDIR)
        assert identity.session == (SESSION if run == "responses" else None)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_that_does_everything_once_is_told_tool_by_tool(run: str) -> None:
    batch = conversation(AGENT, *requests("pi")[RUNS[run]])
    assert told(batch) == EVERYTHING
    unseen = ["notes.md", "new/deep.txt", "new/__init__.py"]  # nothing says whether they were there before
    inferred = [event for event in events(batch) if event.status is Status.APPLIED and event.certainty == "inferred"]
    assert [event.file_path for event in inferred] == unseen


def test_an_edit_by_plain_signs_writes_the_lines_that_it_touches_in_plain_form() -> None:
    edits = [event for event in events(conversation(AGENT, *requests("pi")[RUNS["chat"]])) if event.diff]
    assert any(event.diff and event.diff.endswith("-    return “3”\n+    return 3\n") for event in edits)


def test_compaction_is_a_side_call() -> None:
    system = {"role": "system", "content": "You are a context summarization assistant. Your task is to read"}
    body = {"model": "m", "messages": [system, {"role": "user", "content": "<conversation>"}]}
    call = facts("POST", "/v1/chat/completions", {"user-agent": "pi (linux 6.1; x64)"}, body)
    assert AGENT.recognises(call)
    assert AGENT.kind(call) is CallKind.SUMMARY


def test_a_partial_read_has_its_own_line_numbers() -> None:
    use = ToolUse("1", "read", {"path": "/f", "offset": 2, "limit": 2})
    answer = AGENT.answer(use, ToolResult("1", "b\n\n\n[7 more lines in file. Use offset=4 to continue.]"))
    assert answer.lines == ((2, "b"), (3, ""))
    assert (answer.whole, answer.final_newline) == (None, None)


def test_a_file_that_begins_like_an_error_is_read_where_the_flag_says_so() -> None:
    use, text = ToolUse("1", "read", {"path": "/f"}), "ENOENT: no such file or directory"
    assert AGENT.answer(use, ToolResult("1", text, None)).status is Status.FAILED
    assert AGENT.answer(use, ToolResult("1", text, False)).lines == ((1, text),)


@pytest.mark.parametrize(
    ("text", "is_error", "status", "code"),
    [
        ("out\n\n\nCommand exited with code 3", None, Status.FAILED, 3),
        ("out\n\n\nCommand exited with code 3", False, Status.APPLIED, 0),
        ("Command aborted", True, Status.FAILED, None),
        ("(no output)", None, Status.APPLIED, 0),
    ],
)
def test_a_command_says_every_exit_code_but_0(
    text: str, is_error: bool | None, status: Status, code: int | None
) -> None:
    answer = AGENT.answer(ToolUse("1", "bash", {"command": "x"}), ToolResult("1", text, is_error))
    assert (answer.status, answer.exit_code) == (status, code)


@pytest.mark.parametrize(
    ("text", "edit", "after"),
    [
        ("a\nb\n", Replacement("b", "c"), "a\nc\n"),
        ("a\na\n", Replacement("a", "c"), None),
        ("a  \nb\nc “x”\n", Replacement("a\nb", "1"), "1\nc “x”\n"),
        ("x\nsay “hi” and “ho”\n", Replacement('"hi"', "hello"), 'x\nsay hello and "ho"\n'),
        ("say “hi”", Replacement('"hi"', "hello"), "say hello"),
        ("a\r\nb\r\n", Replacement("a\nb", "a\nx"), "a\r\nx\r\n"),
        ("a\n", Replacement("a", "a"), None),
    ],
)
def test_an_edit_finds_its_place_as_the_program_does(text: str, edit: Replacement, after: str | None) -> None:
    assert AGENT.replace(text, edit) == after


PROGRAM = """const text = await tools.read({path: "input.txt"});
await tools.mcp__files__write_file({path: "by-server.txt", content: "x\\n"});
const ran = await tools.bash({command: "ls; exit 3"});
await tools.edit({path: "a.txt", edits: [{oldText: "x", newText: "y"}]});
for (const name of text.split("\\n")) { await tools.write({path: name, content: "new\\n"}) }
try { await tools.read({path: "missing.txt"}) } catch {}
"""


@pytest.mark.parametrize("field", ["code", "input"])
def test_the_calls_of_a_program_are_told_as_far_as_program_and_result_tell_them(field: str) -> None:
    """What a program prints of a command or a server's tool is not read: so their ends are not known."""
    use = ToolUse("1", "codemode", {field: PROGRAM})
    said = ToolResult("1", "Script completed\nWall time 0.1 seconds\nOutput:\n3")
    found = zip(AGENT.actions(use), AGENT.answer(use, said).each, strict=True)
    assert [(one.event_type, one.path or one.command, one.certainty, end.status) for one, end in found] == [
        ("read", "input.txt", "exact", "applied"),
        ("write", "by-server.txt", "exact", "unknown"),
        ("bash", "ls; exit 3", "exact", "unknown"),
        ("edit", "a.txt", "exact", "applied"),
        ("write", "${name}", "inferred", "unknown"),
        ("read", "missing.txt", "inferred", "unknown"),
    ]
    assert not any(action.unknown_shape for action in AGENT.actions(use))


def test_of_a_program_that_failed_its_only_call_did() -> None:
    failed = ToolResult(
        "1", "Script failed\nWall time 0.1 seconds\nOutput:\nScript error:\nENOENT: no such file", is_error=True
    )
    one, two = (ToolUse("1", "codemode", {"code": "await tools.read({path: 'a'});\n" * count}) for count in (1, 2))
    assert [AGENT.answer(use, failed).status for use in (one, two)] == [Status.FAILED, Status.UNKNOWN]
    assert AGENT.answer(one, failed).note == "ENOENT: no such file"
    refused = ToolResult("1", "the options line is no JSON", is_error=True)
    assert AGENT.answer(two, refused).status is Status.FAILED
