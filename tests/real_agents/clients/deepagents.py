"""Agents made with deepagents: its own tools on a folder of the disk."""

from __future__ import annotations

from functools import partial

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways
from tests.real_agents.work import FieldTools, everything


class DeepAgents(Library):
    package = Package("deepagents", "PyPI", "deepagents", "python", more=("langchain-openai",))
    script = "deepagents_script.py"

    def settings(self) -> dict[str, str]:
        return {**super().settings(), "LANGSMITH_TRACING": "false"}


TOOLS = FieldTools(
    read=("read_file", "file_path"),
    write=("write_file", "file_path", "content"),
    edit=("edit_file", "file_path", "old_string", "new_string", "replace_all"),
    bash=("execute", "command"),
    delegate=("task", "description"),
)
TOOLS.more = lambda does: {"subagent_type": "general-purpose"} if does == "delegate" else {}  # type: ignore[method-assign]

# Its reads hide whether the last line ends in a newline.
_way = ways(DeepAgents, "deepagents", TOOLS, says_reads=True, script=partial(everything, unended=False))

VARIANTS = [
    _way("Chat Completions", "openai-chat", "chat", "--stream"),
]
