"""Gemini CLI, Qwen Code, Cline and pi: calls that nobody allowed, tools of MCP servers, commands in the background."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import Variant
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told
from tests.real_agents.test_other_sessions import PI, shorts

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
SERVER = str(Path(__file__).parents[1] / "support" / "mcp_server.py")
ASK = """
[[rule]]
toolName = "write_file"
decision = "ask_user"
priority = 900
"""


# Without a terminal there is nobody to ask, so these agents refuse what they would have asked about. What a mode
# forbids for good, Gemini CLI does not offer; a model that calls it nonetheless is told that there is no such tool.
@pytest.mark.parametrize(
    ("name", "options", "arguments", "read", "command"),
    [
        ("Gemini CLI", {"policy": ASK}, (), "applied", "applied"),
        ("Qwen Code", {"approvals": "default"}, (), "applied", "rejected"),
        ("Cline", {}, ("--auto-approve", "false"), "rejected", "rejected"),
    ],
)
def test_a_tool_that_the_user_forbids_is_rejected(
    opened: Opened, name: str, options: dict[str, str], arguments: tuple[str, ...], read: str, command: str
) -> None:
    with opened(name, shorts("work"), options) as stage:
        stage.agent.run("[[script:work]] Do it.", *arguments)
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert not (stage.workdir / "work.txt").exists()
    told = [(event["event_type"], event["status"]) for event in shown["file_events"]]
    assert told == [("read", read), ("write", "rejected"), ("bash", command)]
    assert all(event["note"] for event in shown["file_events"] if event["status"] == "rejected")


def asking(workdir: Path, variant: Variant) -> list[Script]:
    """Writes a file by the server, and one where no folder is. Qwen Code finds its server's tools by a search."""
    prefix = {"Gemini CLI": "mcp_files_", "Cline": "files__"}.get(variant.name, "mcp__files__")
    given: list[Json] = [
        {"path": "by-server.txt", "content": "by the server\n"},
        {"path": "missing/by-server.txt", "content": "nowhere\n"},
    ]
    name = f"{prefix}write_file"
    calls = [Call(name, one) for one in given]
    if variant.name == "Qwen Code":
        wrapped = [Call("tool_call", {"name": name, "arguments": one}) for one in given]
        calls = [Call("tool_search", {"query": f"select:{name}"}), *wrapped]
    return [Script("served", (*(Step(text="Asking.", calls=(call,)) for call in calls), Step(text="Done.")))]


@pytest.mark.parametrize("name", ["Gemini CLI", "Qwen Code", "Cline", *PI])
def test_files_that_an_mcp_server_writes_are_events(opened: Opened, name: str, tmp_path: Path) -> None:
    server = {"command": sys.executable, "args": [SERVER, str(tmp_path / "work")], "trust": True, "exposure": "direct"}
    with opened(name, asking, {"mcp": json.dumps({"files": server})}) as stage:
        stage.agent.run("[[script:served]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert (stage.workdir / "by-server.txt").exists()
    told = [(event["event_type"], event["file_path"], event["status"]) for event in shown["file_events"]]
    assert told == [("write", "by-server.txt", "applied"), ("write", "missing/by-server.txt", "failed")]
    assert_nothing_is_told_twice(shown)


@pytest.mark.parametrize("name", PI)
def test_tools_that_a_program_calls_are_events(opened: Opened, name: str) -> None:
    code = """const said = await tools.read({path: "input.txt"});
await tools.write({path: "made.txt", content: "by a program\\n"});
await tools.edit({path: "input.txt", edits: [{oldText: "beta", newText: "BETA"}]});
text(said.length);
"""

    def scripts(workdir: Path, variant: Variant) -> list[Script]:
        reading = Step(text="Reading.", calls=(variant.tools.read(workdir / "input.txt"),))
        return [
            Script(
                "all", (reading, Step(text="Running.", calls=(Call("codemode", {"code": code}),)), Step(text="Done."))
            )
        ]

    with opened(name, scripts) as stage:
        stage.agent.run("[[script:all]] Do it.", "--tools", "+codemode")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
    told = [(event["event_type"], Path(event["file_path"]).name, event["status"]) for event in shown["file_events"]]
    assert told == [
        ("read", "input.txt", "applied"),
        ("read", "input.txt", "applied"),
        ("write", "made.txt", "applied"),
        ("edit", "input.txt", "applied"),
    ]
    assert shown["file_events"][-1]["certainty"] == "exact"


# Qwen Code tells ends of commands to a session that goes on; a run without a terminal ends before.
@pytest.mark.parametrize("name", ["Gemini CLI"])
def test_the_end_of_a_background_command_is_told(opened: Opened, name: str) -> None:
    command = "sleep 1; echo late; exit 4"

    def scripts(workdir: Path, variant: Variant) -> list[Script]:
        given = {"command": command, "description": "Wait", "is_background": True}
        steps = (
            Step(text="Starting.", calls=(Call("run_shell_command", given),)),
            Step(text="Waiting.", calls=(variant.tools.bash("sleep 3"),)),
            Step(text="Looking.", calls=(Call("list_background_processes", {}),)),
            Step(text="Done."),
        )
        return [Script("late", steps)]

    with opened(name, scripts) as stage:
        stage.agent.run("[[script:late]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        events = stage.show(session["id"])["file_events"]
    told = [(event["command"], event["status"], event["exit_code"]) for event in events]
    assert told == [(command, "failed", 4), ("sleep 3", "applied", 0)]
