"""Agents made with the OpenAI Agents SDK for Python: known by their User-Agent. Recorded from 0.24.0.

They say nothing of their session, and their tools are their makers' own: all else is as `generic` has it.
"""

from __future__ import annotations

import re

from ocproxy.agents.by_user_agent import ByUserAgent


class OpenAiAgents(ByUserAgent):
    """Agents of OpenAI's Agents SDK."""

    name = "openai-agents"
    user_agent = re.compile(r"\bAgents/Python (\d[\w.+-]*)")


AGENT = OpenAiAgents()
