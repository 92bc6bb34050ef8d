"""Agents that say in the User-Agent which they are, and nothing of their session."""

from __future__ import annotations

import re
from typing import ClassVar

from ocproxy.agents.base import CallFacts
from ocproxy.agents.generic import Generic
from ocproxy.model import Identity, ModelRequest


class ByUserAgent(Generic):
    """The base of such agents. Their calls are linked by their histories and call ids."""

    user_agent: ClassVar[re.Pattern[str]]  # its first group is the version

    def recognises(self, facts: CallFacts) -> bool:
        return self.user_agent.search(facts.headers.get("user-agent", "")) is not None

    def identity(self, facts: CallFacts) -> Identity:
        said = self.user_agent.search(facts.headers.get("user-agent", ""))
        workdir = self.workdir(facts.request) if facts.request else None
        return self.tagged(Identity(self.name, workdir=workdir, version=said[1] if said else None), facts.tags)

    def workdir(self, request: ModelRequest) -> str | None:
        """The session's folder, where the prompt tells it."""
        return None
