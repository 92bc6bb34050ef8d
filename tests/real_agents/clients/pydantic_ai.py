"""Agents made with Pydantic AI."""

from __future__ import annotations

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways


class PydanticAi(Library):
    package = Package("pydantic-ai", "PyPI", "pydantic-ai-slim[openai,anthropic,google]", "python")
    script = "pydantic_ai_script.py"


_way = ways(PydanticAi, "pydantic-ai")

# Over the other protocols it tells failures in words of its own ("Fix the errors and try again."), or in Gemini's
# `return_value`, which the record does not read yet: those variants are not played.
VARIANTS = [_way("Messages", "anthropic-messages", "messages", says_reads=True)]  # it flags every result
