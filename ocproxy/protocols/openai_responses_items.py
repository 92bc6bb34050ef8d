"""Items of the OpenAI Responses API (what `input` and `output` are lists of), as messages, parts and `Usage`.

Source: the API reference, https://platform.openai.com/docs/api-reference/responses, the types of OpenAI's own Python
library, and what clients were seen to send. An item that is not known, or not of the shape that the reference gives,
stays whole as `Opaque`, with a Problem.

One answer of the model is several items, so items of one side that follow each other are one message: the model's
reasoning, text and calls, or the results of calls. A message item of anybody else is a message of its own.
"""

from __future__ import annotations

from typing import Literal

from ocproxy.model import Json, Message, Opaque, Part, Problem, Text, Usage
from ocproxy.protocols.base import REFERENCE
from ocproxy.protocols.openai_responses_parts import Item, kind_of, read_content
from ocproxy.protocols.openai_responses_tools import CALLS, RESULTS, read_call, read_result
from ocproxy.protocols.problems import note

Role = Literal["system", "user", "assistant"]

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
# Kept whole and known: nothing in them is for a person or a tool.
_COMPACTED = {"compaction", "compaction_summary", "context_compaction"}  # the history so far, sealed: no answer
_OPAQUE_OF_MODEL = _COMPACTED | {"mcp_list_tools", "mcp_approval_request", REFERENCE}
_OPAQUE_OF_USER = {"compaction_trigger", "configuration_update", "mcp_approval_response"}
# What the server and the client add to an item by themselves: not there on both ways of the same item.
_INCIDENTAL = ("id", "status", "created_by", "internal_chat_message_metadata_passthrough")
_COUNTED = {"input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"}
# No real count is larger; what is does not fit a database column.
_MAX_COUNT = 2**53


def read_input(value: Json, problems: list[Problem]) -> tuple[tuple[Message, ...], list[dict[str, Json]]]:
    """The messages of `input` (text, or a list of items), and the tools that `additional_tools` items bring."""
    tools: list[dict[str, Json]] = []
    if value is None:
        return (), tools
    if isinstance(value, str):
        return (Message("user", (Text(value),)),), tools
    if not isinstance(value, list):
        note(problems, "wrong_type", f"input is neither text nor a list but {kind_of(value)}")
        return (Message("user", (Opaque("input", value),)),), tools
    found: list[Message] = []
    joins = False  # whether the last message goes on with items of its side
    for item in value:
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            tools += read_tools(item.get("tools"), problems)
            continue
        side, message = _read_message(item, problems)
        if side is not None and joins and found[-1].role == message.role:
            found[-1] = Message(message.role, found[-1].parts + message.parts, {**found[-1].extra, **message.extra})
        else:
            found.append(message)
        joins = side is not None
    return tuple(found), tools


