"""Agents made with Pydantic AI: known by their User-Agent. Recorded from 2.62.0.

They say nothing of their session, and their tools are their makers' own. A tool that fails by `ModelRetry`, or whose
arguments do not fit, has a result that ends in the framework's own words. All else is as `generic` has it.
"""

from __future__ import annotations

import re

from ocproxy.agents.base import Answer
from ocproxy.agents.by_user_agent import ByUserAgent
from ocproxy.agents.generic import first_line
from ocproxy.model import Status, ToolResult, ToolUse

_RETRY = "Fix the errors and try again."


class PydanticAi(ByUserAgent):
    """Agents of Pydantic AI."""

    name = "pydantic-ai"
    user_agent = re.compile(r"\bpydantic-ai/(\d[\w.+-]*)")

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        if result.text.rstrip().endswith(_RETRY):
            size = len(result.text.encode("utf-8", "replace"))
            return Answer(Status.FAILED, output_bytes=size, note=first_line(result.text))
        return super().answer(use, result)


AGENT = PydanticAi()
