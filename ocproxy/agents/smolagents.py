"""smolagents: agents that write Python, and agents that call tools but send them again as text. Recorded from 1.26.0.

Both say nothing of their session, and send no call ids: an answer comes again with `Calling tools:` and its calls as a
text behind it, and results are user messages that begin with `Observation:` or, after an error, with the call's id.
Results of several calls are joined and can be told apart only where each is one line. What Python code does to files is
not worked out: a block of code is told like a command, `inferred`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from ocproxy.agents import shapes
from ocproxy.agents.base import Action, Answer, CallFacts
from ocproxy.agents.generic import Generic, first_line
from ocproxy.agents.offered import system_text
from ocproxy.agents.shapes import Shape
from ocproxy.model import EventType, Identity, Json, Part, Status, Text, ToolResult, ToolUse

_PROMPT = re.compile(r"\AYou are an expert assistant who can solve any task using (?:code blobs|tool calls)\.")
_AGAIN = re.compile(r"\n?Calling tools:\n(\[.*\])\s*\Z", re.S)
_CODE = re.compile(r"<code>\s*(.*?)\s*(?:</code>|\Z)", re.S)
_PYTHON = "python_interpreter"
_OBSERVATION = "Observation:\n"
_ERROR = re.compile(r"\A(?:Call id: [^\n]*\n)?Error:\n(.*?)(?:\nNow let's retry: .*)?\Z", re.S)


_SHAPES = {_PYTHON: Shape(EventType.BASH, {"code": "text"})}


class SmolAgents(Generic):
    """Agents of Hugging Face's library."""

    name = "smolagents"

    def recognises(self, facts: CallFacts) -> bool:
        return facts.request is not None and _PROMPT.match(system_text(facts.request)) is not None

    def identity(self, facts: CallFacts) -> Identity:
        return self.tagged(Identity(self.name), facts.tags)

    def part_key(self, part: Part) -> Json:
        """Calls do not count: they come again as text. Only an answer without text is known by its call."""
        return None if isinstance(part, ToolUse) else super().part_key(part)

    def spoken(self, text: str) -> str:
        """Without the calls that come again, and without the end of the code, where the provider stops."""
        said = _AGAIN.sub("", text).strip()
        return said.removesuffix("</code>").strip()

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        return shapes.fitted(use, _SHAPES, self._actions)

    def _actions(self, use: ToolUse) -> tuple[Action, ...]:
        if use.name == _PYTHON:
            doubt = "Python code; what it does to files is not worked out"
            return (Action(EventType.BASH, command=use.input["code"], certainty="inferred", doubt=doubt),)
        return super().actions(use)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        if use.name == _PYTHON:
            status = Status.FAILED if result.is_error else Status.APPLIED
            note = first_line(result.text) if result.is_error else None
            return Answer(status, output_bytes=len(result.text.encode("utf-8", "replace")), note=note)
        return super().answer(use, result)

    def uses_in(self, parts: Sequence[Part]) -> tuple[ToolUse, ...]:
        """Calls that came again as text, where the answer itself was not seen, and blocks of code."""
        if any(isinstance(part, ToolUse) for part in parts):
            return ()
        text = "\n".join(part.text for part in parts if isinstance(part, Text))
        code = _CODE.search(text)
        if code is not None:
            return (ToolUse("0", _PYTHON, {"code": code[1]}),)
        again = _AGAIN.search(text)
        return tuple(_calls(again[1])) if again else ()

    def results_in(self, parts: Sequence[Part], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
        said = next((part.text for part in parts if isinstance(part, Text)), None)
        if said is None:
            return ()
        error = _ERROR.match(said)
        if error is None and not said.startswith(_OBSERVATION):
            return ()
        if len(uses) > 1:
            return _shared_out(said.removeprefix(_OBSERVATION) if error is None else "", uses)
        text = error[1] if error else said.removeprefix(_OBSERVATION)
        return tuple(ToolResult(use.id, text, is_error=True if error else None) for use in uses)


def _shared_out(joined: str, uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
    """The program joins the results with newlines, in the order of the calls' ids. Where there are as many lines as
    calls, each is the result of one; else which is whose is not said."""
    lines = joined.split("\n")
    if len(lines) != len(uses) or not all(lines):
        return tuple(ToolResult(use.id, "") for use in uses)
    listed = all("/" in use.id for use in uses)  # out of the text, where they stand in that order
    ordered = uses if listed else sorted(uses, key=lambda use: use.alias or use.id)
    return tuple(ToolResult(use.id, line) for use, line in zip(ordered, lines, strict=True))


def _calls(text: str) -> list[ToolUse]:
    """The list of calls as Python prints it; nothing where it is none."""
    try:
        listed = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    found: list[ToolUse] = []
    for number, call in enumerate(listed if isinstance(listed, list) else []):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
            found.append(ToolUse(str(number), str(function.get("name")), function["arguments"]))
    return found


AGENT = SmolAgents()
