"""The body of an OpenAI Chat Completions request, as a `ModelRequest`.

Source: the API reference, "Create chat completion", https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

import msgspec

from ocproxy.model import UNNAMED, Json, Message, ModelRequest, Part, Problem, Text, ToolResult, ToolUse
from ocproxy.protocols.openai_chat_parts import plain_text, read_assistant, read_content
from ocproxy.protocols.problems import note
from ocproxy.protocols.request_object import model_and_stream

Fields = dict[str, Json]

_SYSTEM = ("system", "developer")
_TOOL = ("tool", "function")
_REQUEST_FIELDS = {"model", "stream", "messages", "tools"}


def read_request(value: Fields, endpoint: str, problems: list[Problem]) -> ModelRequest:
    """The request in `value`. Only `generate` has messages; what other endpoints take is in `params`."""
    params = {key: field for key, field in value.items() if key not in _REQUEST_FIELDS}
    model, stream = model_and_stream(value, params, problems)
    messages = value.get("messages")
    if not isinstance(messages, list):
        if messages is not None or endpoint == "generate":
            note(problems, "wrong_type", "messages is not a list")
            params["messages"] = messages
        messages = []
    system, rest = _split(messages, problems)
    return ModelRequest(
        model=model,
        stream=stream,
        system=system,
        messages=_History(problems).read(rest),
        tools=_read_tools(value, params, problems),
        params=params,
        endpoint=endpoint,
    )


def _read_tools(value: Fields, params: Fields, problems: list[Problem]) -> tuple[Fields, ...]:
    """`tools`, and `functions`, which were there before them."""
    found: list[Fields] = []
    for field in ("tools", "functions"):
        tools = value.get(field)
        if not isinstance(tools, list | None) or not all(isinstance(tool, dict) for tool in tools or ()):
            note(problems, "wrong_type", f"{field} is not a list of objects")
            params[field] = tools
        elif tools is not None:
            params.pop(field, None)
        if isinstance(tools, list):
            found += [tool for tool in tools if isinstance(tool, dict)]
    return tuple(found)


def _split(messages: list[Json], problems: list[Problem]) -> tuple[tuple[Part, ...], list[Json]]:
    """The instructions at the head of a conversation, and what follows them."""
    system: list[Part] = []
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _SYSTEM:
            return tuple(system), messages[at:]
        system += _system_parts(message, problems)
    return tuple(system), []


def _system_parts(message: Fields, problems: list[Problem]) -> list[Part]:
    extra = _system_extra(message)
    parts = read_content(message.get("content"), problems)
    return [msgspec.structs.replace(p, extra=p.extra | extra) if isinstance(p, Text) else p for p in parts]


def _system_extra(message: Fields) -> Fields:
    known = ("content",) if message.get("role") != "system" else ("content", "role")
    return {key: field for key, field in message.items() if key not in known and field is not None}


class _History:
    """Reads the messages in their order: a result may have no id but its place.

    The results of one message's calls come as a message each. They become one message, as they are one answer: an agent
    that sends them in another order, or a result anew, has changed one message then and not several.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._messages: list[Message] = []
        self._results: list[Part] = []
        self._waiting: list[ToolUse] = []  # calls of the last assistant's message that have no result yet

    def read(self, messages: list[Json]) -> tuple[Message, ...]:
        for message in messages:
            if not isinstance(message, dict):
                note(self._problems, "wrong_type", "a message is not an object; it is left out")
                continue
            role = message.get("role")
            if role in _TOOL:
                self._results.append(self._read_result(message))
                continue
            self._flush()
            self._messages.append(self._read_message(role, message))
        self._flush()
        return tuple(self._messages)

    def _flush(self) -> None:
        if self._results:
            self._messages.append(Message("user", tuple(self._results)))
            self._results = []

    def _read_message(self, role: Json, message: Fields) -> Message:
        if role == "assistant":
            parts, extra = read_assistant(message, self._problems)
            self._waiting = [part for part in parts if isinstance(part, ToolUse)]
            return Message("assistant", tuple(parts), extra)
        content = tuple(read_content(message.get("content"), self._problems))
        if role in _SYSTEM:
            return Message("system", content, _system_extra(message))
        extra = {key: field for key, field in message.items() if key not in ("role", "content") and field is not None}
        if role != "user":
            name = str(role)[:100]
            note(self._problems, "unknown_role", f"a message has the role {name!r}; it is taken for the user's")
            extra["role"] = role
        return Message("user", content, extra)

    def _read_result(self, message: Fields) -> ToolResult:
        name, content = message.get("name"), message.get("content")
        known = ("role", "tool_call_id", "content", "name")
        extra = {key: field for key, field in message.items() if key not in known and field is not None}
        if not isinstance(name, str | None):
            extra["name"], name = name, None
        use_id = self._answered(told := message.get("tool_call_id"), name)
        alias = told if isinstance(told, str) and told and told != use_id else None
        return ToolResult(use_id, plain_text(content), None, name or None, content, extra=extra, alias=alias)

    def _answered(self, id: Json, name: str | None) -> str:
        """The id of the call that is answered: the one told (the first that waits, of several calls with one id), else
        that of the first call without one that fits."""
        if isinstance(id, str) and id:
            found = next((use for use in self._waiting if id in (use.id, use.alias)), None)
            self._waiting = [use for use in self._waiting if use is not found]
            return found.id if found else id
        for use in self._waiting:
            if use.id.startswith(UNNAMED) and name in (None, "", use.name):
                self._waiting.remove(use)
                return use.id
        if len(self._waiting) == 1:
            return self._waiting.pop().id
        note(self._problems, "missing_id", "a tool result does not say which call it answers")
        return ""
