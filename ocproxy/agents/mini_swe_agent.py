"""mini-swe-agent: shell commands alone. Recorded from 2.4.6, with its tool and with its text forms.

It says nothing of itself but in the prompt's rules. The tool's results are JSON with `returncode`, or the same in tags.
Without tools a command is written as a block ```mswea_bash_command (older: ```bash) or a tag into the answer, and its
result is a user message. The last command of a run has no result: the program ends then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ocproxy.agents import shapes
from ocproxy.agents.base import Action, Answer, CallFacts
from ocproxy.agents.generic import Generic
from ocproxy.agents.offered import names_of
from ocproxy.agents.shapes import Shape
from ocproxy.model import EventType, Identity, Part, Status, Text, ToolResult, ToolUse

_SIGN = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_TASK = re.compile(r"\APlease solve this issue: (.*?)\n\nYou can execute bash commands and edit files", re.S)
_COMMAND = re.compile(
    r"^```(?:mswea_bash_command|bash)[ \t]*\n(?P<block>.*?)\n```[ \t]*$"
    r"|<mswea_bash_command>(?P<tag>.*?)</mswea_bash_command>",
    re.S | re.M,
)
_CODE = re.compile(r"\A\s*(?:\{\s*\"returncode\":|<returncode>)\s*(-?\d{1,10})")
_NOT_RUN = re.compile(r"action was not executed")


_SHAPES = {"bash": Shape(EventType.BASH, {"command": "text"})}


class MiniSweAgent(Generic):
    """The small agent of the SWE-bench authors. Each command runs in a shell of its own, in the folder of the run."""

    name = "mini-swe-agent"

    def recognises(self, facts: CallFacts) -> bool:
        request = facts.request
        if request is None or names_of(request) - {"bash"}:
            return False
        first = next((message for message in request.messages if message.role == "user"), None)
        return _SIGN in _text([*request.system, *(first.parts if first else ())])

    def identity(self, facts: CallFacts) -> Identity:
        return self.tagged(Identity(self.name), facts.tags)

    def spoken(self, text: str) -> str:
        task = _TASK.match(text)
        return task[1].strip() if task else text.strip()

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        return shapes.fitted(use, _SHAPES, self._actions)

    def _actions(self, use: ToolUse) -> tuple[Action, ...]:
        command = use.input.get("command")
        if use.name == "bash" and isinstance(command, str):
            return (Action(EventType.BASH, command=command),)
        return super().actions(use)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        code, size = _CODE.match(result.text), len(_output(result.text).encode("utf-8", "replace"))
        if code is None:
            return super().answer(use, result)
        if code[1] == "-1" and _NOT_RUN.search(result.text):
            return Answer(Status.REJECTED, note="action was not executed")
        exit_code = int(code[1])
        return Answer(Status.FAILED if exit_code else Status.APPLIED, exit_code=exit_code, output_bytes=size)

    def uses_in(self, parts: Sequence[Part]) -> tuple[ToolUse, ...]:
        """One command an answer: the program takes none of an answer with several."""
        if any(isinstance(part, ToolUse) for part in parts):
            return ()
        found = list(_COMMAND.finditer(_text(parts)))
        if len(found) != 1:
            return ()
        return (ToolUse("0", "bash", {"command": (found[0]["block"] or found[0]["tag"] or "").strip()}),)

    def results_in(self, parts: Sequence[Part], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
        texts = [part.text for part in parts if isinstance(part, Text)]
        told = next((text for text in texts if _CODE.match(text)), None)
        return () if told is None else tuple(ToolResult(use.id, told) for use in uses[:1])


def _output(text: str) -> str:
    """What the command printed, as far as the result holds it."""
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        found = re.search(r"<output>\n?(.*)</output>", text, re.S)
        return found[1] if found else text
    if not isinstance(said, dict):
        return text
    return "".join(value for name, value in said.items() if name.startswith("output") and isinstance(value, str))


def _text(parts: Sequence[Part]) -> str:
    return "\n".join(part.text for part in parts if isinstance(part, Text))


AGENT = MiniSweAgent()
