"""Scripts on Google's SDK for Python: a loop of their own, chats, automatic function calling."""

from __future__ import annotations

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways


class GoogleGenAi(Library):
    package = Package("google-genai", "PyPI", "google-genai", "python")
    script = "google_genai_script.py"


_way = ways(GoogleGenAi)

VARIANTS = [
    _way("generate_content", "gemini", "generate"),
    _way("generate_content, streamed", "gemini", "generate", "--stream"),
    _way("chat, streamed", "gemini", "chat", "--stream"),
    _way("automatic calls", "gemini", "automatic"),
]
