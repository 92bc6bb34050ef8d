"""What both of OpenAI's protocols have in common in the mouth of the scripted provider."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

CREATED = 1_767_225_600  # the same at every run: 2026-01-01
_PIECE = 24  # characters of a delta


def error(status: int, message: str) -> Json:
    """The body of an error."""
    kind = {400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def pieces(text: str) -> list[str]:
    """A text as the deltas of a stream."""
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
