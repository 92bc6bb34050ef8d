"""Agents made with deepagents: its own tools on a folder of the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ocproxy.demo.script import Script, Step
from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways
from tests.real_agents.work import FieldTools, Tools, everything


class DeepAgents(Library):
    package = Package("deepagents", "PyPI", "deepagents", "python", more=("langchain-openai",))
    script = "deepagents_script.py"

    def settings(self) -> dict[str, str]:
        return {**super().settings(), "LANGSMITH_TRACING": "false"}


class DeepTools(FieldTools):
    def more(self, does: str) -> dict[str, Any]:
        return {"subagent_type": "general-purpose"} if does == "delegate" else {}


TOOLS = DeepTools(
    read=("read_file", "file_path"),
    write=("write_file", "file_path", "content"),
    edit=("edit_file", "file_path", "old_string", "new_string", "replace_all"),
    bash=("execute", "command"),
    delegate=("task", "description"),
)


def one_by_one(name: str, folder: Path, tools: Tools) -> Script:
    """It refuses two changes of one file at once, and its reads hide whether the last line ends in a newline."""
    steps: list[Step] = []
    for step in everything(name, folder, tools, unended=False).steps:
        paths = [call.input.get("file_path") for call in step.calls]
        if None in paths[2:3] and paths[0] == paths[1]:
            steps.append(msgspec.structs.replace(step, calls=step.calls[:1]))
            step = Step(text="The other one.", calls=step.calls[1:])
        steps.append(step)
    return Script(name, tuple(steps))


_way = ways(DeepAgents, "deepagents", TOOLS, says_reads=True, script=one_by_one)

VARIANTS = [_way("Chat Completions", "openai-chat", "chat", "--stream")]
