"""What the replies of all protocols share: the first bytes tell the form of the body, and pages of errors are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol as Shape

from ocproxy.errors import DecodeError
from ocproxy.model import Delta, Json, Problem, Reply
from ocproxy.protocols import json_value
from ocproxy.protocols.form import Form, form_of
from ocproxy.protocols.problems import note

# Of an error page that is not JSON this much is kept for the user.
_ERROR_PAGE = 500


class Streamed(Shape):
    """A reply that comes in events."""

    def feed(self, data: bytes) -> list[Delta]: ...

    def close(self) -> Reply: ...


class ReplyBody(ABC):
    """`ocproxy.protocols.base.ReplyDecoder` of JSON and of server-sent events. Waits for the first bytes to know the
    form of the body, then decodes it."""

    def __init__(self, endpoint: str, status: int, content_type: str) -> None:
        self.problems: list[Problem] = []
        self._endpoint = endpoint
        self._status = status
        self._content_type = content_type
        self._form: Form | None = None
        self._pieces: list[bytes] = []
        self._stream: Streamed | None = None

    @abstractmethod
    def open_stream(self) -> Streamed:
        """What decodes the body when it is a stream of events."""

    @abstractmethod
    def read_value(self, value: Json) -> Reply:
        """The reply that a JSON body is."""

    def feed(self, data: bytes) -> list[Delta]:
        if self._stream is not None:
            return self._stream.feed(data)
        self._pieces.append(data)
        if self._form is not None:
            return []
        return self._decide(ended=False)

    def close(self) -> Reply:
        if self._form is None:
            self._decide(ended=True)
        if self._stream is not None:
            return self._stream.close()
        body = b"".join(self._pieces)
        if self._form != "json":
            return unreadable(body, self._status, self.problems)
        try:
            value = json_value.decode(body, self.problems)
        except DecodeError as error:
            return bad_json(error, body, self._status, self.problems)
        return self.read_value(value)

    def _decide(self, *, ended: bool) -> list[Delta]:
        start = b"".join(self._pieces)
        self._pieces = [start]
        self._form = form_of(start, self._content_type, ended=ended)
        if self._form != "events":
            return []
        self._stream = self.open_stream()
        return self._stream.feed(start)

    def _text(self, value: dict[str, Json], field: str, of: str) -> str | None:
        text = value.get(field)
        if isinstance(text, str | None):
            return text
        note(self.problems, "wrong_type", f"{field} of the {of} is not text")
        return None

    def _no_object(self, value: Json) -> Reply:
        """The reply where an object is expected and `value` is none."""
        note(self.problems, "wrong_type", "the response body is not an object")
        body = b"".join(self._pieces)
        return Reply(error=page(body, self._status) if self._status >= 400 else None, extra={"body": value})


def page(body: bytes, status: int) -> str:
    """An error that is no JSON, as one line."""
    text = " ".join(body.decode("utf-8", "replace").split())[:_ERROR_PAGE]
    return f"HTTP {status}: {text}" if text else f"HTTP {status}"


def bad_json(error: DecodeError, body: bytes, status: int, problems: list[Problem]) -> Reply:
    """The reply whose body begins as JSON and is none."""
    note(problems, "bad_json", f"the response body is not JSON: {error}")
    return Reply(error=page(body, status) if status >= 400 else None, complete=False)


def unreadable(body: bytes, status: int, problems: list[Problem]) -> Reply:
    """The reply whose body is neither JSON nor events."""
    if status >= 400:
        return Reply(error=page(body, status))
    reason = "the response has no body" if not body.strip() else "the response body is neither JSON nor events"
    note(problems, "bad_reply", reason)
    return Reply(complete=False)
