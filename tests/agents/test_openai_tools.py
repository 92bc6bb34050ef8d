"""OpenAI's own tool types, as the OpenAI Agents SDK 0.24 sends their calls and results."""

from __future__ import annotations

from ocproxy.agents.base import Action, Replacement
from ocproxy.agents.generic import AGENT
from ocproxy.model import EventType, Status, ToolResult, ToolUse


def patch(kind: str, diff: str | None = None, **more: str) -> tuple[Action, ...]:
    given = {"type": kind, "path": "/a.txt", **({"diff": diff} if diff is not None else {}), **more}
    return AGENT.actions(ToolUse("1", "apply_patch", given))


def test_an_operation_is_a_write_an_edit_a_deletion_or_a_move() -> None:
    assert patch("create_file", "+one\n+two") == (
        Action(EventType.WRITE, path="/a.txt", content="one\ntwo\n", creates=True),
    )
    hunk = Replacement("one\ntwo\n", "one\n2\n", whole_lines=True)
    edit = Action(EventType.EDIT, path="/a.txt", replacements=(hunk,))
    assert patch("update_file", "@@\n one\n-two\n+2") == (edit,)
    move = Action(EventType.MOVE, path="/a.txt", destination="/b.txt")
    assert patch("update_file", "@@\n one\n-two\n+2", move_to="/b.txt") == (edit, move)
    assert patch("delete_file") == (Action(EventType.DELETE, path="/a.txt"),)


def test_each_command_of_a_shell_call_has_its_own_end() -> None:
    use = ToolUse("1", "shell", {"commands": ["cat a", "exit 3", "sleep 99", "x"], "timeout_ms": 1000})
    assert [action.command for action in AGENT.actions(use)] == use.input["commands"]
    outcomes = [{"type": "exit", "exit_code": 0}, {"type": "exit", "exit_code": 3}, {"type": "timeout"}, None]
    outputs = [{"stdout": "ä", "stderr": "", "outcome": outcome} for outcome in outcomes]
    answer = AGENT.answer(use, ToolResult("1", "ä", True, content=outputs))
    assert [(one.status, one.exit_code, one.output_bytes) for one in answer.each] == [
        (Status.APPLIED, 0, 2),
        (Status.FAILED, 3, 2),
        (Status.FAILED, None, 2),
        (Status.UNKNOWN, None, 2),
    ]


def test_outputs_that_are_not_one_for_each_command_are_not_shared_out() -> None:
    use = ToolUse("1", "shell", {"commands": ["a", "b"]})
    result = ToolResult("1", "x", None, content=[{"stdout": "x", "outcome": {"type": "exit", "exit_code": 0}}])
    assert AGENT.answer(use, result).each == ()


def test_a_shell_of_another_form_is_told_by_its_fields() -> None:
    (action,) = AGENT.actions(ToolUse("1", "shell", {"command": ["bash", "-lc", "ls"]}))
    assert (action.event_type, action.command) == (EventType.BASH, "bash -lc ls")
