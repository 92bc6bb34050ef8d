"""Tools of newer versions of agents: a field dropped, renamed or of another type is told in doubt, never wrongly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ocproxy.agents.base import Action, Agent
from ocproxy.agents.catalog import agent_named
from ocproxy.files.derive import FileLedger
from ocproxy.ingest.interpret import interpret
from ocproxy.model import EventType, FileEvent, ToolResult, ToolUse
from tests.protocols.corpus import make_exchange

READ, WRITE, EDIT, BASH = EventType.READ, EventType.WRITE, EventType.EDIT, EventType.BASH
SEARCH, DELETE = EventType.SEARCH, EventType.DELETE
PATH, CONTENT, OLD, NEW, LINE = "/work/a.py", "content\n", "old text\n", "new text\n", "make test"
PATCH = f"*** Begin Patch\n*** Update File: {PATH}\n@@\n-old text\n+new text\n*** End Patch\n"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

EDITOR = "str_replace_based_edit_tool"
CLAUDE_EDIT = {"file_path": PATH, "old_string": OLD, "new_string": NEW}
OPENCODE_EDIT = {"filePath": PATH, "oldString": OLD, "newString": NEW}
# (agent, tool, what it does, its required fields): those of each plug-in's catalogue that touch files or run commands.
TOOLS: list[tuple[str, str, EventType, dict[str, Any]]] = [
    ("claude-code", "Read", READ, {"file_path": PATH}),
    ("claude-code", "NotebookRead", READ, {"notebook_path": PATH}),
    ("claude-code", "Write", WRITE, {"file_path": PATH, "content": CONTENT}),
    ("claude-code", "Edit", EDIT, CLAUDE_EDIT),
    ("claude-code", "MultiEdit", EDIT, {"file_path": PATH, "edits": [{"old_string": OLD, "new_string": NEW}]}),
    ("claude-code", "NotebookEdit", EDIT, {"notebook_path": PATH, "new_source": CONTENT}),
    ("claude-code", "Bash", BASH, {"command": LINE}),
    ("claude-code", "PowerShell", BASH, {"command": LINE}),
    ("claude-code", "Glob", SEARCH, {"pattern": "*.py"}),
    ("claude-code", "Grep", SEARCH, {"pattern": "x"}),
    ("opencode", "read", READ, {"filePath": PATH}),
    ("opencode", "write", WRITE, {"filePath": PATH, "content": CONTENT}),
    ("opencode", "edit", EDIT, OPENCODE_EDIT),
    ("opencode", "multiedit", EDIT, {"filePath": PATH, "edits": [{"oldString": OLD, "newString": NEW}]}),
    ("opencode", "patch", EDIT, {"patchText": PATCH}),
    ("opencode", "apply_patch", EDIT, {"patchText": PATCH}),
    ("opencode", "bash", BASH, {"command": LINE}),
    ("opencode", "glob", SEARCH, {"pattern": "*.py"}),
    ("opencode", "grep", SEARCH, {"pattern": "x"}),
    ("codex", "exec_command", BASH, {"cmd": LINE}),
    ("codex", "shell", BASH, {"command": ["make", "test"]}),
    ("codex", "shell_command", BASH, {"command": LINE}),
    ("codex", "container.exec", BASH, {"command": ["make", "test"]}),
    ("codex", "local_shell", BASH, {"command": ["make", "test"]}),
    ("codex", "apply_patch", EDIT, {"input": PATCH}),
    ("codex", "view_image", READ, {"path": PATH}),
    ("gemini-cli", "read_file", READ, {"file_path": PATH}),
    ("gemini-cli", "write_file", WRITE, {"file_path": PATH, "content": CONTENT}),
    ("gemini-cli", "replace", EDIT, CLAUDE_EDIT),
    ("gemini-cli", "run_shell_command", BASH, {"command": LINE}),
    ("gemini-cli", "glob", SEARCH, {"pattern": "*.py"}),
    ("gemini-cli", "grep_search", SEARCH, {"pattern": "x"}),
    ("gemini-cli", "search_file_content", SEARCH, {"pattern": "x"}),
    ("qwen-code", "read_file", READ, {"file_path": PATH}),
    ("qwen-code", "write_file", WRITE, {"file_path": PATH, "content": CONTENT}),
    ("qwen-code", "edit", EDIT, CLAUDE_EDIT),
    ("qwen-code", "notebook_edit", EDIT, {"notebook_path": PATH}),
    ("qwen-code", "run_shell_command", BASH, {"command": LINE}),
    ("qwen-code", "glob", SEARCH, {"pattern": "*.py"}),
    ("qwen-code", "grep_search", SEARCH, {"pattern": "x"}),
    ("pi", "read", READ, {"path": PATH}),
    ("pi", "write", WRITE, {"path": PATH, "content": CONTENT}),
    ("pi", "edit", EDIT, {"path": PATH, "edits": [{"oldText": OLD, "newText": NEW}]}),
    ("pi", "bash", BASH, {"command": LINE}),
    ("cline", "read_files", READ, {"files": [{"path": PATH}]}),
    ("cline", "run_commands", BASH, {"commands": [LINE]}),
    ("cline", "search_codebase", SEARCH, {"queries": ["x"]}),
    ("cline", "editor", EDIT, {"path": PATH, "new_text": CONTENT}),
    ("deepagents", "read_file", READ, {"file_path": PATH}),
    ("deepagents", "write_file", WRITE, {"file_path": PATH, "content": CONTENT}),
    ("deepagents", "edit_file", EDIT, CLAUDE_EDIT),
    ("deepagents", "delete", DELETE, {"file_path": PATH}),
    ("deepagents", "execute", BASH, {"command": LINE}),
    ("deepagents", "glob", SEARCH, {"pattern": "*.py"}),
    ("deepagents", "grep", SEARCH, {"pattern": "x"}),
    ("mini-swe-agent", "bash", BASH, {"command": LINE}),
    ("smolagents", "python_interpreter", BASH, {"code": "print(1)"}),
]
EDITORS: list[tuple[EventType, dict[str, Any]]] = [
    (READ, {"command": "view", "path": PATH}),
    (WRITE, {"command": "create", "path": PATH, "file_text": CONTENT}),
    (EDIT, {"command": "str_replace", "path": PATH, "old_str": OLD}),
    (EDIT, {"command": "insert", "path": PATH, "insert_line": 3, "insert_text": NEW}),
]
for _agent in ("generic", "claude-code", "openai-agents", "pydantic-ai"):
    TOOLS += [(_agent, EDITOR, kind, given) for kind, given in EDITORS]
WRONG: list[Any] = [None, 17, 2.5, True, {"value": "/elsewhere"}, [], [7], [{"text": "/elsewhere"}], [["/elsewhere"]]]


def _changed(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The input without each field, with each field under a name that nobody knows, and with values of other types."""
    yield {}
    for field, value in given.items():
        rest = {name: other for name, other in given.items() if name != field}
        yield rest
        yield {**rest, f"{field}_v2": value}
        # An empty list of files asks for nothing.
        yield from ({**given, field: wrong} for wrong in WRONG if wrong != [] or not isinstance(value, list))