def read_tools(value: Json, problems: list[Problem]) -> list[dict[str, Json]]:
    """The tools of a list: functions, custom tools, namespaces of them, and the provider's own, as they came."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        note(problems, "wrong_type", "tools is not a list of objects")
    return [tool for tool in value if isinstance(tool, dict)] if isinstance(value, list) else []


def read_output(value: Json, problems: list[Problem]) -> tuple[Part, ...]:
    """The parts of `output`, a list of items."""
    if not isinstance(value, list):
        if value is not None:
            note(problems, "wrong_type", f"output is not a list but {kind_of(value)}")
        return ()
    return tuple([part for item in value for part in read_parts(item, problems)])


def read_parts(item: Json, problems: list[Problem]) -> tuple[Part, ...]:
    """The parts of one item."""
    return _read_message(item, problems)[1].parts


def _read_message(item: Json, problems: list[Problem]) -> tuple[Role | None, Message]:
    """The item as a message, and the side whose neighbouring items it is one message with; None: it stands alone."""
    if not isinstance(item, dict):
        note(problems, "wrong_type", f"an item is not an object but {kind_of(item)}")
        return None, Message("user", (Text(item) if isinstance(item, str) else Opaque("item", item),))
    kind = item.get("type") or (REFERENCE if item.keys() - {"type"} == {"id"} else "message")
    if not isinstance(kind, str):
        note(problems, "wrong_type", "the type of an item is not text")
        return None, Message("user", (Opaque("untyped", item),))
    if kind in ("message", "agent_message"):
        return _read_said(kind, item, problems)
    parts: tuple[Part, ...] | None
    if kind in RESULTS:
        parts = read_result(kind, item, problems)
        role: Role = "user" if not parts or parts[0].executor == "agent" else "assistant"
    else:
        role = "user" if kind in _OPAQUE_OF_USER or kind.endswith(("_output", "_response")) else "assistant"
        parts = read_call(kind, item, problems) if kind in CALLS else _keep(kind, item, problems)
    if parts is None:
        note(problems, "malformed_item", f"an item of type {kind!r} lacks a field or has one of a wrong type")
        parts = (Opaque(kind, item),)
    stands_alone = kind in _OPAQUE_OF_USER or kind in _COMPACTED
    return (None if stands_alone else role), Message(role, parts)


def _keep(kind: str, item: Item, problems: list[Problem]) -> tuple[Part, ...]:
    if kind not in _OPAQUE_OF_MODEL | _OPAQUE_OF_USER:
        note(problems, "unknown_item", f"items of type {kind!r} are not known; kept as they came")
    lean = {key: value for key, value in item.items() if key not in _INCIDENTAL and value is not None}
    return (Opaque(kind, lean if len(lean) > 1 else item),)


def _read_said(kind: str, item: Item, problems: list[Problem]) -> tuple[Role | None, Message]:
    """A message item. What one agent of several tells another counts as said by a user."""
    name = item.get("role", "user" if kind == "agent_message" else None)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        note(problems, "unknown_role", f"a message has the role {str(name)[:100]!r}; it is taken for the user's")
    parts = read_content(item.get("content"), problems)
    extra = {key: value for key, value in item.items() if key not in ("type", "role", "content") and value is not None}
    if role == "assistant" and parts and isinstance(parts[0], Text) and "id" in extra:
        parts = (Text(parts[0].text, {"id": extra.pop("id"), **parts[0].extra}), *parts[1:])
    if kind == "agent_message":
        extra = {"type": kind, **extra}
    elif name not in ("user", "assistant", "system"):
        extra = {"role": name, **extra}
    return ("assistant" if role == "assistant" else None), Message(role or "user", parts, extra)


def read_usage(usage: Json, problems: list[Problem]) -> Usage:
    """The `usage` object of a response. `input_tokens` of this API includes what the cache served or took; ours does
    not."""
    if not isinstance(usage, dict):
        if usage is not None:
            note(problems, "wrong_type", f"usage is not an object but {kind_of(usage)}")
        return Usage()
    taken, given = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    taken, given = (details if isinstance(details, dict) else {} for details in (taken, given))
    total = _count(usage, "input_tokens", problems)
    read, write = _count(taken, "cached_tokens", problems), _count(taken, "cache_write_tokens", problems)
    own = None if total is None else total - (read or 0) - (write or 0)
    if own is not None and own < 0:
        note(problems, "odd_usage", f"input_tokens is {total}, less than what the cache served and took of it")
        own = 0
    extra = {key: value for key, value in usage.items() if key not in _COUNTED and value is not None}
    return Usage(
        input=own,
        output=_count(usage, "output_tokens", problems),
        cache_read=read,
        cache_write=write,
        reasoning=_count(given, "reasoning_tokens", problems),
        extra=extra,
    )


def _count(usage: Item, key: str, problems: list[Problem]) -> int | None:
    value = usage.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        note(problems, "wrong_type", f"{key} is not a count")
        return None
    return value
