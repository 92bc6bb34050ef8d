"""Agents made with Pydantic AI."""

from __future__ import annotations

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways


class PydanticAi(Library):
    package = Package("pydantic-ai", "PyPI", "pydantic-ai-slim[openai,anthropic,google]", "python")
    script = "pydantic_ai_script.py"


_way = ways(PydanticAi, "pydantic-ai")

VARIANTS = [
    _way("Chat Completions", "openai-chat", "chat"),
    _way("Responses", "openai-responses", "responses"),
    _way("Messages", "anthropic-messages", "messages", says_reads=True),  # it flags every result
    _way("Gemini", "gemini", "gemini"),
]