CASES = [
    pytest.param(agent, tool, kind, changed, id=f"{agent}-{tool}-{number}")
    for agent, tool, kind, given in TOOLS
    for number, changed in enumerate(_changed(given))
    if not (isinstance(given.get("insert_line"), int) and changed.get("insert_line") == 17)
]


def _told(agent: Agent, use: ToolUse, result: ToolResult) -> list[FileEvent]:
    """The events of the use when it was asked for, and settled by its result, after another read the file."""
    ledger = FileLedger("s", "/work", agent)
    asked = ledger.take("assistant", [use], "m1", NOON)
    settled = ledger.take("user", [result], "m2", NOON)
    ledger.session_diff()
    assert len(asked) == len(settled)
    return [*asked, *settled]


@pytest.mark.parametrize(("name", "tool", "kind", "given"), [(a, t, k, g) for a, t, k, g in TOOLS])
def test_a_tool_of_its_known_shape_is_not_in_doubt(
    name: str, tool: str, kind: EventType, given: dict[str, Any]
) -> None:
    actions = agent_named(name).actions(ToolUse("t", tool, given))
    # An editor without an old text and a line makes a file.
    assert [action.event_type for action in actions] == [WRITE if (name, tool) == ("cline", "editor") else kind]
    assert not any(action.unknown_shape for action in actions)


