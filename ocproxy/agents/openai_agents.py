"""Agents made with the OpenAI Agents SDK for Python: known by their User-Agent. Recorded from 0.24.0.

They say nothing of their session, and their tools are their makers' own. A tool that raised has a result in the
framework's own words. All else is as `generic` has it.
"""

from __future__ import annotations

import re

from ocproxy.agents.base import Answer
from ocproxy.agents.by_user_agent import ByUserAgent
from ocproxy.agents.generic import first_line
from ocproxy.model import Status, ToolResult, ToolUse

_RAISED = "An error occurred while running the tool."


class OpenAiAgents(ByUserAgent):
    """Agents of OpenAI's Agents SDK."""

    name = "openai-agents"
    user_agent = re.compile(r"\bAgents/Python (\d[\w.+-]*)")

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        if result.text.startswith(_RAISED):
            size = len(result.text.encode("utf-8", "replace"))
            return Answer(Status.FAILED, output_bytes=size, note=first_line(result.text))
        return super().answer(use, result)


AGENT = OpenAiAgents()
