"""Agents made with the OpenAI Agents SDK for Python."""

from __future__ import annotations

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways


class OpenAiAgents(Library):
    package = Package("openai-agents", "PyPI", "openai-agents", "python")
    script = "openai_agents_script.py"


_way = ways(OpenAiAgents, "openai-agents")

VARIANTS = [
    _way("Responses", "openai-responses", "responses"),
    _way("Responses, streamed", "openai-responses", "responses", "--stream"),
    _way("Responses, WebSocket", "openai-responses", "websocket"),
    _way("Chat Completions, streamed", "openai-chat", "chat", "--stream"),
]