@pytest.mark.parametrize(("name", "tool", "kind", "given"), CASES)
def test_another_shape_is_told_in_doubt_and_never_with_a_wrong_path(
    name: str, tool: str, kind: EventType, given: dict[str, Any]
) -> None:
    agent, use = agent_named(name), ToolUse("t", tool, given)
    actions = agent.actions(use)
    assert actions
    for action in actions:
        _is_honest(action, tool, kind, given)
    for is_error in (True, False, None):
        for event in _told(agent, use, ToolResult("t", "1\tdone\n", is_error=is_error)):
            assert event.certainty == "inferred" and event.note
            assert event.file_path in (None, PATH)


def _is_honest(action: Action, tool: str, kind: EventType, given: dict[str, Any]) -> None:
    assert action.certainty == "inferred" and action.unknown_shape and action.doubt and "\n" not in action.doubt
    assert "None" not in action.doubt and tool in action.doubt
    assert action.path in (None, PATH) and action.destination is None
    # Without a command that is known, the editor's own name says that much.
    is_of_unknown_command = tool == EDITOR and given.get("command") not in ("view", "create", "str_replace", "insert")
    assert action.event_type is (EDIT if is_of_unknown_command else kind)
    assert action.content in (None, CONTENT)
    assert all((edit.old, edit.new) in ((OLD, NEW), (OLD, "")) for edit in action.replacements)
    assert action.insert_after in (None, (3, NEW))


def test_a_field_under_a_name_that_others_use_is_understood_and_says_so() -> None:
    use = ToolUse("t", "Edit", {"filePath": PATH, "oldString": OLD, "newString": NEW})
    (action,) = agent_named("claude-code").actions(use)
    assert action.path == PATH and [(edit.old, edit.new) for edit in action.replacements] == [(OLD, NEW)]
    assert action.doubt == "the tool Edit has no field file_path; guessed by its other fields"


@pytest.mark.parametrize(
    ("name", "tool", "given", "field"),
    [
        ("claude-code", "Edit", {**CLAUDE_EDIT, "replace_all": "all"}, "replace_all"),
        ("claude-code", "Read", {"file_path": PATH, "offset": {"line": 3}}, "offset"),
        ("opencode", "edit", {**OPENCODE_EDIT, "replaceAll": 2}, "replaceAll"),
        ("codex", "exec_command", {"cmd": LINE, "workdir": ["/w"]}, "workdir"),
        ("gemini-cli", "replace", {**CLAUDE_EDIT, "allow_multiple": "many"}, "allow_multiple"),
        ("qwen-code", "read_file", {"file_path": PATH, "offset": "end"}, "offset"),
        ("pi", "read", {"path": PATH, "limit": [1, 2]}, "limit"),
        ("cline", "editor", {"path": PATH, "new_text": NEW, "old_text": [OLD]}, "old_text"),
    ],
)
def test_an_optional_field_of_another_type_puts_the_event_in_doubt(
    name: str, tool: str, given: dict[str, Any], field: str
) -> None:
    (action,) = agent_named(name).actions(ToolUse("t", tool, given))
    assert action.certainty == "inferred" and f"has a field {field} that is no " in (action.doubt or "")


