"""Reasoning, calls and results among the items of the OpenAI Responses API.

Source: the API reference, https://platform.openai.com/docs/api-reference/responses. Calls are run by the agent
(functions, custom tools, shells, patches) or by the provider itself (searches, code interpreter, MCP); the provider's
own carry their result in the same item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ocproxy.errors import DecodeError
from ocproxy.model import Json, Media, Part, Problem, Reasoning, ToolResult, ToolUse
from ocproxy.protocols import json_value
from ocproxy.protocols.openai_responses_parts import Item, kind_of, plain_text, rest
from ocproxy.protocols.problems import note

Executor = Literal["agent", "provider"]

# Calls whose input is an object of the item: type -> (name of the tool, field of the input).
_OBJECT_CALLS = {
    "local_shell_call": ("local_shell", "action"),
    "shell_call": ("shell", "action"),
    "apply_patch_call": ("apply_patch", "operation"),
    "computer_call": ("computer", "action"),
    "web_search_call": ("web_search", "action"),
}
# Calls of the provider whose input is some fields of the item: type -> (name of the tool, fields of the input).
_FIELD_CALLS = {
    "file_search_call": ("file_search", ("queries",)),
    "code_interpreter_call": ("code_interpreter", ("code", "container_id")),
    "image_generation_call": ("image_generation", ("revised_prompt", "action", "size", "quality", "background")),
    "program": ("program", ("code",)),
}
# Where a result of the provider is in the item of its call.
_OWN_RESULTS = {"file_search_call": "results", "code_interpreter_call": "outputs", "mcp_call": "output"}
# Results that are items of their own, and the field they are in.
RESULTS = {
    "function_call_output": "output",
    "custom_tool_call_output": "output",
    "local_shell_call_output": "output",
    "shell_call_output": "output",
    "apply_patch_call_output": "output",
    "computer_call_output": "output",
    "tool_search_output": "tools",
    "program_output": "result",
}


def read_call(kind: str, item: Item, problems: list[Problem]) -> tuple[Part, ...] | None:
    """The parts of a call or of reasoning; None where the item has not the shape that its type asks for."""
    return CALLS[kind](item, problems)


def read_result(kind: str, item: Item, _: list[Problem]) -> tuple[ToolResult, ...] | None:
    """The result of a call; None where it does not say of which."""
    call_id = item.get("call_id") or item.get("id")
    if not isinstance(call_id, str):
        return None
    field = RESULTS[kind]
    content = item.get(field)
    is_error, text = None, plain_text(content)
    if kind == "apply_patch_call_output":
        is_error = {"failed": True, "completed": False}.get(str(item.get("status")))
    elif kind == "shell_call_output":
        is_error, text = _read_shell_output(content)
    executor: Executor = "provider" if kind == "program_output" or item.get("execution") == "server" else "agent"
    extra = rest(item, "type", "call_id", field)
    return (ToolResult(call_id, text, is_error, None, content, executor, extra),)


def _read_shell_output(content: Json) -> tuple[bool | None, str]:
    """Of the commands of one shell call: whether one failed (None: not said), and all that they printed."""
    runs = [run for run in content if isinstance(run, dict)] if isinstance(content, list) else []
    if not runs:
        return None, plain_text(content)
    texts, ends = [], []
    for run in runs:
        texts += [run[stream] for stream in ("stdout", "stderr") if isinstance(run.get(stream), str) and run[stream]]
        outcome = run.get("outcome")
        outcome = outcome if isinstance(outcome, dict) else {}
        code = outcome.get("exit_code")
        ends.append(True if outcome.get("type") == "timeout" else None if type(code) is not int else code != 0)
    failed = True if True in ends else None if None in ends else False
    return failed, "\n".join(texts)


def _read_reasoning(item: Item, _: list[Problem]) -> tuple[Part, ...] | None:
    """Text is there as a summary, or (open models) as it was thought; the rest is sealed for the provider alone."""
    sealed = item.get("encrypted_content")
    if not isinstance(sealed, str | None):
        return None
    text = plain_text(item.get("summary")) or plain_text(item.get("content"))
    extra = rest(item, "type", "encrypted_content", "summary", "content")
    if text or not sealed:
        return (Reasoning(text, sealed or None, None, extra),)
    return (Reasoning("", None, sealed, extra),)


def _read_function_call(item: Item, problems: list[Problem]) -> tuple[Part, ...] | None:
    call_id, name = item.get("call_id") or item.get("id"), item.get("name")
    if not isinstance(call_id, str) or not isinstance(name, str):
        return None
    return (_use(call_id, name, item, "agent", problems),)


def _use(call_id: str, name: str, item: Item, executor: Executor, problems: list[Problem]) -> ToolUse:
    """A call whose `arguments` are JSON text (an object, in some types)."""
    arguments, extra = item.get("arguments"), rest(item, "type", "call_id", "name", "arguments", "output", "error")
    if isinstance(arguments, dict):
        return ToolUse(call_id, name, arguments, executor, extra=extra)
    raw = arguments if isinstance(arguments, str) else ""
    value: Json = None
    if not raw and item.get("status") != "incomplete":
        return ToolUse(call_id, name, {}, executor, extra=extra)
    try:
        value = json_value.decode(raw, problems)
    except DecodeError as error:
        if item.get("status") != "incomplete":
            note(problems, "bad_tool_input", f"the arguments of {name} are not JSON: {error}")
        return ToolUse(call_id, name, {}, executor, complete=False, raw=raw, extra=extra)
    if isinstance(value, dict):
        return ToolUse(call_id, name, value, executor, extra=extra)
    note(problems, "bad_tool_input", f"the arguments of {name} are not an object but {kind_of(value)}")
    return ToolUse(call_id, name, {}, executor, complete=False, raw=raw, extra=extra)


def _read_custom_call(item: Item, _: list[Problem]) -> tuple[Part, ...] | None:
    call_id, name, text = item.get("call_id") or item.get("id"), item.get("name"), item.get("input")
    if not isinstance(call_id, str) or not isinstance(name, str) or not isinstance(text, str):
        return None
    extra = rest(item, "type", "call_id", "name", "input")
    if item.get("status") == "incomplete":
        return (ToolUse(call_id, name, {}, complete=False, raw=text, extra=extra),)
    return (ToolUse(call_id, name, {"input": text}, extra=extra),)


def _read_tool_search(item: Item, problems: list[Problem]) -> tuple[Part, ...] | None:
    call_id = item.get("call_id") or item.get("id")
    if not isinstance(call_id, str):
        return None
    executor: Executor = "agent" if item.get("execution") == "client" else "provider"
    return (_use(call_id, "tool_search", item, executor, problems),)


def _read_mcp_call(item: Item, problems: list[Problem]) -> tuple[Part, ...] | None:
    call_id, name, error = item.get("id"), item.get("name"), item.get("error")
    if not isinstance(call_id, str) or not isinstance(name, str):
        return None
    use = _use(call_id, name, item, "provider", problems)
    output = item.get("output")
    if output is None and error is None:
        return (use,)
    text = plain_text(output) or (error if isinstance(error, str) else "")
    return use, ToolResult(call_id, text, error is not None, name, output if error is None else error, "provider")


def _object_call(kind: str) -> Callable[[Item, list[Problem]], tuple[Part, ...] | None]:
    name, field = _OBJECT_CALLS[kind]

    def read(item: Item, _: list[Problem]) -> tuple[Part, ...] | None:
        call_id, given = item.get("call_id") or item.get("id"), item.get(field)
        if kind == "computer_call" and given is None and isinstance(item.get("actions"), list):
            given = {"actions": item["actions"]}
        if kind == "web_search_call" and given is None:
            given = {}  # still searching
        if not isinstance(call_id, str) or not isinstance(given, dict):
            return None
        place = item.get("environment")
        hosted = isinstance(place, dict) and str(place.get("type")).startswith("container")
        executor: Executor = "provider" if hosted or kind == "web_search_call" else "agent"
        return (ToolUse(call_id, name, given, executor, extra=rest(item, "type", "call_id", field)),)

    return read


def _field_call(kind: str) -> Callable[[Item, list[Problem]], tuple[Part, ...] | None]:
    name, fields = _FIELD_CALLS[kind]

    def read(item: Item, _: list[Problem]) -> tuple[Part, ...] | None:
        call_id = item.get("call_id") or item.get("id")
        if not isinstance(call_id, str):
            return None
        given = {field: item[field] for field in fields if item.get(field) is not None}
        extra = rest(item, "type", "call_id", "result", *fields, _OWN_RESULTS.get(kind, "result"))
        parts: list[Part] = [ToolUse(call_id, name, given, "provider", extra=extra)]
        result = item.get(_OWN_RESULTS[kind]) if kind in _OWN_RESULTS else None
        if result:
            text = _printed(result)
            parts.append(ToolResult(call_id, text, None, name, result, "provider"))
        if kind == "image_generation_call" and isinstance(item.get("result"), str):
            form = item.get("output_format")
            parts.append(Media("image", f"image/{form}" if isinstance(form, str) else None, {"result": item["result"]}))
        return tuple(parts)

    return read


def _printed(result: Json) -> str:
    """Text of the results of a search or of a run: what was found or logged."""
    items = [item for item in result if isinstance(item, dict)] if isinstance(result, list) else []
    texts = [item.get("text") or item.get("logs") for item in items]
    return "\n".join([text for text in texts if isinstance(text, str)])


CALLS: dict[str, Callable[[Item, list[Problem]], tuple[Part, ...] | None]] = {
    "reasoning": _read_reasoning,
    "function_call": _read_function_call,
    "custom_tool_call": _read_custom_call,
    "tool_search_call": _read_tool_search,
    "mcp_call": _read_mcp_call,
    **{kind: _object_call(kind) for kind in _OBJECT_CALLS},
    **{kind: _field_call(kind) for kind in _FIELD_CALLS},
}
