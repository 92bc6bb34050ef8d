"""Agents made with Pydantic AI: known by their User-Agent. Recorded from 2.62.0 and 2.68.0.

They say nothing of their session, and their tools are their makers' own. What a tool that fails (`ModelRetry`,
arguments that do not fit) says comes as `{"error": …}` where the protocol has no flag for it; older versions end it in
words of the framework's. Thoughts that no seal of the provider's came with are sent back as text, in tags. All else is
as `generic` has it.
Source: `ToolReturnPart.model_response_str` in pydantic_ai/messages.py, `thinking_tags` in its profiles.
"""

from __future__ import annotations

import re

import msgspec

from ocproxy.agents.base import Answer
from ocproxy.agents.by_user_agent import ByUserAgent
from ocproxy.agents.generic import first_line
from ocproxy.model import Message, Part, Status, Text, ToolResult, ToolUse

_RETRY = "Fix the errors and try again."
_DENIED = "The tool call was denied."
_THOUGHTS = re.compile(r"\A(?:\s*<(think(?:ing)?)>\n.*?\n</\1>)+\s*", re.S)


class PydanticAi(ByUserAgent):
    """Agents of Pydantic AI."""

    name = "pydantic-ai"
    user_agent = re.compile(r"\bpydantic-ai/(\d[\w.+-]*)")

    def key(self, message: Message) -> str | None:
        """Without thoughts, in whatever form."""
        if message.role == "assistant":
            message = Message("assistant", tuple(map(_unthought, message.parts)))
        return super().key(message)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        said = _error_of(result.text)
        if said is None and result.text.rstrip().endswith(_RETRY):
            said = result.text
        if said is not None or result.text == _DENIED:
            size = len(result.text.encode("utf-8", "replace"))
            status = Status.REJECTED if said is None else Status.FAILED
            return Answer(status, output_bytes=size, note=first_line(said or result.text))
        return super().answer(use, result)


def _unthought(part: Part) -> Part:
    return Text(_THOUGHTS.sub("", part.text)) if isinstance(part, Text) else part


def _error_of(text: str) -> str | None:
    """What the result of a failed tool says: a text, or a list of what is wrong with its arguments as JSON."""
    if not text.startswith('{"error":'):
        return None
    try:
        told = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    if not isinstance(told, dict) or told.keys() != {"error"}:
        return None
    return told["error"] if isinstance(told["error"], str) else msgspec.json.encode(told["error"]).decode()


AGENT = PydanticAi()
