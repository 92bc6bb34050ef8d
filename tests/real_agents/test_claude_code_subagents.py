"""Subagents of Claude Code: two at once, nested, and in the background. Whose each is, it says itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.clients.claude_code import AGENT, TOOLS, ClaudeCode
from tests.real_agents.installation import Installation
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told
from tests.real_agents.stage import Stage, conversation, recorded, reduced, staged
from tests.real_agents.work import delegating, short

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
Open = Callable[..., AbstractContextManager[Stage[ClaudeCode]]]
LAYOUTS = pytest.mark.parametrize(
    "arguments", [(), ("--model", "claude-sonnet-4-5")], ids=["newest model", "older model"]
)
_PARENT_AGENT = "x-claude-code-parent-agent-id"


@pytest.fixture
def opened(installation: Installation, tmp_path: Path) -> Open:
    return lambda scripts: staged(tmp_path, ClaudeCode, installation, scripts)


def agent(child: str, *, background: bool = False) -> Call:
    call = TOOLS.delegate(f"[[script:{child}]] Do the subtask.")
    return Call(call.name, {**call.input, "run_in_background": background})


def handing_on(name: str, folder: Path, *calls: Call) -> Script:
    """Starts subagents, then writes a file itself."""
    own = TOOLS.write(folder / f"{name}.txt", f"by {name}\n")
    steps = (Step(text="Delegating.", calls=calls), Step(text="After.", calls=(own,)), Step(text=f"{name} is done."))
    return Script(name, steps)


def assert_the_tree_of_sessions(stage: Stage[ClaudeCode], top: str, tree: dict[str, str | None]) -> dict[str, Json]:
    """`tree` gives for each script the one whose session its session is under. Each session says what was said in it,
    and its events are those of its own script. Returns what `show` says of each."""
    stage.recorder.flush()
    sessions = stage.sessions()
    assert len(sessions) == len(tree)
    shown = {}
    for session in sessions:
        one = stage.show(session["id"])
        (script,) = {event["tool_use_id"].split("_")[1] for event in one["file_events"]}
        shown[script] = one
        agent_id = session["opencode_id"] if session["parent_id"] else None
        expected = [reduced(message) for message in conversation(stage.asked(top, agent_id))]
        assert [recorded(message) for message in one["messages"]] == expected
    ids = {script: one["session"]["id"] for script, one in shown.items()}
    parents = {script: one["session"]["parent_id"] for script, one in shown.items()}
    assert parents == {script: ids.get(above or "") for script, above in tree.items()}
    assert {one["session"]["parent_certainty"] for one in shown.values()} == {None, "exact"}
    assert_nothing_is_told_twice(*shown.values())
    assert_the_tree_is_told(stage, *shown.values())
    assert {event["status"] for one in shown.values() for event in one["file_events"]} == {"applied"}
    return shown


@LAYOUTS
def test_subagents_at_once_are_child_sessions_that_tell_their_own_work_only(
    arguments: tuple[str, ...], opened: Open
) -> None:
    names = ("one", "two")
    with opened(lambda w: [delegating("top", w, TOOLS, *names), *(short(name, w, TOOLS) for name in names)]) as stage:
        finished = stage.agent.run("[[script:top]] Do it.", *arguments)
        assert_the_tree_of_sessions(stage, finished.session, {"top": None, "one": "top", "two": "top"})
        told = stage.recorder.run("show", stage.session(finished.session)["id"])
        listed = told.partition("\nSubagents\n")[2].partition("\n\n")[0]
        assert listed.count("Do the subtask.") == len(names), "`show` names the subagents under their parent"


@LAYOUTS
def test_a_subagent_of_a_subagent_is_under_it(arguments: tuple[str, ...], opened: Open) -> None:
    def scripts(folder: Path) -> list[Script]:
        middle = handing_on("middle", folder, agent("bottom"))
        return [handing_on("top", folder, agent("middle")), middle, short("bottom", folder, TOOLS)]

    with opened(scripts) as stage:
        finished = stage.agent.run("[[script:top]] Do it.", *arguments)
        assert_the_tree_of_sessions(stage, finished.session, {"top": None, "middle": "top", "bottom": "middle"})
        said = {served.headers.get(AGENT): served.headers.get(_PARENT_AGENT) for served in stage.provider.log}
    assert [above in said for above in said.values() if above] == [True], "the nested one names the one that started it"


@LAYOUTS
def test_subagents_in_the_background_are_child_sessions(arguments: tuple[str, ...], opened: Open) -> None:
    names = ("one", "two")

    def scripts(folder: Path) -> list[Script]:
        top = handing_on("top", folder, *(agent(name, background=True) for name in names))
        return [top, *(short(name, folder, TOOLS) for name in names)]

    with opened(scripts) as stage:
        finished = stage.agent.run("[[script:top]] Do it.", *arguments)
        shown = assert_the_tree_of_sessions(stage, finished.session, {"top": None, "one": "top", "two": "top"})
    told = "\n".join(message["content"] or "" for message in shown["top"]["messages"])
    assert told.count("Async agent launched successfully") == len(names)
    for name in names:
        assert f"<result>{name} is done." in told, "the end of a background agent is a notification in the conversation"
