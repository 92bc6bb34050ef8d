"""What the common script does not play: subagents that say nothing of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.clients import variants
from tests.real_agents.conftest import Installed
from tests.real_agents.stage import staged
from tests.real_agents.work import delegating, short

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
_BY_NAME = {variant.name: variant for variant in variants()}


@pytest.mark.parametrize("name", ["Gemini CLI", "Qwen Code", "Cline"])
def test_subagents_without_identity_are_found_by_the_prompts_that_they_were_given(
    installed: Installed, tmp_path: Path, name: str
) -> None:
    variant = _BY_NAME[name]

    def scripts(folder: Path) -> list[Script]:
        children = [short(child, folder, variant.tools) for child in ("child", "other")]
        if name == "Gemini CLI":  # a subagent ends by a tool
            ending = Step(calls=(Call("complete_task", {"result": {"response": "done"}}),))
            children = [Script(child.name, (*child.steps[:-1], ending)) for child in children]
        return [delegating("parent", folder, variant.tools, "child", "other"), *children]

    with staged(tmp_path, variant.client, installed(variant.client), scripts) as stage:
        stage.agent.options = variant.options
        stage.agent.run("[[script:parent]] Do the work.")
        stage.recorder.flush()
        (parent,) = [row for row in stage.sessions() if not row["parent_id"]]
        children = [row for row in stage.sessions() if row["parent_id"]]
        assert [row["parent_id"] for row in children] == [parent["id"]] * 2
        assert {row["parent_certainty"] for row in children} == {"inferred"}
        written = {row["id"]: changes(stage.show(row["id"])) for row in [parent, *children]}
        assert written[parent["id"]] == ["parent.txt"]
        assert sorted(written[row["id"]] for row in children) == [["child.txt"], ["other.txt"]]


def changes(shown: Json) -> list[str]:
    return [Path(event["file_path"]).name for event in shown["file_events"] if event["event_type"] in ("write", "edit")]
