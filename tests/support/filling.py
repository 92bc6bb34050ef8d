"""A provider one of whose answers fills the model's window, so that the client makes its history shorter."""

from __future__ import annotations

from typing import Any

from ocproxy.demo.script import Script, Step, choose
from tests.support.dialects import Dialect
from tests.support.scripted import Scripted

Json = dict[str, Any]

# What the protocols call the tokens of a request, and the sum that says them again.
_COUNTS = ("input_tokens", "prompt_tokens", "promptTokenCount", "total_tokens", "totalTokenCount")


class Filling(Scripted):
    """See `Scripted`. The answer of `script` at `step` counts `tokens` more in its request than there were."""

    def __init__(self, scripts: Any, *, full: tuple[str, int], tokens: int, **manners: Any) -> None:
        super().__init__(scripts, **manners)
        self.full = full
        self.tokens = tokens

    def chosen(self, history: list[Json]) -> Script | None:
        """Clients that keep the summary as an answer of the model go on by a mark in that."""
        return super().chosen(history) or choose(self.scripts, [{**message, "role": "user"} for message in history])

    def _reply(self, dialect: Dialect, request: Json, script: Script, number: int, step: Step) -> Json:
        reply = super()._reply(dialect, request, script, number, step)
        if (script.name, number) == self.full and request.get("generate") is not False:
            counts = reply.get("usage") or reply.get("usageMetadata") or {}
            counts.update({name: counts[name] + self.tokens for name in _COUNTS if name in counts})
        return reply
