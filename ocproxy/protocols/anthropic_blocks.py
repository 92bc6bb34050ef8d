"""Content blocks and usage of the Anthropic Messages API, as parts and `Usage`.

Source: the API reference, "Messages", https://platform.claude.com/docs/en/api/messages (beta blocks included). A block
that is not known, or not of the shape that the reference gives, stays whole as `Opaque`, with a Problem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from ocproxy.model import Json, Media, Opaque, Part, Problem, Reasoning, Text, ToolResult, ToolUse, Usage
from ocproxy.protocols.counts import read_count
from ocproxy.protocols.problems import note

Block = dict[str, Json]
Executor = Literal["agent", "provider"]

# Kept whole and known: nothing in them is for a person or a tool.
_KNOWN_OPAQUE = {
    "compaction",
    "connector_text",
    "fallback",
    "mcp_tool_listing",
    "tool_addition",
    "tool_reference",
    "tool_removal",
}
# Text of a result is searched this deep: tool result > web fetch result > document > source is 4.
_TEXT_DEPTH = 6
# What a person reads of the results of server tools, in this order.
_TEXT_FIELDS = ("title", "url", "text", "stdout", "stderr", "data", "error_code", "error_message", "source", "content")
_COUNTED = {
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
}


def read_parts(content: Json, problems: list[Problem]) -> tuple[Part, ...]:
    """The parts of `content`: a string, a list of blocks, or nothing."""
    if isinstance(content, list):
        return tuple([read_part(block, problems) for block in content])
    if isinstance(content, str):
        return (Text(content),)
    if content is not None:
        note(problems, "wrong_type", f"content is neither text nor a list but {_kind(content)}")
        return (Opaque("content", content),)
    return ()


def read_part(block: Json, problems: list[Problem]) -> Part:
    """One content block."""
    if not isinstance(block, dict):
        if isinstance(block, str):  # lists of plain strings: not in the reference, but accepted by some gateways
            return Text(block)
        note(problems, "wrong_type", f"a content block is not an object but {_kind(block)}")
        return Opaque("content", block)
    kind = block.get("type")
    if not isinstance(kind, str):
        note(problems, "wrong_type", "a content block has no type")
        return Opaque("untyped", block)
    reader = _READERS.get(kind)
    if reader is None and kind.endswith("_tool_result"):
        reader = _read_server_result
    if reader is None:
        if kind not in _KNOWN_OPAQUE:
            note(problems, "unknown_block", f"content blocks of type {kind!r} are not known; kept as they came")
        return Opaque(kind, block)
    part = reader(block, problems)
    if part is None:
        note(problems, "malformed_block", f"a content block of type {kind!r} lacks a field or has one of a wrong type")
        return Opaque(kind, block)
    return part


def _rest(block: Block, *known: str) -> Block:
    """Every other field; a null says nothing."""
    if len(block) < len(known):
        return {}
    return {key: value for key, value in block.items() if key not in known and value is not None}


def _kind(value: Json) -> str:
    return "nothing" if value is None else type(value).__name__


def _read_text(block: Block, _: list[Problem]) -> Part | None:
    text = block.get("text")
    return Text(text, _rest(block, "type", "text")) if isinstance(text, str) else None


def _read_thinking(block: Block, _: list[Problem]) -> Part | None:
    text, signature = block.get("thinking", ""), block.get("signature")
    if not isinstance(text, str) or not isinstance(signature, str | None):
        return None
    return Reasoning(text, signature or None, None, _rest(block, "type", "thinking", "signature"))


def _read_redacted(block: Block, _: list[Problem]) -> Part | None:
    data = block.get("data")
    return Reasoning("", None, data, _rest(block, "type", "data")) if isinstance(data, str) else None


def _read_tool_use(block: Block, problems: list[Problem]) -> Part | None:
    use_id, name, arguments = block.get("id"), block.get("name"), block.get("input", {})
    if not isinstance(use_id, str) or not isinstance(name, str):
        return None
    executor: Executor = "agent" if block["type"] == "tool_use" else "provider"
    extra = _rest(block, "type", "id", "name", "input")
    if isinstance(arguments, dict):
        return ToolUse(use_id, name, arguments, executor, extra=extra)
    note(problems, "bad_tool_input", f"the arguments of {name} are not an object but {_kind(arguments)}")
    raw = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return ToolUse(use_id, name, {}, executor, complete=False, raw=raw, extra=extra)


def _read_result(block: Block, problems: list[Problem]) -> Part | None:
    use_id, content, is_error = block.get("tool_use_id"), block.get("content"), block.get("is_error")
    if not isinstance(use_id, str):
        return None
    if not isinstance(is_error, bool | None):
        note(problems, "wrong_type", "is_error of a tool result is not a boolean")
        is_error = None
    executor: Executor = "agent" if block["type"] == "tool_result" else "provider"
    extra = _rest(block, "type", "tool_use_id", "content", "is_error")
    return ToolResult(use_id, plain_text(content), is_error, None, content, executor, extra)


def _read_server_result(block: Block, problems: list[Problem]) -> Part | None:
    """`<tool>_tool_result` blocks. They say by the type of their content whether it is an error."""
    part = _read_result(block, problems)
    if not isinstance(part, ToolResult):
        return None
    content = block.get("content")
    kind = content.get("type") if isinstance(content, dict) else None
    failed = part.is_error
    if failed is None and content is not None:
        failed = isinstance(kind, str) and kind.endswith("_error")
    return msgspec.structs.replace(part, name=block["type"].removesuffix("_tool_result"), is_error=failed)


def _read_media(block: Block, _: list[Problem]) -> Part | None:
    source = block.get("source")
    media_type = source.get("media_type") if isinstance(source, dict) else None
    return Media(block["type"], media_type if isinstance(media_type, str) else None, block)


_READERS: dict[str, Callable[[Block, list[Problem]], Part | None]] = {
    "text": _read_text,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_tool_use,
    "server_tool_use": _read_tool_use,
    "mcp_tool_use": _read_tool_use,
    "tool_result": _read_result,
    "mcp_tool_result": _read_result,
    "image": _read_media,
    "document": _read_media,
    "search_result": _read_media,
    "container_upload": _read_media,
}


def plain_text(content: Json, depth: int = 0) -> str:
    """All text of a tool result, joined by newlines. Images and other binary content give nothing."""
    if isinstance(content, str):
        return content
    if depth >= _TEXT_DEPTH:
        return ""
    if isinstance(content, list):
        found = [plain_text(item, depth + 1) for item in content]
        return "\n".join([text for text in found if text])
    if not isinstance(content, dict) or content.get("type") in ("image", "base64", "container_upload"):
        return ""
    if content.get("type") == "text" and "data" not in content:
        text = content.get("text")
        return text if isinstance(text, str) else ""
    found = [plain_text(content.get(field), depth + 1) for field in _TEXT_FIELDS]
    return "\n".join([text for text in found if text])


def read_usage(usage: Json, problems: list[Problem]) -> Usage:
    """The `usage` object of a message. `input_tokens` of this API already excludes what the cache served or took."""
    if not isinstance(usage, dict):
        if usage is not None:
            note(problems, "wrong_type", f"usage is not an object but {_kind(usage)}")
        return Usage()
    write = read_count(usage, "cache_creation_input_tokens", problems)
    split = usage.get("cache_creation")
    split = split if isinstance(split, dict) else {}
    short = read_count(split, "ephemeral_5m_input_tokens", problems)
    long = read_count(split, "ephemeral_1h_input_tokens", problems)
    if write is None and (short is not None or long is not None):
        write = (short or 0) + (long or 0)
    details = usage.get("output_tokens_details")
    return Usage(
        input=read_count(usage, "input_tokens", problems),
        output=read_count(usage, "output_tokens", problems),
        cache_read=read_count(usage, "cache_read_input_tokens", problems),
        cache_write=write,
        cache_write_5m=_rescaled(short, long, write),
        cache_write_1h=_rescaled(long, short, write),
        reasoning=read_count(details, "thinking_tokens", problems) if isinstance(details, dict) else None,
        extra={key: value for key, value in usage.items() if key not in _COUNTED and value is not None},
    )


def _rescaled(own: int | None, other: int | None, total: int | None) -> int | None:
    """One lifetime's share of the cache writes. A stream tells the shares at its start and a later, larger total at its
    end: where one lifetime only is in use the total is its; where both are, the shares are not known."""
    if own is None or total is None or own + (other or 0) == total:
        return own
    if not other and own:
        return total
    return None if own and other else own
