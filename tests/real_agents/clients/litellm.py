"""Scripts on litellm, which speaks every protocol."""

from __future__ import annotations

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways


class LiteLlm(Library):
    package = Package("litellm", "PyPI", "litellm", "python")
    script = "litellm_script.py"

    def settings(self) -> dict[str, str]:
        return {**super().settings(), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


_way = ways(LiteLlm)

VARIANTS = [
    _way("Chat Completions", "openai-chat", "openai"),
    _way("Chat Completions, streamed", "openai-chat", "openai", "--stream"),
    _way("Messages", "anthropic-messages", "anthropic", "--stream"),
    _way("Gemini", "gemini", "gemini", "--stream"),
    _way("responses", "openai-responses", "responses"),
    _way("anthropic_messages", "anthropic-messages", "messages"),
]
