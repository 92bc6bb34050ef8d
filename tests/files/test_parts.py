"""File events of message parts in the shapes that programs have them in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocproxy import OpencodeSessionService
from ocproxy.files.parts import events_of, text_of


def seed(name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": given}


@pytest.mark.parametrize(
    ("part", "event"),
    [
        (seed("read", path="a"), {"event_type": "read", "file_path": "a", "diff": None}),
        (seed("write", path="a", diff="+x"), {"event_type": "write", "file_path": "a", "diff": "+x"}),
        (seed("write", path="a", content="x"), {"event_type": "write", "file_path": "a", "diff": "x"}),
        (seed("write", path="a", diff="+x", content="x"), {"event_type": "write", "file_path": "a", "diff": "+x"}),
        (seed("edit", path="a", diff="+x"), {"event_type": "edit", "file_path": "a", "diff": "+x"}),
        (seed("edit", path="a", new_string="y"), {"event_type": "edit", "file_path": "a", "diff": "y"}),
        (seed("edit", path="a", replace="y"), {"event_type": "edit", "file_path": "a", "diff": "y"}),
        (seed("bash", command="ls"), {"event_type": "bash", "command": "ls"}),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_the_tools_of_the_seed_give_exactly_their_events(part: dict[str, Any], event: dict[str, Any]) -> None:
    assert OpencodeSessionService.extract_file_events([part]) == [event]
    assert events_of([part], "opencode") == [event]


EDIT = "--- a/w/a.py\n+++ b/w/a.py\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (
            {"type": "tool", "tool": "edit", "callID": "c", "state": {
                "status": "completed", "input": {"filePath": "/w/a.py", "oldString": "a", "newString": "b"}}},
            [("edit", "/w/a.py", EDIT)],
        ),
        ({"type": "tool", "tool": "bash", "state": {"input": {"command": "ls"}}}, [("bash", "ls")]),
        ({"type": "tool", "tool": "todowrite", "state": {"input": {"todos": []}}}, []),
        (
            {"type": "tool_use", "id": "t", "name": "Edit", "input": {
                "file_path": "/w/a.py", "old_string": "a", "new_string": "b"}},
            [("edit", "/w/a.py", EDIT)],
        ),
        ({"type": "tool_use", "id": "t", "name": "Read", "input": {"file_path": "/w/a"}}, [("read", "/w/a", None)]),
        ({"type": "tool_use", "id": "t", "name": "Grep", "input": {"pattern": "x"}}, []),
        (
            {"type": "function_call", "call_id": "c", "name": "shell", "arguments": '{"command":["bash","-lc","ls"]}'},
            [("bash", "ls")],
        ),
        ({"type": "local_shell_call", "action": {"type": "exec", "command": ["ls", "-l"]}}, [("bash", "ls -l")]),
        (
            {"type": "custom_tool_call", "name": "apply_patch", "input":
                "*** Begin Patch\n*** Add File: n\n+hi\n*** Delete File: o\n*** End Patch"},
            [
                ("write", "n", "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+hi\n"),
                ("delete", "o", "deleted file mode 100644\n"),
            ],
        ),
        (
            {"type": "function", "id": "c", "function": {
                "name": "write_file", "arguments": '{"file_path": "/w/b", "content": "z\\n"}'}},
            [("write", "/w/b", "--- /dev/null\n+++ b/w/b\n@@ -0,0 +1 @@\n+z\n")],
        ),
        (
            {"role": "assistant", "tool_calls": [{"type": "function", "id": "c", "function": {
                "name": "run_shell_command", "arguments": '{"command": "ls"}'}}]},
            [("bash", "ls")],
        ),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_tool_calls_of_real_agents_are_told_by_their_catalogues(part: dict[str, Any], told: list[Any]) -> None:
    found = events_of([part])
    assert len(found) == len(told)
    for event, expected in zip(found, told, strict=True):
        if event["event_type"] == "bash":
            assert event == {"event_type": "bash", "command": expected[1]}
        else:
            assert (event["event_type"], event["file_path"]) == expected[:2]
            diff = event["diff"]
            assert diff is None if expected[2] is None else diff is not None and diff.endswith(expected[2])


@pytest.mark.parametrize(
    "part",
    [
        None, 7, "bare", [], {}, {"type": "tool_use"}, seed("bash"), seed("edit", path=3), seed("", path="a"),
        {"type": "tool", "state": None}, {"type": "tool", "tool": "edit", "state": {"input": None}},
        {"type": "function", "function": {"name": "write_file", "arguments": '{"file_path": "/w'}},
        {"type": "function_call", "name": None, "arguments": "[]"}, {"tool_calls": [None, 3, {"type": "function"}]},
        {"type": "local_shell_call", "action": {}}, {"type": "text", "text": "*** Begin Patch"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_tool_use_that_is_whole_gives_nothing(part: Any) -> None:
    assert events_of([part, seed("bash", command="ls")]) == [{"event_type": "bash", "command": "ls"}]


def test_the_text_of_parts_is_their_text_or_content() -> None:
    assert text_of([{"text": "a"}, {"content": "b"}, {"text": "c", "content": "d"}, {"text": 3, "content": "e"}]) == (
        "a\nb\nc\ne"
    )
    assert text_of([{"text": None}, {"content": [{"text": "nested"}]}, "bare", None]) is None
    assert OpencodeSessionService.extract_text([]) is None
