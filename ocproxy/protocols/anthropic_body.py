"""Bodies of the Anthropic Messages API, whoever carries them: the API itself, Bedrock, Vertex.

Source: the API reference, https://platform.claude.com/docs/en/api/messages, and what clients were seen to send.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ocproxy.model import Json, Message, ModelRequest, Problem, Reply, Usage
from ocproxy.protocols.anthropic_blocks import read_parts, read_usage
from ocproxy.protocols.anthropic_stream import StreamedReply, error_text
from ocproxy.protocols.problems import note
from ocproxy.protocols.reply_body import ReplyBody
from ocproxy.protocols.request_object import model_and_stream

_REQUEST_FIELDS = {"model", "stream", "system", "messages", "tools"}
_REPLY_FIELDS = {"id", "type", "role", "model", "content", "stop_reason", "usage"}
_ROLES: tuple[Literal["user", "assistant", "system"], ...] = ("user", "assistant", "system")


def read_request(value: dict[str, Json], endpoint: str, problems: list[Problem]) -> ModelRequest:
    """The request that a body asks. `endpoint` is "generate" or "count_tokens"."""
    params = {key: field for key, field in value.items() if key not in _REQUEST_FIELDS}
    model, stream = model_and_stream(value, params, problems)
    messages, tools = value.get("messages"), value.get("tools")
    if not isinstance(messages, list):
        note(problems, "wrong_type", "messages is not a list")
        params["messages"] = messages
    if not isinstance(tools, list | None) or not all(isinstance(tool, dict) for tool in tools or ()):
        note(problems, "wrong_type", "tools is not a list of objects")
        params["tools"] = tools
    return ModelRequest(
        model=model,
        stream=stream,
        system=read_parts(value.get("system"), problems),
        messages=_read_messages(messages, problems) if isinstance(messages, list) else (),
        tools=tuple([tool for tool in tools if isinstance(tool, dict)]) if isinstance(tools, list) else (),
        params=params,
        endpoint=endpoint,
        continues=_read_thread(value.get("thread"), problems),
    )


def _read_thread(thread: Json, problems: list[Problem]) -> str | msgspec.UnsetType:
    """The reply that the messages follow, where the server holds those before it: `{"type": "continue",
    "previous_message_id": …}`. The first request of a thread says `{"type": "create"}` and is like any other."""
    if thread is None:
        return msgspec.UNSET
    before = thread.get("previous_message_id") if isinstance(thread, dict) else None
    if isinstance(before, str):
        return before
    if not isinstance(thread, dict) or thread.get("type") != "create":
        note(problems, "wrong_type", "thread is not of a known form; the messages are taken for all there are")
    return msgspec.UNSET


def _read_messages(messages: list[Json], problems: list[Problem]) -> tuple[Message, ...]:
    found: list[Message] = []
    for message in messages:
        if not isinstance(message, dict):
            note(problems, "wrong_type", "a message is not an object; it is left out")
            continue
        name = message.get("role")
        role = next((role for role in _ROLES if role == name), None)
        if role is None:
            note(problems, "unknown_role", f"a message has the role {str(name)[:100]!r}; it is taken for the user's")
        extra = {key: field for key, field in message.items() if key not in ("role", "content")}
        found.append(Message(role or "user", read_parts(message.get("content"), problems), extra))
    return tuple(found)


class BodyDecoder(ReplyBody):
    """The reply of a call, or of another endpoint."""

    def open_stream(self) -> StreamedReply:
        return StreamedReply(self.problems)

    def read_value(self, value: Json) -> Reply:
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and "error" in value[0]:
            value = value[0]  # as Google sends the errors of streams
        if not isinstance(value, dict):
            return self._no_object(value)
        if self._status >= 400 or value.get("type") == "error":
            rest = {key: field for key, field in value.items() if key not in ("type", "error")}
            return Reply(error=error_text(value), extra=rest)
        return self._read_message(value)

    def _read_message(self, value: dict[str, Json]) -> Reply:
        if self._endpoint == "count_tokens" and "content" not in value:
            usage = read_usage({"input_tokens": value.get("input_tokens")}, self.problems)
            extra = {key: field for key, field in value.items() if key != "input_tokens" and field is not None}
            return Reply(usage=Usage(input=usage.input), extra=extra)
        if "content" not in value:
            note(self.problems, "unknown_reply", "the response body is not a message")
        return Reply(
            id=self._text(value, "id", "message"),
            model=self._text(value, "model", "message"),
            parts=read_parts(value.get("content"), self.problems),
            stop_reason=self._text(value, "stop_reason", "message"),
            usage=read_usage(value.get("usage"), self.problems),
            extra={key: field for key, field in value.items() if key not in _REPLY_FIELDS and field is not None},
        )
