"""Parts and usage of the Gemini API, as parts and `Usage` of ours.

Source: the API reference, "Content", "Part" and "UsageMetadata", https://ai.google.dev/api/caching and
https://ai.google.dev/api/generate-content. Field names come in camel case or, as protobuf's JSON allows, with
underscores.
"""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple

import msgspec

from ocproxy.model import (
    UNNAMED,
    Json,
    Media,
    Opaque,
    Part,
    Problem,
    Reasoning,
    Text,
    ToolResult,
    ToolUse,
    Usage,
    digest,
)
from ocproxy.protocols.counts import read_count
from ocproxy.protocols.problems import note

Block = dict[str, Json]
Executor = Literal["agent", "provider"]

SIGNATURE = "thoughtSignature"
# What a part holds is one of these; every other field describes it.
_DATA = (
    *("functionCall", "functionResponse", "executableCode", "codeExecutionResult", "toolCall", "toolResponse"),
    *("inlineData", "fileData", "text"),
)
_CODE = "code_execution"
_UNDERSCORE = re.compile("_([a-z])")
# Text of a function's response is searched this deep: response > content > part > text is 3.
_TEXT_DEPTH = 5
_MEDIA = {"image", "audio", "video"}
_COUNTED = {
    *("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"),
}


class Found(NamedTuple):
    """A part as it came: which of `_DATA` it holds, that, and its other fields. `kind` is "" where nothing is known."""

    kind: str
    data: Json
    rest: Block


def camel(block: Block) -> Block:
    """The fields of an object under their names in camel case. Not to be used on a function's arguments."""
    if not any("_" in key for key in block):
        return block
    return {camel_name(key): value for key, value in block.items()}


def camel_name(name: str) -> str:
    """One name of a field in camel case."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


def open_part(block: Json, problems: list[Problem]) -> Found:
    """What one part holds."""
    if isinstance(block, str):
        return Found("text", block, {})
    if not isinstance(block, dict):
        note(problems, "wrong_type", f"a part is not an object but {type(block).__name__}")
        return Found("", block, {})
    block = camel(block)
    for kind in _DATA:
        data = block.get(kind)
        if data is not None:
            wanted = str if kind == "text" else dict
            if not isinstance(data, wanted):
                note(problems, "malformed_block", f"{kind} of a part has a wrong type; the part is kept as it came")
                return Found("", block, {})
            rest = {key: value for key, value in block.items() if key != kind and value is not None}
            return Found(kind, camel(data) if isinstance(data, dict) else data, rest)
    if not block.keys() - {SIGNATURE, "thought", "text"}:  # a signature may come with nothing that it signs
        return Found("text", "", {key: value for key, value in block.items() if key != "text" and value is not None})
    note(problems, "unknown_block", f"parts with {', '.join(sorted(block))[:200]} are not known; kept as they came")
    return Found("", block, {})


def read_text(found: Found) -> Text | Reasoning:
    """A part that holds text: what was said or, with `thought`, thinking."""
    extra = {key: value for key, value in found.rest.items() if key not in ("thought", SIGNATURE)}
    signature = found.rest.get(SIGNATURE)
    if found.rest.get("thought") is True:
        return Reasoning(found.data, signature if isinstance(signature, str) else None, None, extra)
    return Text(found.data, extra if signature is None else {**extra, SIGNATURE: signature})


def read_call(found: Found, problems: list[Problem]) -> ToolUse | None:
    """A call of a function, of code or of a tool of the provider. None: not of the shape that the reference gives."""
    data = found.data
    if found.kind == "executableCode":
        given = {key: data[key] for key in ("language", "code") if key in data}
        return ToolUse(_id(_CODE, given), _CODE, given, "provider", extra=found.rest, alias=_text(data, "id"))
    name, arguments = _text(data, "name" if found.kind == "functionCall" else "toolType"), data.get("args")
    if name is None:
        note(problems, "malformed_block", f"a {found.kind} has no name; kept as it came")
        return None
    executor: Executor = "agent" if found.kind == "functionCall" else "provider"
    extra = {**found.rest, **_rest(data, "id", "name", "toolType", "args")}
    alias = _text(data, "id")
    if isinstance(arguments, dict | None):
        given = arguments or {}
        return ToolUse(_id(name, given), name, given, executor, extra=extra, alias=alias)
    note(problems, "bad_tool_input", f"the arguments of {name} are not an object but {type(arguments).__name__}")
    raw = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return ToolUse(_id(name, raw), name, {}, executor, complete=False, raw=raw, extra=extra, alias=alias)


def read_result(found: Found) -> ToolResult:
    """The result of a call. Its `tool_use_id` is empty: which call it answers, its place tells. The documented response
    has `output` or `error`; whatever else it is, is the output."""
    data, alias = found.data, _text(found.data, "id")
    if found.kind == "codeExecutionResult":
        text, outcome = _text(data, "output") or "", data.get("outcome")
        failed = None if outcome is None else outcome != "OUTCOME_OK"
        return ToolResult("", text, failed, _CODE, data, "provider", found.rest, alias)
    is_function = found.kind == "functionResponse"
    name, response = _text(data, "name" if is_function else "toolType"), data.get("response")
    extra = {**found.rest, **_rest(data, "id", "name", "toolType", "response")}
    failed, text = None, response_text(response)
    if isinstance(response, dict) and response.get("error") is not None and response.get("output") is None:
        failed, text = True, response_text(response["error"])
    return ToolResult("", text, failed, name, response, "agent" if is_function else "provider", extra, alias)


def read_media(found: Found) -> list[Part]:
    """Data or a file. Its signature, which clients may leave out when they send it again, stands before it."""
    kind = _text(found.data, "mimeType")
    family = (kind or "").partition("/")[0]
    rest = {key: value for key, value in found.rest.items() if key != SIGNATURE}
    media = Media(family if family in _MEDIA else "document", kind, {found.kind: found.data, **rest})
    signature = found.rest.get(SIGNATURE)
    return [Reasoning("", signature), media] if isinstance(signature, str) else [media]


def keep(found: Found, kind: str = "part") -> Opaque:
    """A part that is not understood."""
    return Opaque(kind, {found.kind: found.data, **found.rest} if found.kind else found.data)


def response_text(response: Json, depth: int = 0) -> str:
    """What a function's response says: its output or its only text (Pydantic AI: `return_value`), else all as JSON."""
    if isinstance(response, str):
        return response
    if response is None or response == {}:
        return ""
    if isinstance(response, dict) and depth < _TEXT_DEPTH:
        for field in ("output", "result", "return_value", "content", "text"):
            if response.get(field) is not None and (field == "output" or _only(response, field)):
                return response_text(response[field], depth + 1)
    if isinstance(response, list) and depth < _TEXT_DEPTH and all(_says_text(item) for item in response):
        return "\n".join([item["text"] for item in response])
    return json.dumps(response, ensure_ascii=True)


