"""Scripts on OpenAI's SDK for Python: loops of their own over Chat Completions and Responses."""

from __future__ import annotations

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways


class OpenAiSdk(Library):
    package = Package("openai", "PyPI", "openai", "python")
    script = "openai_script.py"


_way = ways(OpenAiSdk)

VARIANTS = [
    _way("Chat Completions", "openai-chat", "chat"),
    _way("Chat Completions, streamed", "openai-chat", "chat", "--stream"),
    _way("Responses", "openai-responses", "responses"),
    _way("Responses, streamed", "openai-responses", "responses", "--stream"),
    _way("Responses, stored", "openai-responses", "stored", "--stream"),
    _way("Responses, conversation", "openai-responses", "conversation"),
]
