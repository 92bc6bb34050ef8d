"""The tools that a request offers, by name: what is left to know an agent by that says nothing of itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from ocproxy.model import ModelRequest, Text


def names_of(request: ModelRequest) -> frozenset[str]:
    """The names of all tools, in the form of any protocol."""
    return frozenset(name for tool in request.tools for name in _names(tool))


def system_text(request: ModelRequest) -> str:
    """The system prompt, its parts newline-joined. Over Responses some send it as the first message."""
    leading = itertools.takewhile(lambda message: message.role == "system", request.messages)
    parts = [*request.system, *(part for message in leading for part in message.parts)]
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def _names(tool: dict[str, Any]) -> Iterator[str]:
    """Messages and Responses name a tool itself, Chat Completions its function, Gemini a list of functions."""
    listed = tool.get("functionDeclarations")
    for given in (tool, tool.get("function"), *(listed if isinstance(listed, list) else ())):
        if isinstance(given, dict) and isinstance(given.get("name"), str):
            yield given["name"]
