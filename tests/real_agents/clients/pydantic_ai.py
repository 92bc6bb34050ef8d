"""Agents made with Pydantic AI."""

from __future__ import annotations

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways


class PydanticAi(Library):
    package = Package("pydantic-ai", "PyPI", "pydantic-ai-slim[openai,anthropic,google]", "python")
    script = "pydantic_ai_script.py"


_way = ways(PydanticAi, "pydantic-ai")

# Over OpenAI's protocols it tells failures in words only ("... Fix the errors and try again."), which the record does
# not take for a failure: those variants are not played. Nor is Gemini: the oracle does not know its `return_value`.
VARIANTS = [_way("Messages", "anthropic-messages", "messages", says_reads=True)]  # it flags every result
