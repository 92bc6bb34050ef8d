"""Bodies of Gemini replies: one JSON object, a stream of server-sent events, or a JSON array that grows.

Source: https://ai.google.dev/api/generate-content; errors in the middle of a stream of events may come as plain JSON,
not as an event (Google's own client, google-genai, reads both).
"""

from __future__ import annotations

import re
from typing import Literal

from ocproxy.errors import DecodeError
from ocproxy.model import Delta, Json, Problem, Reply, Usage
from ocproxy.protocols import json_value
from ocproxy.protocols.counts import read_count
from ocproxy.protocols.form import form_of
from ocproxy.protocols.gemini_parts import camel
from ocproxy.protocols.gemini_stream import Responses, error_text
from ocproxy.protocols.json_array import ArrayStream
from ocproxy.protocols.problems import note
from ocproxy.protocols.reply_body import bad_json, page, unreadable
from ocproxy.protocols.sse import EventStream

# How much of the end of a stream is kept for an error that is no event.
_TAIL = 16_384
_BARE_ERROR = re.compile(rb'(?:\A|\n)(\{\s*"error".*)\Z', re.S)


class BodyDecoder:
    """`ocproxy.protocols.base.ReplyDecoder` of one response body. Waits for the first bytes to know its form."""

    def __init__(self, endpoint: str, status: int, content_type: str) -> None:
        self.problems: list[Problem] = []
        self._endpoint = endpoint
        self._status = status
        self._content_type = content_type
        self._form: Literal["object", "array", "events", "other"] | None = None
        self._pieces: list[bytes] = []
        self._tail = b""
        self._events = EventStream()
        self._array = ArrayStream()
        self._responses = Responses(self.problems)

    def feed(self, data: bytes) -> list[Delta]:
        if self._form is None:
            self._pieces.append(data)
            return self._decide(ended=False)
        if self._form in ("object", "other"):
            self._pieces.append(data)
            return []
        return self._take(data)

    def close(self) -> Reply:
        if self._form is None:
            self._decide(ended=True)
        if self._form == "object":
            return self._read_object(b"".join(self._pieces))
        if self._form == "other":
            return unreadable(b"".join(self._pieces), self._status, self.problems)
        self._find_bare_error()
        if self._responses.is_empty and self._status >= 400:
            return Reply(error=page(self._tail, self._status))
        whole = self._array.ended and (self._responses.error is None or self._status >= 400)
        return self._responses.close(whole=whole)

    def _decide(self, *, ended: bool) -> list[Delta]:
        start = b"".join(self._pieces)
        self._pieces = [start]
        form = form_of(start, self._content_type, ended=ended)
        if form == "json":
            is_array = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"[")
            self._form = "array" if is_array else "object"
        else:
            self._form = form
        if self._form not in ("array", "events"):
            return []
        self._pieces = []
        return self._take(start)

    def _take(self, data: bytes) -> list[Delta]:
        self._tail = (self._tail + data)[-_TAIL:]
        if self._form == "array":
            texts = self._array.feed(data)
        else:
            texts = [event.data for event in self._events.feed(data) if event.data != b"[DONE]"]
        deltas: list[Delta] = []
        for text in texts:
            try:
                value = json_value.decode(text, self.problems)
            except DecodeError as error:
                note(self.problems, "bad_json", f"a response of the stream is not JSON: {error}")
                continue
            deltas += self._responses.take(value)
        return deltas

    def _find_bare_error(self) -> None:
        if self._form != "events" or self._responses.has_ended or self._responses.error is not None:
            return
        found = _BARE_ERROR.search(self._tail.replace(b"\r\n", b"\n"))
        if found is None:
            return
        try:
            self._responses.take(json_value.decode(found[1], self.problems))
        except DecodeError as error:
            note(self.problems, "bad_json", f"the error at the end of the stream is not JSON: {error}")

    def _read_object(self, body: bytes) -> Reply:
        try:
            value = json_value.decode(body, self.problems)
        except DecodeError as error:
            return bad_json(error, body, self._status, self.problems)
        assert isinstance(value, dict)  # it begins with a brace
        if value.get("error") is None and self._status >= 400:
            return Reply(error=page(body, self._status), extra=value)
        if value.get("error") is None and self._endpoint != "generate":
            return self._read_answer(value)
        responses = Responses(self.problems)  # closing twice gives the same
        responses.take(value)
        if responses.is_empty:
            note(self.problems, "unknown_reply", "the response body is not a reply of a model")
        reply = responses.close(whole=True)
        if self._status >= 400 and reply.error is None:
            return Reply(error=error_text(value.get("error")))
        return reply

    def _read_answer(self, value: dict[str, Json]) -> Reply:
        """What the other endpoints answer: a count, vectors, models."""
        value = camel(value)
        if self._endpoint != "count_tokens":
            return Reply(extra=value)
        extra = {key: field for key, field in value.items() if key != "totalTokens" and field is not None}
        return Reply(usage=Usage(input=read_count(value, "totalTokens", self.problems)), extra=extra)
