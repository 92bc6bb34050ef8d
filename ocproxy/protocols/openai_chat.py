"""The OpenAI Chat Completions protocol, and the smaller endpoints beside it: JSON and event streams.

Source: the API reference, https://platform.openai.com/docs/api-reference/chat, and what clients and compatible servers
were seen to send. Endpoints are told by the end of the path, so that any prefix will do:
`/openai/deployments/NAME/chat/completions` (Azure), `/compatible-mode/v1/chat/completions`, `/v1beta/openai/models`.
"""

from __future__ import annotations

from ocproxy.model import Json, ModelRequest, Problem, Reply, Text
from ocproxy.protocols.base import Protocol, ReplyDecoder
from ocproxy.protocols.openai_chat_parts import read_assistant
from ocproxy.protocols.openai_chat_request import read_request
from ocproxy.protocols.openai_chat_stream import StreamedReply
from ocproxy.protocols.openai_chat_usage import error_text, read_usage
from ocproxy.protocols.problems import note
from ocproxy.protocols.reply_body import ReplyBody
from ocproxy.protocols.request_object import decode_object

# (method, end of the path) -> our word for the endpoint; the first that fits.
_ENDPOINTS = (
    ("POST", "/chat/completions", "generate"),
    ("POST", "/completions", "completions"),
    ("POST", "/embeddings", "embeddings"),
    ("POST", "/moderations", "moderations"),
    ("POST", "/images/generations", "images"),
    ("GET", "/models", "models"),
)
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
        value = decode_object(body, problems)
        return (read_request(value, endpoint, problems) if value is not None else None), problems

    def reply_decoder(self, path: str, status: int, headers: dict[str, str]) -> ReplyDecoder:
        return _ReplyDecoder(_endpoint(None, path) or "generate", status, headers.get("content-type", ""))


def _endpoint(method: str | None, path: str) -> str | None:
    path = path.partition("?")[0].rstrip("/")
    found = (word for verb, end, word in _ENDPOINTS if method in (None, verb) and path.endswith(end))
    return next(found, None)


def _is_error(value: Json) -> bool:
    """Whether a body of status 200 is an error all the same. One server puts it into a list."""
    value = value[0] if isinstance(value, list) and value else value
    return isinstance(value, dict) and bool(value.get("error") or value.get("object") == "error")


class _ReplyDecoder(ReplyBody):
    def open_stream(self) -> StreamedReply:
        return StreamedReply(self.problems)

    def read_value(self, value: Json) -> Reply:
        if self._status >= 400:
            return self._read_error(value)
        if self._endpoint == "models":
            return Reply(extra=value if isinstance(value, dict) else {"data": value})
        if _is_error(value):
            return self._read_error(value)
        if not isinstance(value, dict):
            return self._no_object(value)
        return self._read_completion(value)

    def _read_error(self, value: Json) -> Reply:
        known = ("error", "errors", "detail", "message", "type", "code", "object")
        rest = {k: v for k, v in value.items() if k not in known and v is not None} if isinstance(value, dict) else {}
        return Reply(error=error_text(value), extra=rest)

    def _read_completion(self, value: dict[str, Json]) -> Reply:
        extra = {key: field for key, field in value.items() if key not in _REPLY_FIELDS and field is not None}
        reply = Reply(
            id=self._text(value, "id", "reply"),
            model=self._text(value, "model", "reply"),
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
            stop_reason=self._text(first, "finish_reason", "reply"),
            usage=reply.usage,
            error=error_text(first["error"]) if first.get("error") else None,
            extra=extra,
        )


PROTOCOL: Protocol = OpenAIChat()
