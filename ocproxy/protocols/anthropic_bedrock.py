"""Anthropic Messages on Amazon Bedrock: `POST /model/ID/invoke`, `/invoke-with-response-stream`, `/count-tokens`.

Requests and whole replies are bodies of the Messages API, with the model in the path. A stream is one of binary frames
(`ocproxy.protocols.eventstream`); the payload of a `chunk` is `{"bytes": …}`, base64 of one event of the Messages API.
Source: the API reference, "InvokeModelWithResponseStream" and "CountTokens", https://docs.aws.amazon.com/bedrock/latest/
APIReference/. The Converse API is another protocol: its calls are recognised and kept, its bodies are not decoded.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

import msgspec

from ocproxy.errors import DecodeError
from ocproxy.model import Delta, Json, ModelRequest, Problem, Reply, Usage
from ocproxy.protocols import json_value
from ocproxy.protocols.anthropic_blocks import read_usage
from ocproxy.protocols.anthropic_body import BodyDecoder, read_request
from ocproxy.protocols.base import Protocol, ReplyDecoder
from ocproxy.protocols.eventstream import Frame, FrameStream
from ocproxy.protocols.problems import note
from ocproxy.protocols.request_object import decode_object

# Verb -> our endpoint.
_ENDPOINTS = {
    "invoke": "generate",
    "invoke-with-response-stream": "generate",
    "count-tokens": "count_tokens",
    "converse": "converse",
    "converse-stream": "converse",
}
_PATH = re.compile(rf"/model/(.+)/({'|'.join(_ENDPOINTS)})$")
_FRAMES = "application/vnd.amazon.eventstream"
# Of the message of an exception this much is kept for the user.
_SHOWN = 500


class AnthropicBedrock:
    """`ocproxy.protocols.base.Protocol` for Anthropic's models on Amazon Bedrock."""

    name = "anthropic-bedrock"

    def matches(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """POST to a model of Anthropic, named by its id or by the ARN of an inference profile, which does not say whose
        it is."""
        found = _PATH.search(path)
        if method != "POST" or found is None:
            return False
        model = unquote(found[1])
        return "anthropic" in model or "claude" in model or model.startswith("arn:")

    def decode_request(self, path: str, body: bytes) -> tuple[ModelRequest | None, list[Problem]]:
        problems: list[Problem] = []
        model, verb = _parts_of(path)
        value = decode_object(body, problems)
        if value is None:
            return None, problems
        endpoint = _ENDPOINTS[verb]
        stream = verb in ("invoke-with-response-stream", "converse-stream")
        if endpoint == "converse":
            note(
                problems, "unknown_protocol", "the Converse API of Bedrock is not decoded; the call is kept as it came"
            )
            return ModelRequest(model, stream, (), (), (), value, endpoint), problems
        if endpoint == "count_tokens":
            value = _counted(value, problems)
        request = read_request(value, endpoint, problems)
        return msgspec.structs.replace(request, model=request.model or model, stream=stream), problems

    def reply_decoder(self, path: str, status: int, headers: dict[str, str]) -> ReplyDecoder:
        return _ReplyDecoder(_ENDPOINTS[_parts_of(path)[1]], status, headers)


def _parts_of(path: str) -> tuple[str | None, str]:
    found = _PATH.search(path)
    return (unquote(found[1]), found[2]) if found else (None, "invoke")


def _counted(value: dict[str, Json], problems: list[Problem]) -> dict[str, Json]:
    """The request whose tokens are to be counted: base64 in `input.invokeModel.body`."""
    place: Json = value
    for field in ("input", "invokeModel", "body"):
        place = place.get(field) if isinstance(place, dict) else None
    if isinstance(place, str):
        try:
            return decode_object(base64.b64decode(place, validate=True), problems) or value
        except ValueError as error:  # not base64, or not even ASCII
            note(problems, "bad_base64", f"the request to be counted is not base64: {error}")
    return value


class _ReplyDecoder:
    """Takes the frames off and hands on what is in them; JSON bodies are handed on as they are."""

    def __init__(self, endpoint: str, status: int, headers: dict[str, str]) -> None:
        content_type = headers.get("content-type", "")
        self._endpoint = endpoint
        self._status = status
        self._error_type = headers.get("x-amzn-errortype", "").partition(":")[0]
        self._is_framed = content_type.partition(";")[0].strip().lower() == _FRAMES
        self._inner = BodyDecoder("generate", status, "text/event-stream" if self._is_framed else content_type)
        self.problems: list[Problem] = self._inner.problems
        self._frames = FrameStream(self.problems)
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> list[Delta]:
        if self._endpoint != "generate":
            self._body.append(data)
            return []
        if not self._is_framed:
            return self._inner.feed(data)
        return [delta for frame in self._frames.feed(data) for delta in self._inner.feed(self._event(frame))]

    def close(self) -> Reply:
        if self._endpoint != "generate" and self._status < 400:
            return self._read_other(b"".join(self._body))
        if self._body:
            self._inner.feed(b"".join(self._body))
            self._body.clear()
        if self._frames.unfinished:
            note(self.problems, "truncated", "the event stream ended inside a message")
        reply = self._inner.close()
        if reply.error is not None and self._error_type:
            reply = msgspec.structs.replace(reply, error=f"{self._error_type}: {reply.error}")
        return reply

    def _event(self, frame: Frame) -> bytes:
        """One frame as a server-sent event."""
        kind = frame.headers.get(":message-type", "event")
        if kind != "event":
            return self._failure(frame)
        if frame.headers.get(":event-type") != "chunk":
            note(self.problems, "unknown_event", f"frames of type {frame.headers.get(':event-type')!r} are not known")
            return b""
        try:
            value = json_value.decode(frame.payload, self.problems)
            inner = value.get("bytes") if isinstance(value, dict) else None
            data = base64.b64decode(inner, validate=True) if isinstance(inner, str) else None
        except (DecodeError, ValueError) as error:
            note(self.problems, "bad_json", f"a chunk of the event stream cannot be read: {error}")
            return b""
        if data is None:
            note(self.problems, "wrong_type", "a chunk of the event stream has no bytes")
            return b""
        return _sse(b"message", data)

    def _failure(self, frame: Frame) -> bytes:
        """Exceptions have a type and a JSON payload, errors a code and a message in the headers."""
        headers = frame.headers
        kind = headers.get(":exception-type") or headers.get(":error-code") or "exception"
        text: Json = headers.get(":error-message")
        if text is None:
            try:
                value = json_value.decode(frame.payload, self.problems)
                text = value.get("message", value.get("Message")) if isinstance(value, dict) else value
            except DecodeError:
                text = frame.payload.decode("utf-8", "replace")
        error = {"type": kind, "message": str(text)[:_SHOWN] if text else None}
        return _sse(b"error", msgspec.json.encode({"type": "error", "error": error}))

    def _read_other(self, body: bytes) -> Reply:
        if self._endpoint == "converse":
            note(self.problems, "unknown_protocol", "the Converse API of Bedrock is not decoded; the reply is not read")
            return Reply()
        try:
            value = json_value.decode(body, self.problems)
        except DecodeError as error:
            note(self.problems, "bad_json", f"the response body is not JSON: {error}")
            return Reply(complete=False)
        if not isinstance(value, dict):
            note(self.problems, "wrong_type", "the response body is not an object")
            return Reply(complete=False)
        usage = read_usage({"input_tokens": value.get("inputTokens")}, self.problems)
        return Reply(usage=Usage(input=usage.input))


def _sse(name: bytes, data: bytes) -> bytes:
    """A line break is JSON's white space only, and would end the field."""
    return b"event: %s\ndata: %s\n\n" % (name, data.replace(b"\r", b" ").replace(b"\n", b" "))


PROTOCOL: Protocol = AnthropicBedrock()
