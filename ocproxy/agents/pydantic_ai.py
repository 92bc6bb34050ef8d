"""Agents made with Pydantic AI: known by their User-Agent. Recorded from 2.62.0.

They say nothing of their session, and their tools are their makers' own: all else is as `generic` has it.
"""

from __future__ import annotations

import re

from ocproxy.agents.base import CallFacts
from ocproxy.agents.generic import Generic
from ocproxy.model import Identity

_USER_AGENT = re.compile(r"\bpydantic-ai/(\d[\w.+-]*)")


class PydanticAi(Generic):
    """Agents of Pydantic AI."""

    name = "pydantic-ai"

    def recognises(self, facts: CallFacts) -> bool:
        return _USER_AGENT.search(facts.headers.get("user-agent", "")) is not None

    def identity(self, facts: CallFacts) -> Identity:
        version = _USER_AGENT.search(facts.headers.get("user-agent", ""))
        return self.tagged(Identity(self.name, version=version[1] if version else None), facts.tags)


AGENT = PydanticAi()
