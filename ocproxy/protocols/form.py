"""Tells from its first bytes what kind of body a response has; the Content-Type header is only a hint.

A streaming request may get JSON (an error, a gateway that buffers), and the other way round; some gateways send no
Content-Type or a wrong one.
"""

from __future__ import annotations

import re
from typing import Literal

Form = Literal["json", "events", "other"]

# The longest field name of an event stream with its colon: "event:", "retry:".
_NEEDED = 6
_FIELD = re.compile(rb"(event|data|id|retry|):")


def form_of(start: bytes, content_type: str, *, ended: bool) -> Form | None:
    """The form of a body that begins with `start`; None while more bytes are needed. `ended`: there are no more."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not ended and len(text) < _NEEDED and not text.startswith((b"{", b"[")):
        return None
    if text.startswith((b"{", b"[")):
        return "json"
    if _FIELD.match(text) or content_type.partition(";")[0].strip().lower() == "text/event-stream":
        return "events"
    return "other"
