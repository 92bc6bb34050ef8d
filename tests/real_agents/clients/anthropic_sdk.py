"""Scripts on Anthropic's SDK for Python: a loop of their own, the SDK's tool runner, Anthropic's own tool types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways
from tests.real_agents.work import Tools, everything


class AnthropicSdk(Library):
    package = Package("anthropic", "PyPI", "anthropic", "python")
    script = "anthropic_script.py"


_EDITOR = "str_replace_based_edit_tool"


class TypedTools:
    """Anthropic's text editor and bash. The editor replaces one place at a time: for all of them the model writes the
    file anew."""

    def read(self, path: Path) -> Call:
        return Call(_EDITOR, {"command": "view", "path": str(path)})

    def write(self, path: Path, content: str) -> Call:
        return Call(_EDITOR, {"command": "create", "path": str(path), "file_text": content})

    def edit(self, path: Path, old: str, new: str, everywhere: bool = False) -> Call:
        if everywhere:
            old, new = f"def two():\n    {old}\n", f"def two():\n    {new}\n"
        return Call(_EDITOR, {"command": "str_replace", "path": str(path), "old_str": old, "new_str": new})

    def bash(self, command: str) -> Call:
        return Call("bash", {"command": command})

    def delegate(self, prompt: str) -> Call:
        raise NotImplementedError("there is no tool for it")

    def command_of(self, call: Call) -> str | None:
        return call.input["command"] if call.name == "bash" else None


def typed_work(name: str, folder: Path, tools: Tools) -> Script:
    """Without changes of the file that is overwritten: the whole of it was not seen, so nobody can tell its diff."""
    whole = everything(name, folder, tools, unended=False)
    steps = (
        Step(step.text, step.thinking, tuple(call for call in step.calls if not _overwrites(call)))
        for step in whole.steps
    )
    return Script(name, tuple(steps))


def _overwrites(call: Call) -> bool:
    return str(call.input.get("path")).endswith("README.md") and call.input["command"] != "view"


# The editor numbers lines, which hides whether the last one ends in a newline; bash says that it failed, not how.
_TYPED: dict[str, Any] = {"exit_codes": False, "says_reads": True, "script": typed_work}
_way = ways(AnthropicSdk)

VARIANTS = [
    _way("Messages", "anthropic-messages", "loop"),
    _way("Messages, streamed", "anthropic-messages", "loop", "--stream"),
    _way("tool runner", "anthropic-messages", "runner"),
    _way("tool runner, streamed", "anthropic-messages", "runner", "--stream"),
    _way("its own tool types", "anthropic-messages", "typed", tools=TypedTools(), **_TYPED),
]