def _only(response: Block, field: str) -> bool:
    """Whether the response says nothing else: `name` is the function's over again."""
    return not response.keys() - {field, "name", "type", "isError"}


def _says_text(item: Json) -> bool:
    return isinstance(item, dict) and isinstance(item.get("text"), str)


def _text(block: Block, field: str) -> str | None:
    value = block.get(field)
    return value if isinstance(value, str) and value else None


def _rest(block: Block, *known: str) -> Block:
    return {key: value for key, value in block.items() if key not in known and value is not None}


def _id(name: str, given: Json) -> str:
    """The id of a call within its message: name and arguments, whatever order and number format they came in."""
    return UNNAMED + digest(name, json.dumps(_plain(given), sort_keys=True))


def _plain(value: Json) -> Json:
    """Numbers of these arguments are doubles (protobuf's Struct), so 3 and 3.0 are one."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def number_calls(parts: list[Part]) -> list[Part]:
    """The parts of one message; equal calls in it are numbered, since each of them is a call."""
    seen: dict[str, int] = {}
    numbered: list[Part] = []
    for part in parts:
        if isinstance(part, ToolUse):
            seen[part.id] = count = seen.get(part.id, 0) + 1
            numbered.append(msgspec.structs.replace(part, id=f"{part.id}_{count}") if count > 1 else part)
        else:
            numbered.append(part)
    return numbered


def read_usage(usage: Json, problems: list[Problem]) -> Usage:
    """`usageMetadata`. Its prompt includes what the cache served, and leaves out what results of the provider's own
    tools added to it; its candidates leave the thoughts out."""
    if not isinstance(usage, dict):
        if usage is not None:
            note(problems, "wrong_type", f"usageMetadata is not an object but {type(usage).__name__}")
        return Usage()
    usage = camel(usage)
    prompt, cached = (
        read_count(usage, "promptTokenCount", problems),
        read_count(usage, "cachedContentTokenCount", problems),
    )
    said, thought = (read_count(usage, f"{kind}TokenCount", problems) for kind in ("candidates", "thoughts"))
    tools = read_count(usage, "toolUsePromptTokenCount", problems)
    return Usage(
        input=None if prompt is None else max(prompt - (cached or 0), 0) + (tools or 0),
        output=None if said is None and thought is None else (said or 0) + (thought or 0),
        cache_read=cached,
        reasoning=thought,
        extra={key: value for key, value in usage.items() if key not in _COUNTED and value is not None},
    )
