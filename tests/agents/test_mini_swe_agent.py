"""mini-swe-agent on its own recorded requests, with its tool and with commands in text."""

from __future__ import annotations

import pytest

from ocproxy.agents.mini_swe_agent import AGENT
from ocproxy.model import CallKind, Status, Text, ToolResult, ToolUse
from tests.agents.replayed import conversation, facts, requests, told

TOOL, TEXT = slice(0, 2), slice(2, 4)
BASH = ToolUse("1", "bash", {"command": "x"})


def test_every_recorded_call_is_known_by_the_rules_in_its_prompt() -> None:
    for call in requests("mini_swe_agent"):
        assert AGENT.recognises(call)
        assert AGENT.kind(call) is CallKind.MAIN
        assert (AGENT.identity(call).agent, AGENT.identity(call).session) == ("mini-swe-agent", None)


def test_commands_of_the_tool_have_their_exit_codes() -> None:
    assert told(conversation(AGENT, *requests("mini_swe_agent")[TOOL])) == [
        "bash applied 0: cat input.txt",
        "bash applied 0: ls",
        "bash applied 0: cat > notes.md <<'E'\n# Notes\nE",
        "bash failed 3: echo out; echo err >&2; exit 3",
        "bash failed 1: false",
        "bash applied 0: seq 1 9000",
    ]


def test_commands_in_text_have_the_exit_codes_of_the_messages_behind_them() -> None:
    assert told(conversation(AGENT, *requests("mini_swe_agent")[TEXT])) == [
        "bash applied 0: ls && cat input.txt",
        "bash failed 3: echo out; exit 3",
    ]


def test_an_answer_with_two_commands_runs_none() -> None:
    block = "```mswea_bash_command\nls\n```\n"
    assert len(AGENT.uses_in((Text(block),))) == 1
    assert AGENT.uses_in((Text(block + block),)) == ()


def test_a_command_may_stand_in_a_tag() -> None:
    (use,) = AGENT.uses_in((Text("I look.\n<mswea_bash_command>ls -la</mswea_bash_command>"),))
    assert use.input == {"command": "ls -la"}


def test_a_command_that_was_not_executed_has_no_exit_code() -> None:
    text = '{\n  "returncode": -1,\n  "output": "",\n  "exception_info": "action was not executed"\n}'
    answer = AGENT.answer(BASH, ToolResult("1", text))
    assert (answer.status, answer.exit_code) == (Status.REJECTED, None)


def test_what_a_result_wraps_around_the_output_is_not_counted() -> None:
    assert AGENT.answer(BASH, ToolResult("1", '{"returncode": 0, "output": "ab\\n"}')).output_bytes == 3


def test_the_task_is_what_the_user_said() -> None:
    rules = "\n\nYou can execute bash commands and edit files to implement the necessary changes."
    assert AGENT.spoken(f"Please solve this issue: Mend it.{rules}") == "Mend it."


@pytest.mark.parametrize("tool", ["read_file", "edit"])
def test_an_agent_with_other_tools_is_another(tool: str) -> None:
    function = {"type": "function", "function": {"name": tool}}
    message = {"role": "user", "content": "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"}
    body = {"model": "m", "messages": [message], "tools": [function]}
    assert not AGENT.recognises(facts("POST", "/v1/chat/completions", {}, body))
