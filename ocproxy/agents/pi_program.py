"""pi's `codemode`: a JavaScript program that calls its other tools. Worked out from pi 1.6.0 (`docs/codemode.md`).

It is read like Codex's programs (`codex_script`). The result begins with `Script completed` or `Script failed`, and
says of the calls only what the program printed. A call that fails ends the program, where it does not catch the error;
a command with another exit code than 0 is no such failure, nor is an MCP server's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ocproxy.agents.base import Action, Answer
from ocproxy.agents.codex_script import Call, read_program
from ocproxy.agents.codex_values import Partial, Value, as_text, is_known
from ocproxy.agents.generic import first_line
from ocproxy.model import Status, ToolResult, ToolUse

NAME = "codemode"
_HEAD = re.compile(r"\AScript (?P<end>completed|failed)\nWall time [^\n]*\nOutput:\n")
_ERROR = re.compile(r"^Script error:\n(.*)", re.S | re.M)
_COMPUTED = "worked out from a program: the value that it had when it ran is not in the recording"
_PERHAPS = "the program may not have come to it"
_NOT_TOLD = "the program did not print how it ended"

Actions = Callable[[ToolUse], tuple[Action, ...]]


def actions(use: ToolUse, of_tool: Actions) -> tuple[Action, ...]:
    """What the calls of the program ask for, in their order. `of_tool`: what a use of one of its tools asks for."""
    return tuple(action for group in _groups(use, of_tool) for action in group)


def answer(use: ToolUse, result: ToolResult, of_tool: Actions) -> Answer:
    """What the result says of each of these. Of a program that failed only its single call is known to have failed."""
    calls, groups = read_program(_code(use)).calls, _groups(use, of_tool)
    found = _HEAD.match(result.text)
    if found is None:  # refused, or broken off before it began
        return Answer(Status.FAILED if result.is_error else Status.UNKNOWN, note=first_line(result.text))
    if found["end"] == "failed":
        error = _ERROR.search(result.text)
        status = Status.FAILED if len(calls) == 1 and calls[0].certain else Status.UNKNOWN
        return Answer(status, note=first_line(error[1]) if error else None)
    ends = [_end(call) for call in calls]
    each = tuple(end for end, group in zip(ends, groups, strict=True) for _ in group)
    return Answer(Status.APPLIED, each=each)


def _code(use: ToolUse) -> str:
    """A field of a function; the whole input where the protocol has tools whose input is a text."""
    given = use.input.get("code", use.input.get("input"))
    return given if isinstance(given, str) else ""


def _groups(use: ToolUse, of_tool: Actions) -> list[tuple[Action, ...]]:
    return [_marked(call, of_tool(ToolUse("", call.name, _given(call)))) for call in read_program(_code(use)).calls]


def _given(call: Call) -> dict[str, object]:
    """Its fields; of a value that the source does not tell, the source."""
    given = call.given if isinstance(call.given, dict) else {}
    return {name: value if is_known(value) else _shown(value) for name, value in given.items()}


def _shown(value: Value) -> str:
    text = as_text(value)
    return text.text if isinstance(text, Partial) else text


def _marked(call: Call, found: tuple[Action, ...]) -> tuple[Action, ...]:
    if not is_known(call.given) or call.computed:
        return tuple(
            msgspec.structs.replace(action, certainty="inferred", doubt=_COMPUTED, unknown_shape=False)
            for action in found
        )
    if call.certain:
        return found
    return tuple(msgspec.structs.replace(one, certainty="inferred", doubt=one.doubt or _PERHAPS) for one in found)


def _end(call: Call) -> Answer:
    """How a call of a program that completed ended."""
    if not call.certain or not call.awaited:
        return Answer(Status.UNKNOWN, note=_PERHAPS)
    if call.name == "bash" or call.name.startswith("mcp__"):
        return Answer(Status.UNKNOWN, note=_NOT_TOLD)
    return Answer(Status.APPLIED)
