"""The OpenAI Responses protocol: `POST …/responses`, what is below it, and the same over a WebSocket.

    POST …/responses                  an answer: JSON, an event stream, or a WebSocket (GET with an upgrade)
    POST …/responses/input_tokens     counts
    POST …/responses/compact          the history as fewer items
    GET  …/responses/ID               an answer made in the background, or once more; POST …/ID/cancel ends it

Source: the API reference, https://platform.openai.com/docs/api-reference/responses, and what clients were seen to send.
How a WebSocket's messages become calls is in `openai_responses_socket`.
"""

from __future__ import annotations

import re

import msgspec

from ocproxy.model import Json, ModelRequest, Opaque, Problem, Reply, Text, Usage
from ocproxy.protocols.base import Protocol, ReplyDecoder, SocketCalls
from ocproxy.protocols.openai_responses_items import read_input, read_parts, read_tools, read_usage
from ocproxy.protocols.openai_responses_parts import Item
from ocproxy.protocols.openai_responses_reply import error_text, read_response
from ocproxy.protocols.openai_responses_socket import ResponsesCalls
from ocproxy.protocols.openai_responses_stream import StreamedReply
from ocproxy.protocols.problems import note
from ocproxy.protocols.reply_body import ReplyBody
from ocproxy.protocols.request_object import decode_object, model_and_stream

_POSTED = re.compile(r"/responses(?:/compact|/input_tokens|/resp_[^/]+/cancel)?/?\Z")
_FETCHED = re.compile(r"/responses/resp_[^/]+(?:/input_items)?/?\Z")
_REQUEST_FIELDS = {"model", "stream", "instructions", "input", "tools", "previous_response_id"}


class OpenAIResponses:
    """`ocproxy.protocols.base.SocketProtocol` for the OpenAI Responses API."""

    name = "openai-responses"

    def matches(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """By the end of the path, whatever is before it."""
        if method == "POST":
            return _POSTED.search(path) is not None
        if method != "GET":
            return False
        if headers.get("upgrade", "").lower() == "websocket":
            return path.rstrip("/").endswith("/responses")
        return _FETCHED.search(path) is not None

    def decode_request(self, path: str, body: bytes) -> tuple[ModelRequest | None, list[Problem]]:
        problems: list[Problem] = []
        endpoint = _endpoint(path)
        if endpoint == "retrieve" and not body:
            return ModelRequest(None, False, (), (), (), endpoint=endpoint), problems
        value = decode_object(body, problems)
        return (_read_request(endpoint, value, problems) if value is not None else None), problems

    def reply_decoder(self, path: str, status: int, headers: dict[str, str]) -> ReplyDecoder:
        return _ReplyDecoder(_endpoint(path), status, headers.get("content-type", ""))

    def socket_calls(self) -> SocketCalls:
        return ResponsesCalls()


def _endpoint(path: str) -> str:
    path = path.partition("?")[0].rstrip("/")
    if path.endswith("/responses/input_tokens"):
        return "count_tokens"
    if path.endswith("/responses/compact"):
        return "compact"
    return "generate" if path.endswith("/responses") else "retrieve"


def _read_request(endpoint: str, value: Item, problems: list[Problem]) -> ModelRequest:
    params = {key: field for key, field in value.items() if key not in _REQUEST_FIELDS}
    model, stream = model_and_stream(value, params, problems)
    before = value.get("previous_response_id")
    if not isinstance(before, str | None):
        note(problems, "wrong_type", "previous_response_id is not text")
        params["previous_response_id"] = before
    messages, brought = read_input(value.get("input"), problems)
    last = messages[-1].parts[-1] if messages and messages[-1].parts else None
    if endpoint == "generate" and isinstance(last, Opaque) and last.kind == "compaction_trigger":
        endpoint = "compact"
    if endpoint == "generate" and value.get("generate") is False:
        endpoint = "prewarm"  # nothing is to be generated: the provider gets ready for what follows
    return ModelRequest(
        model=model,
        stream=stream,
        system=_read_instructions(value.get("instructions"), problems),
        messages=messages,
        tools=(*read_tools(value.get("tools"), problems), *brought),
        params=params,
        endpoint=endpoint,
        continues=before if isinstance(before, str) else msgspec.UNSET,
        conversation=_read_conversation(value.get("conversation"), problems),
    )


def _read_conversation(value: Json, problems: list[Problem]) -> str | msgspec.UnsetType:
    """Its id, bare or in an object."""
    id = value.get("id") if isinstance(value, dict) else value
    if isinstance(id, str) and id:
        return id
    if value is not None:
        note(problems, "wrong_type", "conversation is neither an id nor an object with one")
    return msgspec.UNSET


def _read_instructions(value: Json, problems: list[Problem]) -> tuple[Text | Opaque, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (Text(value),)
    if isinstance(value, list):  # as responses repeat them
        return tuple([p for item in value for p in read_parts(item, problems) if isinstance(p, Text | Opaque)])
    note(problems, "wrong_type", "instructions is not text")
    return (Opaque("instructions", value),)


class _ReplyDecoder(ReplyBody):
    def open_stream(self) -> StreamedReply:
        return StreamedReply(self.problems)

    def read_value(self, value: Json) -> Reply:
        if not isinstance(value, dict):
            return self._no_object(value)
        if self._status >= 400 or ("error" in value and "output" not in value and value["error"] is not None):
            return Reply(error=error_text(value), extra={key: value[key] for key in value if key != "error"})
        if self._endpoint == "count_tokens" and "output" not in value:
            usage = read_usage({"input_tokens": value.get("input_tokens")}, self.problems)
            extra = {key: field for key, field in value.items() if key != "input_tokens" and field is not None}
            return Reply(usage=Usage(input=usage.input), extra=extra)
        if "output" not in value and value.get("object") != "list":
            note(self.problems, "unknown_reply", "the response body is not a response")
        return read_response(value, self.problems)


PROTOCOL: Protocol = OpenAIResponses()
