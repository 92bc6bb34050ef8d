"""Agents made with LangChain."""

from __future__ import annotations

from tests.real_agents.installation import Package
from tests.real_agents.library import Library, ways


class LangChain(Library):
    more = ("langchain-openai", "langchain-anthropic", "langchain-google-genai")
    package = Package("langchain", "PyPI", "langchain", "python", more=more)
    script = "langchain_script.py"

    def settings(self) -> dict[str, str]:
        return {**super().settings(), "LANGSMITH_TRACING": "false"}


_way = ways(LangChain)

VARIANTS = [
    _way("ChatOpenAI", "openai-chat", "chat"),
    _way("ChatOpenAI, streamed", "openai-chat", "chat", "--stream"),
    _way("ChatOpenAI, Responses", "openai-responses", "responses"),
    _way(
        "ChatAnthropic, streamed", "anthropic-messages", "messages", "--stream", says_reads=True
    ),  # it flags every result
    _way("ChatGoogleGenerativeAI", "gemini", "gemini"),
]
