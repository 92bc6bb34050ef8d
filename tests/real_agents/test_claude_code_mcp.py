"""Tools that Claude Code loads when they are asked for: those of an MCP server, and the one that edits notebooks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.clients.claude_code import TOOLS, ClaudeCode
from tests.real_agents.installation import Installation
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told, statuses
from tests.real_agents.stage import staged

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

SERVER = str(Path(__file__).parents[1] / "support" / "mcp_server.py")
Json = dict[str, Any]
LAYOUTS = pytest.mark.parametrize(
    "arguments", [(), ("--model", "claude-sonnet-4-5")], ids=["newest model", "older model"]
)


def load(*names: str) -> Step:
    return Step(text="Loading.", calls=(Call("ToolSearch", {"query": f"select:{','.join(names)}", "max_results": 5}),))


def served(_: Path) -> list[Script]:
    names = [f"mcp__files__{name}" for name in ("write_file", "read_file", "fail")]
    write, read, fail = names
    steps = (
        load(*names),
        Step(text="Writing.", calls=(Call(write, {"path": "by-server.txt", "content": "by the server\n"}),)),
        Step(text="Reading.", calls=(Call(read, {"path": "by-server.txt"}), Call(fail, {}))),
        Step(text="Failing.", calls=(Call(read, {"path": "missing.txt"}),)),
        Step(text="Done."),
    )
    return [Script("served", steps)]


@LAYOUTS
def test_files_that_an_mcp_server_writes_are_events(
    arguments: tuple[str, ...], installation: Installation, tmp_path: Path
) -> None:
    with staged(tmp_path, ClaudeCode, installation, served) as stage:
        server = {"command": sys.executable, "args": [SERVER, str(stage.workdir)]}
        config = tmp_path / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {"files": server}}), "utf-8")
        finished = stage.agent.run("[[script:served]] Do it.", "--mcp-config", str(config), *arguments)
        stage.recorder.flush()
        (session,) = stage.sessions()
        assert session["opencode_id"] == finished.session
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
    told = [(event["event_type"], event["file_path"], event["status"]) for event in shown["file_events"]]
    assert told == [
        ("write", "by-server.txt", "applied"),
        ("read", "by-server.txt", "applied"),
        ("read", "missing.txt", "failed"),
    ]


def editing(folder: Path) -> list[Script]:
    cell: Json = {
        "cell_type": "code",
        "id": "c1",
        "metadata": {},
        "source": "print(1)",
        "outputs": [],
        "execution_count": None,
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = str(folder / "book.ipynb")
    change = {"notebook_path": path, "cell_id": "c1"}
    steps = (
        load("NotebookEdit"),
        Step(text="Writing.", calls=(TOOLS.write(Path(path), json.dumps(notebook, indent=1)),)),
        Step(text="Reading.", calls=(TOOLS.read(Path(path)),)),
        Step(text="Changing.", calls=(Call("NotebookEdit", {**change, "new_source": "print(2)"}),)),
        Step(
            text="Adding.",
            calls=(
                Call(
                    "NotebookEdit",
                    {**change, "new_source": "# More", "cell_type": "markdown", "edit_mode": "insert"},
                ),
            ),
        ),
        Step(text="Failing.", calls=(Call("NotebookEdit", {**change, "cell_id": "none", "new_source": "x"}),)),
        Step(text="Done."),
    )
    return [Script("edited", steps)]


@LAYOUTS
def test_edits_of_notebooks_are_exact(arguments: tuple[str, ...], installation: Installation, tmp_path: Path) -> None:
    with staged(tmp_path, ClaudeCode, installation, editing) as stage:
        stage.agent.run("[[script:edited]] Do it.", *arguments)
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
    assert statuses(shown, "edit") == [
        ("toolu_edited_s3_t0", "applied"),
        ("toolu_edited_s4_t0", "applied"),
        ("toolu_edited_s5_t0", "failed"),
    ]
    edits = [event for event in shown["file_events"] if event["event_type"] == "edit"]
    assert {event["certainty"] for event in edits[:2]} == {"exact"}
