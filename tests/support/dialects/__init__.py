"""How the scripted provider speaks each protocol. One file a protocol; the form in between is that of the Messages API.

What a request's history says (`history`) and what a reply says (`said`) are messages with the blocks text, thinking,
tool_use and tool_result, so that one script, one search for its step and one oracle serve all protocols.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from typing import Protocol as Shape

from ocproxy.demo.script import Script, Step

Json = dict[str, Any]


class Dialect(Shape):
    """One protocol, spoken by a module of this package."""

    def claims(self, method: str, path: str) -> bool:
        """Whether a request asks for a model's answer in this protocol."""
        ...

    def streams(self, path: str, request: Json) -> bool:
        """Whether the answer is wanted as an event stream."""
        ...

    def history(self, request: Json) -> list[Json]:
        """The conversation in the request, without the instructions that stand before it."""
        ...

    def tools(self, request: Json) -> list[Json]:
        """The tools on offer, as they came."""
        ...

    def compose(self, request: Json, script: Script, number: int, step: Step) -> Json:
        """The whole reply, as the JSON body of an answer that is not streamed."""
        ...

    def events(self, request: Json, reply: Json) -> Iterator[bytes]:
        """The same reply as a stream, one event an item."""
        ...

    def said(self, reply: Json) -> Json:
        """The reply as an assistant message."""
        ...

    def usage(self, reply: Json) -> dict[str, int | None]:
        """Tokens: input (all that no cache holds), output, cache_read, cache_write; None for what it does not count."""
        ...

    def error(self, status: int, message: str) -> Json:
        """The body of an error."""
        ...

    def error_event(self, message: str) -> bytes:
        """An error in the middle of a stream."""
        ...
