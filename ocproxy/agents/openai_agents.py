"""Agents made with the OpenAI Agents SDK for Python: known by their User-Agent. Recorded from 0.24.0.

They say nothing of their session, and their tools are their makers' own: all else is as `generic` has it.
"""

from __future__ import annotations

import re

from ocproxy.agents.base import CallFacts
from ocproxy.agents.generic import Generic
from ocproxy.model import Identity

_USER_AGENT = re.compile(r"\bAgents/Python (\d[\w.+-]*)")


class OpenAiAgents(Generic):
    """Agents of OpenAI's Agents SDK."""

    name = "openai-agents"

    def recognises(self, facts: CallFacts) -> bool:
        return _USER_AGENT.search(facts.headers.get("user-agent", "")) is not None

    def identity(self, facts: CallFacts) -> Identity:
        version = _USER_AGENT.search(facts.headers.get("user-agent", ""))
        return self.tagged(Identity(self.name, version=version[1] if version else None), facts.tags)


AGENT = OpenAiAgents()
