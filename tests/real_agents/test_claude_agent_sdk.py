"""Scripts on the Claude Agent SDK: turns of a client, tools of its own process, its subagents, what it forbids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.clients.agent_sdk import FREE, AgentSdk
from tests.real_agents.clients.claude_code import TOOLS
from tests.real_agents.conftest import Installed
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told, statuses
from tests.real_agents.stage import Stage, conversation, recorded, reduced, staged
from tests.real_agents.work import short

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Open = Callable[[Callable[[Path], Iterable[Script]]], AbstractContextManager[Stage[AgentSdk]]]
QUERY = pytest.mark.parametrize("name", ["Claude Agent SDK, query"])
CLIENT = pytest.mark.parametrize("name", ["Claude Agent SDK, client"])


@pytest.fixture
def opened(installed: Installed, tmp_path: Path) -> Open:
    return lambda scripts: staged(tmp_path, AgentSdk, installed(AgentSdk), scripts)


@CLIENT
def test_turns_of_a_client_are_one_session(name: str, opened: Open) -> None:
    with opened(lambda folder: [short("first", folder, TOOLS), short("second", folder, TOOLS)]) as stage:
        finished = stage.agent.run("[[script:first]] Do it.", "[[script:second]] Go on.")
        assert finished.result == "second is done."
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert (session["opencode_id"], session["agent_name"]) == (finished.session, "claude-code")
        expected = [reduced(message) for message in conversation(stage.asked(finished.session))]
        assert [recorded(message) for message in shown["messages"]] == expected
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)


SERVER = """
from pathlib import Path


@tool("write_file", "Write a file", {"path": str, "content": str})
async def write_file(given):
    Path(given["path"]).write_text(given["content"])
    return {"content": [{"type": "text", "text": f"Successfully wrote to {given['path']}"}]}


@tool("fail", "Always fails", {})
async def fail(given):
    return {"content": [{"type": "text", "text": "this tool always fails"}], "is_error": True}


SERVER = create_sdk_mcp_server("own", tools=[write_file, fail])
"""


@QUERY
def test_files_that_an_mcp_server_writes_are_events(name: str, opened: Open) -> None:
    """The server is the script itself: an SDK MCP server in its process."""
    names = ["mcp__own__write_file", "mcp__own__fail"]
    steps = (
        Step(text="Loading.", calls=(Call("ToolSearch", {"query": f"select:{','.join(names)}", "max_results": 5}),)),
        Step(text="Writing.", calls=(Call(names[0], {"path": "own.txt", "content": "by the script\n"}),)),
        Step(text="Failing.", calls=(Call(names[1], {}),)),
        Step(text="Done."),
    )
    with opened(lambda folder: [Script("served", steps)]) as stage:
        stage.agent.options = {"before": SERVER, "options": f'{FREE}, mcp_servers={{"own": SERVER}}'}
        stage.agent.run("[[script:served]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert (stage.workdir / "own.txt").read_text() == "by the script\n"
        assert_the_tree_is_told(stage, shown)
    assert [(event["event_type"], event["file_path"], event["status"]) for event in shown["file_events"]] == [
        ("write", "own.txt", "applied")
    ]


@QUERY
def test_a_subagent_is_a_child_session(name: str, opened: Open) -> None:
    call = TOOLS.delegate("[[script:child]] Do the subtask.")
    given = Call(call.name, {**call.input, "subagent_type": "helper"})

    def scripts(folder: Path) -> list[Script]:
        own = TOOLS.write(folder / "parent.txt", "by the parent\n")
        steps = (Step(text="Delegating.", calls=(given,)), Step(text="After.", calls=(own,)), Step(text="Done."))
        return [Script("parent", steps), short("child", folder, TOOLS)]

    with opened(scripts) as stage:
        helper = 'agents={"helper": AgentDefinition(description="Helps", prompt="You are a helper of few words.")}'
        stage.agent.options = {"options": f"{FREE}, {helper}"}
        finished = stage.agent.run("[[script:parent]] Do it.")
        stage.recorder.flush()
        parent = stage.session(finished.session)
        (child,) = [session for session in stage.sessions() if session["parent_id"]]
        assert (child["parent_id"], child["parent_certainty"]) == (parent["id"], "exact")
        shown = [stage.show(session["id"]) for session in (parent, child)]
        for one, agent_id in zip(shown, (None, child["opencode_id"]), strict=True):
            expected = [reduced(message) for message in conversation(stage.asked(finished.session, agent_id))]
            assert [recorded(message) for message in one["messages"]] == expected
        assert_nothing_is_told_twice(*shown)
        assert_the_tree_is_told(stage, *shown)


DENYING = """
async def judge(tool, given, context):
    if tool == "Write":
        return PermissionResultDeny(message="Not in this house.")
    return PermissionResultAllow()
"""


@CLIENT
def test_a_tool_that_the_script_denies_has_failed_for_the_reason_that_it_gave(name: str, opened: Open) -> None:
    """The answer of `can_use_tool` becomes the result in the script's own words, flagged as an error. Nothing on the
    wire tells them from an error of the tool, so it is told as failed and not as rejected."""
    with opened(lambda folder: [short("work", folder, TOOLS)]) as stage:
        stage.agent.options = {"before": DENYING, "options": "can_use_tool=judge", "turns": "one"}
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
    (write,) = [event for event in shown["file_events"] if event["event_type"] == "write"]
    assert (write["status"], write["note"]) == ("failed", "Not in this house.")


@QUERY
def test_a_tool_that_the_user_forbids_is_rejected(name: str, opened: Open) -> None:
    with opened(lambda folder: [short("work", folder, TOOLS)]) as stage:
        stage.agent.options = {"options": f'{FREE}, disallowed_tools=["Write", "Bash(echo:*)"]'}
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
    assert [status for _, status in statuses(shown)] == ["applied", "rejected", "rejected"]