def test_a_list_of_edits_of_which_one_is_not_understood_tells_no_edit_at_all() -> None:
    edits = [{"oldText": OLD, "newText": NEW}, {"at": 3, "insert": "x"}]
    for name, tool in [("pi", "edit"), ("claude-code", "mcp__fs__edit_file"), ("opencode", "fs_edit_file")]:
        (action,) = agent_named(name).actions(ToolUse("t", tool, {"path": PATH, "edits": edits}))
        assert (action.event_type, action.path, action.replacements) == (EDIT, PATH, ())
        assert action.certainty == "inferred" and action.doubt


def test_one_of_many_that_is_not_understood_keeps_its_place() -> None:
    use = ToolUse("t", "read_files", {"files": ["/work/b.py", {"uri": 5}, {"path": PATH}]})
    actions = agent_named("cline").actions(use)
    assert [(action.path, action.unknown_shape) for action in actions] == [
        ("/work/b.py", False),
        (None, True),
        (PATH, False),
    ]


@pytest.mark.parametrize(
    "program",
    [
        "await tools.exec_command({command: {words: 3}})",
        "await tools.exec_command({cmd: 5})",
        "await tools.view_image({detail: 'high'})",
        "await tools.apply_patch(5)",
    ],
)
def test_a_call_in_a_program_of_codex_is_told_in_doubt_too(program: str) -> None:
    (action,) = agent_named("codex").actions(ToolUse("t", "exec", {"input": program}))
    assert action.certainty == "inferred" and action.doubt and action.unknown_shape and action.path is None


def test_a_write_whose_content_is_not_told_leaves_the_file_unknown() -> None:
    ledger = FileLedger("s", "/work", agent_named("claude-code"))
    for number, given in enumerate([{"content": "one\n"}, {"body": "two\n"}, {"content": "three\n"}]):
        use = ToolUse(f"t{number}", "Write", {"file_path": PATH, **given})
        ledger.take("assistant", [use], f"m{number}", NOON)
        (event,) = ledger.take("user", [ToolResult(use.id, "File created successfully at: x")], f"r{number}", NOON)
        if number == 1:
            assert event.diff is None and event.certainty == "inferred"
            assert event.note == "the tool Write has no field content; guessed by its other fields"
    assert "-one" not in (event.diff or "") and "+three" in (event.diff or "")


@pytest.mark.parametrize(
    ("name", "tool"),
    [("claude-code", "TodoWrite"), ("opencode", "webfetch"), ("codex", "update_plan"), ("claude-code", "WebFetch")],
)
def test_tools_that_touch_no_file_stay_without_events(name: str, tool: str) -> None:
    assert agent_named(name).actions(ToolUse("t", tool, {"path": PATH, "steps": 3})) == ()


def _answered(given: dict[str, Any], tool: str = "Edit", stop: str = "tool_use") -> list[tuple[str, str]]:
    """The problems of a call of Claude Code whose answer is this tool use."""
    reply = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "tool_use", "id": "t1", "name": tool, "input": given}],
        "stop_reason": stop,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    asked = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}).encode()
    answer = json.dumps(reply).encode()
    head = b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nuser-agent: claude-cli/2.1.329 (external, cli)\r\n"
    kind = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
    item = interpret(
        make_exchange((head + kind % len(asked), asked), (b"HTTP/1.1 200 OK\r\n" + kind % len(answer), answer))
    )
    assert item.agent.name == "claude-code"
    return [(problem.code, problem.message) for problem in item.problems]


def test_the_call_whose_reply_has_such_a_use_has_a_problem() -> None:
    told = "the tool Edit has no field old_string; guessed by its other fields"
    assert _answered({"file_path": PATH, "edit": "x"}) == [("unknown_tool_shape", told)]


def test_a_call_with_tools_of_known_shapes_has_none() -> None:
    assert _answered(CLAUDE_EDIT) == [] and _answered({"todos": 3}, "TodoWrite") == []
