"""What a real Claude Code tells beside results: the ends of background commands, and where its shell stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.clients.claude_code import ClaudeCode
from tests.real_agents.installation import Installation
from tests.real_agents.stage import apply, staged
from tests.real_agents.work import files_of

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]


def _bash(command: str, **more: bool) -> Call:
    return Call("Bash", {"command": command, "description": 'Say "no" & <fail>', **more})


def _script(_: Path) -> list[Script]:
    background = (_bash("true", run_in_background=True), _bash("exit 3", run_in_background=True))
    steps = (
        Step(text="Two commands in the background.", calls=background),
        Step(text="Elsewhere.", calls=(_bash("cd docs"),)),
        Step(text="There.", calls=(Call("Write", {"file_path": "here.txt", "content": "here\n"}),)),
        Step(text="Done."),
    )
    return [Script("news", steps)]


@pytest.mark.parametrize("arguments", [(), ("--model", "claude-sonnet-4-5")], ids=["newest model", "older model"])
def test_ends_of_background_commands_and_the_shells_folder_are_known(
    arguments: tuple[str, ...], installation: Installation, tmp_path: Path
) -> None:
    with staged(tmp_path, ClaudeCode, installation, _script) as stage:
        finished = stage.agent.run("Do the work.", *arguments)
        stage.recorder.flush()
        session = stage.session(str(finished.session))
        events = stage.show(session["id"])["file_events"]
        assert [(event["status"], event["exit_code"]) for event in events] == [
            ("applied", 0),
            ("failed", 3),
            ("applied", 0),
            ("applied", None),
        ]
        assert (events[3]["file_path"], events[3]["certainty"]) == (str(stage.workdir / "docs" / "here.txt"), "exact")
        tree = stage.copy_of_start("diffed")
        apply(stage.recorder.run("diff", session["id"]), tree)
        assert files_of(tree) == files_of(stage.workdir)
        stage.recorder.stop()
        stage.recorder.run("rebuild")
        assert stage.show(session["id"])["file_events"] == events
