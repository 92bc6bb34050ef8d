"""Agents made with Pydantic AI: known by their User-Agent. Recorded from 2.62.0.

They say nothing of their session, and their tools are their makers' own: all else is as `generic` has it.
"""

from __future__ import annotations

import re

from ocproxy.agents.by_user_agent import ByUserAgent


class PydanticAi(ByUserAgent):
    """Agents of Pydantic AI."""

    name = "pydantic-ai"
    user_agent = re.compile(r"\bpydantic-ai/(\d[\w.+-]*)")


AGENT = PydanticAi()
