"""The OpenAI Chat Completions protocol, and the smaller endpoints beside it: JSON and event streams.

Source: the API reference, https://platform.openai.com/docs/api-reference/chat, and what clients and compatible servers
were seen to send. Endpoints are told by the end of the path, so that any prefix will do:
`/openai/deployments/NAME/chat/completions` (Azure), `/compatible-mode/v1/chat/completions`, `/v1beta/openai/models`.
"""

from __future__ import annotations

from ocproxy.errors import DecodeError
from ocproxy.model import Delta, Json, ModelRequest, Problem, Reply, Text
from ocproxy.protocols import json_value
from ocproxy.protocols.base import Protocol, ReplyDecoder
from ocproxy.protocols.form import Form, form_of
from ocproxy.protocols.openai_chat_parts import read_assistant
from ocproxy.protocols.openai_chat_request import read_request
from ocproxy.protocols.openai_chat_stream import StreamedReply
from ocproxy.protocols.openai_chat_usage import error_text, read_usage
from ocproxy.protocols.problems import note

# (method, end of the path) -> our word for the endpoint; the first that fits.
_ENDPOINTS = (
    ("POST", "/chat/completions", "generate"),
    ("POST", "/completions", "completions"),
    ("POST", "/embeddings", "embeddings"),
    ("POST", "/moderations", "moderations"),
    ("POST", "/images/generations", "images"),
    ("GET", "/models", "models"),
)
# Of an error page that is not JSON this much is kept for the user.
_ERROR_PAGE = 500
_REPLY_FIELDS = {"id", "object", "model", "choices", "usage"}


class OpenAIChat:
    """`ocproxy.protocols.base.Protocol` for the OpenAI Chat Completions API."""

    name = "openai-chat"

    def matches(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """By the end of the path, whatever is before it. A listing of models is ours where it names no other API."""
        endpoint = _endpoint(method, path)
        if endpoint == "models":
            return not headers.keys() & {"anthropic-version", "x-goog-api-key"} and (
                "/v1beta/" not in path or "/openai/" in path
            )
        return endpoint is not None

    def decode_request(self, path: str, body: bytes) -> tuple[ModelRequest | None, list[Problem]]:
        problems: list[Problem] = []
        endpoint = _endpoint(None, path) or "generate"
        if endpoint == "models" and not body:
            return read_request({}, endpoint, problems), problems
        try:
            value = json_value.decode(body, problems)
        except DecodeError as error:
            note(problems, "bad_json", f"the request body is not JSON: {error}")
            return None, problems
        if not isinstance(value, dict):
            note(problems, "wrong_type", "the request body is not an object")
            return None, problems
        return read_request(value, endpoint, problems), problems

    def reply_decoder(self, path: str, status: int, headers: dict[str, str]) -> ReplyDecoder:
        return _ReplyDecoder(path, status, headers.get("content-type", ""))


def _endpoint(method: str | None, path: str) -> str | None:
    path = path.partition("?")[0].rstrip("/")
    found = (word for verb, end, word in _ENDPOINTS if method in (None, verb) and path.endswith(end))
    return next(found, None)


def _is_error(value: Json) -> bool:
    """Whether a body of status 200 is an error all the same. One server puts it into a list."""
    value = value[0] if isinstance(value, list) and value else value
    return isinstance(value, dict) and bool(value.get("error") or value.get("object") == "error")


class _ReplyDecoder:
    """Waits for the first bytes to know the form of the body, then decodes it."""

    def __init__(self, path: str, status: int, content_type: str) -> None:
        self.problems: list[Problem] = []
        self._endpoint = _endpoint(None, path) or "generate"
        self._status = status
        self._content_type = content_type
        self._form: Form | None = None
        self._pieces: list[bytes] = []
        self._stream: StreamedReply | None = None

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
        if self._form == "json":
            return self._read_json(body)
        return self._read_other(body)

    def _decide(self, *, ended: bool) -> list[Delta]:
        start = b"".join(self._pieces)
        self._pieces = [start]
        self._form = form_of(start, self._content_type, ended=ended)
        if self._form != "events":
            return []
        self._stream = StreamedReply(self.problems)
        return self._stream.feed(start)

    def _read_json(self, body: bytes) -> Reply:
        try:
            value = json_value.decode(body, self.problems)
        except DecodeError as error:
            note(self.problems, "bad_json", f"the response body is not JSON: {error}")
            return Reply(error=self._page(body) if self._status >= 400 else None, complete=False)
        if self._status >= 400:
            return self._read_error(value)
        if self._endpoint == "models":
            return Reply(extra=value if isinstance(value, dict) else {"data": value})
        if _is_error(value):
            return self._read_error(value)
        if not isinstance(value, dict):
            note(self.problems, "wrong_type", "the response body is not an object")
            return Reply(extra={"body": value})
        return self._read_completion(value)

    def _read_error(self, value: Json) -> Reply:
        known = ("error", "errors", "detail", "message", "type", "code", "object")
        rest = {k: v for k, v in value.items() if k not in known and v is not None} if isinstance(value, dict) else {}
        return Reply(error=error_text(value), extra=rest)

    def _read_completion(self, value: dict[str, Json]) -> Reply:
        extra = {key: field for key, field in value.items() if key not in _REPLY_FIELDS and field is not None}
        reply = Reply(
            id=self._text(value, "id"),
            model=self._text(value, "model"),
            usage=read_usage(value.get("usage"), self.problems),
            extra=extra,
        )
        choices = value.get("choices")
        if not isinstance(choices, list):
            if choices is not None or self._endpoint in ("generate", "completions"):
                note(self.problems, "unknown_reply", "the response body is not a completion")
            return reply
        found = [choice for choice in choices if isinstance(choice, dict)]
        if len(found) < len(choices) or not found:
            note(self.problems, "wrong_type", "choices is empty or holds something that is no object")
        return self._read_choices(reply, found)

    def _read_choices(self, reply: Reply, choices: list[dict[str, Json]]) -> Reply:
        """The first choice is the reply; the others are kept as they came."""
        first = choices[0] if choices else {}
        message = first.get("message")
        text = first.get("text")  # of a text completion
        if isinstance(message, dict):
            parts, rest = read_assistant(message, self.problems)
        else:
            parts, rest = [Text(text)] if isinstance(text, str) and text else [], {}
            if first and not isinstance(text, str):
                note(self.problems, "wrong_type", "a choice holds no message")
        known = ("index", "message", "text", "finish_reason")
        extra = reply.extra | {k: v for k, v in first.items() if k not in known and v is not None} | rest
        if len(choices) > 1:
            extra["choices"] = choices[1:]
        return Reply(
            id=reply.id,
            model=reply.model,
            parts=tuple(parts),
            stop_reason=self._text(first, "finish_reason"),
            usage=reply.usage,
            error=error_text(first["error"]) if first.get("error") else None,
            extra=extra,
        )

    def _text(self, value: dict[str, Json], field: str) -> str | None:
        text = value.get(field)
        if isinstance(text, str | None):
            return text
        note(self.problems, "wrong_type", f"{field} of the reply is not text")
        return None

    def _read_other(self, body: bytes) -> Reply:
        if self._status >= 400:
            return Reply(error=self._page(body))
        reason = "the response has no body" if not body.strip() else "the response body is neither JSON nor events"
        note(self.problems, "bad_reply", reason)
        return Reply(complete=False)

    def _page(self, body: bytes) -> str:
        text = " ".join(body.decode("utf-8", "replace").split())[:_ERROR_PAGE]
        return f"HTTP {self._status}: {text}" if text else f"HTTP {self._status}"


PROTOCOL: Protocol = OpenAIChat()
