"""For agents that offer their model no tools: a provider that finds its place by its own answers, and what a model
writes there in the formats that aider asks for."""

from __future__ import annotations

from typing import Any

from ocproxy.demo.script import END, Script, Step, text_of
from tests.support.dialects import Dialect
from tests.support.scripted import Scripted

Json = dict[str, Any]
COMMIT = "one-line Git commit messages"  # in aider's request for the message of a commit


class InText(Scripted):
    """Plays a script without calls: the step is found by the script's own answers in the history."""

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        history = dialect.history(request)
        if COMMIT in str(request):
            return Script("side", (Step(text="fix: the files"),)), 0, Step(text="fix: the files")
        script = self.chosen(history)
        if script is None:
            return None
        own = {step.text.strip() for step in script.steps}
        number = sum(m["role"] == "assistant" and text_of(m).strip() in own for m in history)
        return script, number, script.steps[number] if number < len(script.steps) else END


def block(path: str, old: str, new: str) -> str:
    """An edit block (`diff`)."""
    return f"{path}\n```\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n```\n\n"


def fenced(path: str, old: str, new: str) -> str:
    """An edit block with its path inside (`diff-fenced`)."""
    return f"```\n{path}\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n```\n\n"


def listing(path: str, content: str) -> str:
    """A whole file (`whole`)."""
    return f"{path}\n```\n{content}```\n\n"


def hunks(path: str, *changes: str, new: bool = False) -> str:
    """A unified diff of one file (`udiff`)."""
    head = f"--- {'/dev/null' if new else path}\n+++ {path}\n"
    return f"```diff\n{head}{''.join(f'@@ ... @@{chr(10)}{one}' for one in changes)}```\n\n"
