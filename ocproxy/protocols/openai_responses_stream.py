"""The event stream of an OpenAI Responses reply, put together as it comes; a WebSocket sends the same events.

Source: the API reference, "Streaming events", https://platform.openai.com/docs/api-reference/responses-streaming.
Agents act on finished items of streams that never ended, so every item counts from its own `response.output_item.done`
on; of the others stays what came.
"""

from __future__ import annotations

from typing import Any, Literal

from ocproxy.errors import DecodeError
from ocproxy.model import Delta, Part, Problem, Reply, ToolUse
from ocproxy.protocols import json_value
from ocproxy.protocols.openai_responses_items import read_parts
from ocproxy.protocols.openai_responses_parts import Item
from ocproxy.protocols.openai_responses_reply import error_text, read_response
from ocproxy.protocols.problems import note
from ocproxy.protocols.sse import Event, EventStream

Kind = Literal["text", "reasoning", "tool_input"]

# What grows: event without ".delta" or ".done" -> (kind of our delta, the field of `.done` that has it all, and where
# in the item it belongs: a part of this type in this list, or a field).
_GROWING: dict[str, tuple[Kind, str, str, str]] = {
    "response.output_text": ("text", "text", "content", "output_text"),
    "response.refusal": ("text", "refusal", "content", "refusal"),
    "response.reasoning_summary_text": ("reasoning", "text", "summary", "summary_text"),
    "response.reasoning_text": ("reasoning", "text", "content", "reasoning_text"),
    "response.function_call_arguments": ("tool_input", "arguments", "arguments", ""),
    "response.mcp_call_arguments": ("tool_input", "arguments", "arguments", ""),
    "response.custom_tool_call_input": ("tool_input", "input", "input", ""),
    "response.code_interpreter_call_code": ("tool_input", "code", "code", ""),
    "response.shell_call_command": ("tool_input", "command", "commands", ""),
}
# Events that carry the response as it stands.
_STATES = {"response.created", "response.queued", "response.in_progress"}
_ENDS = {"response.completed", "response.incomplete", "response.failed"}
# Known, and nothing in them that their item does not have in the end.
_PASSED_OVER = (
    "response.content_part.", "response.reasoning_summary_part.", "response.output_text.annotation.",
    "response.web_search_call.", "response.file_search_call.", "response.code_interpreter_call.",
    "response.image_generation_call.", "response.mcp_call.", "response.mcp_list_tools.", "response.compaction.",
    "response.shell_call_command.", "response.shell_call_output_content.", "response.audio.",
    "response.steer.", "keepalive", "ping", "codex.",
)  # fmt: skip
# Types of items whose call is the agent's to run, and the field of their name.
_NAMED = {"function_call": "name", "custom_tool_call": "name", "mcp_call": "name"}


class _Growing:
    """An output item that is being streamed. `done` once its final form came."""

    __slots__ = ("done", "item", "pieces", "whole")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.done = False
        self.pieces: dict[tuple[str, int], list[str]] = {}  # (what grows, which of them) -> pieces
        self.whole: set[str] = set()  # what has grown to its end

    def finish(self, problems: list[Problem]) -> tuple[Part, ...]:
        """Its parts as far as they came."""
        if self.done:
            return read_parts(self.item, problems)
        item = dict(self.item)
        cut = False
        for (name, _), pieces in sorted(self.pieces.items(), key=lambda entry: entry[0][1]):
            kind, key, field, part = _GROWING[name]
            text = "".join(pieces)
            if part:
                old = item.get(field)
                item[field] = [*(old if isinstance(old, list) else []), {"type": part, key: text}]
            elif field == "commands":
                item["action"] = None
                item["arguments"] = item.get("arguments", "") + text
            else:
                item[field] = text
            cut = cut or (kind == "tool_input" and name not in self.whole)
        if not self.pieces:
            return read_parts({**item, "status": "incomplete"}, problems) if item else ()
        if item.get("type") == "shell_call":
            item = {**item, "type": "function_call", "name": "shell", "status": "incomplete"}
        status = {"status": "incomplete"} if cut else {}
        parts = read_parts({**item, **status}, problems)
        return tuple([_cut(part, item) if cut else part for part in parts])


def _cut(part: Part, item: Item) -> Part:
    """A call whose arguments stopped in the middle, even where they happen to be JSON."""
    if not isinstance(part, ToolUse) or not part.complete:
        return part
    raw = item.get("arguments", item.get("input", item.get("code")))
    raw = raw if isinstance(raw, str) else None
    return ToolUse(part.id, part.name, {}, part.executor, complete=False, raw=raw, extra=part.extra)


class StreamedReply:
    """Decodes one event stream. `feed` and `close` as in `ocproxy.protocols.base.ReplyDecoder`.

    Deltas: `start` has the type of the item and, behind a space, the name of its tool. Index -1 belongs to the whole
    response: its `stop` has the stop reason, `error` the error.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self._events = EventStream()
        self._response: Item = {}
        self._items: dict[int, _Growing] = {}
        self._error: str | None = None
        self._ended = False

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        for event in self._events.feed(data):
            if event.data != b"[DONE]" and (value := self._value(event)) is not None:  # [DONE]: gateways add it
                self._take(value, event.name, deltas)
        return deltas

    def close(self) -> Reply:
        if not self._ended and self._error is None:
            inside = ", inside an event" if self._events.unfinished else ""
            note(self.problems, "truncated", f"the stream ended without response.completed{inside}")
        self._add_missing()
        reply = read_response({**self._response, "output": []}, self.problems)
        parts = [part for _, item in sorted(self._items.items()) for part in item.finish(self.problems)]
        return Reply(
            id=reply.id,
            model=reply.model,
            parts=tuple(parts),
            stop_reason=reply.stop_reason if self._ended else None,
            usage=reply.usage,
            error=self._error or reply.error,
            complete=self._ended,
            extra=reply.extra,
        )

    def _add_missing(self) -> None:
        """Items that only the last event has: some gateways stream nothing else."""
        output = self._response.get("output")
        for index, item in enumerate(output if isinstance(output, list) else []):
            growing = self._items.get(index)
            if isinstance(item, dict) and (growing is None or not growing.done) and self._ended:
                self._items[index] = growing = _Growing(item)
                growing.done = True

    def _value(self, event: Event) -> Item | None:
        try:
            value = json_value.decode(event.data, self.problems)
        except DecodeError as error:
            if event.name == "error":
                return {"type": "error", "message": event.text}
            note(self.problems, "bad_json", f"the data of an event {event.name!r} is not JSON: {error}")
            return None
        if isinstance(value, dict):
            return value
        note(self.problems, "wrong_type", f"the data of an event {event.name!r} is not an object")
        return None

    def _take(self, value: Item, name: str, deltas: list[Delta]) -> None:
        kind = value.get("type", name)
        if not isinstance(kind, str):
            note(self.problems, "wrong_type", "the type of an event is not text")
            return
        base, _, step = kind.rpartition(".")
        if base in _GROWING and step in ("delta", "done"):
            self._grow(base, step, value, deltas)
        elif kind == "response.output_item.added":
            self._on_added(value, deltas)
        elif kind == "response.output_item.done":
            self._on_done(value, deltas)
        elif kind in _STATES or kind in _ENDS:
            self._on_state(kind, value, deltas)
        elif kind == "error" or (kind == "message" and "error" in value):  # gateways leave the type out
            self._error = error_text(value)
            deltas.append(Delta("error", -1, self._error))
        elif not kind.startswith(_PASSED_OVER):
            note(self.problems, "unknown_event", f"events of type {kind!r} are not known; passed over")

    def _grow(self, name: str, step: str, value: Item, deltas: list[Delta]) -> None:
        kind, key, _, part = _GROWING[name]
        index = self._index(value)
        text = value.get("delta" if step == "delta" else key)
        if not isinstance(text, str):
            note(self.problems, "wrong_type", f"{name}.{step} has no text")
            return
        growing = self._items.get(index)
        if growing is None:
            note(self.problems, "missing_event", f"{name}.{step} came for an item that never began")
            growing = self._items[index] = _Growing(_implied(name, part, value))
        if growing.done:
            note(self.problems, "late_event", f"{name}.{step} came after the end of its item")
            return
        number = next((value[n] for n in _NUMBERS if type(value.get(n)) is int), 0)
        pieces = growing.pieces.setdefault((name, number), [])
        if step == "done":
            growing.whole.add(name)
            before = "".join(pieces)
            pieces[:] = [text]
            text = text.removeprefix(before) if text != before else ""
        elif text:
            pieces.append(text)
        if text:
            deltas.append(Delta(kind, index, text))

    def _on_added(self, value: Item, deltas: list[Delta]) -> None:
        index, item = self._index(value), value.get("item")
        if not isinstance(item, dict):
            note(self.problems, "wrong_type", "response.output_item.added holds no item")
            return
        if index in self._items:
            note(self.problems, "second_item", "two items begin at the same place; the later one counts")
        self._items[index] = _Growing(item)
        deltas.append(Delta("start", index, _title(item)))

    def _on_done(self, value: Item, deltas: list[Delta]) -> None:
        index, item = self._index(value), value.get("item")
        if not isinstance(item, dict):
            note(self.problems, "wrong_type", "response.output_item.done holds no item")
            return
        growing = self._items.get(index)
        if growing is None:
            growing = self._items[index] = _Growing(item)
            deltas.append(Delta("start", index, _title(item)))
        growing.item, growing.done = item, True
        deltas.append(Delta("stop", index))

    def _on_state(self, kind: str, value: Item, deltas: list[Delta]) -> None:
        response = value.get("response")
        if not isinstance(response, dict):
            note(self.problems, "wrong_type", f"{kind} holds no response")
            response = {}
        self._response.update({key: field for key, field in response.items() if field is not None})
        if kind not in _ENDS:
            return
        self._ended = True
        if kind == "response.failed":
            self._error = error_text(response)
            deltas.append(Delta("error", -1, self._error))
        reason = read_response({**self._response, "output": []}, []).stop_reason
        deltas.append(Delta("stop", -1, reason or kind.removeprefix("response.")))

    def _index(self, value: Item) -> int:
        index = value.get("output_index")
        if type(index) is int:
            return index
        item: Any = value.get("item")
        id = value.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
        for known, growing in self._items.items():
            if id is not None and growing.item.get("id") == id:
                return known
        note(self.problems, "wrong_type", "an event has no output_index")
        return max(self._items, default=-1) + (1 if isinstance(item, dict) else 0)


# Which of several texts of an item an event is about.
_NUMBERS = ("content_index", "summary_index", "command_index")


def _title(item: Item) -> str:
    kind = item.get("type")
    name = item.get(_NAMED[kind]) if isinstance(kind, str) and kind in _NAMED else None
    return f"{kind} {name}" if name is not None else str(kind)


def _implied(name: str, part: str, value: Item) -> Item:
    """What an item must be when its deltas come without its start: the record has a hole there."""
    id = value.get("item_id")
    if part in ("output_text", "refusal"):
        return {"type": "message", "role": "assistant", "id": id}
    if part:
        return {"type": "reasoning", "id": id}
    kind = "custom_tool_call" if "custom" in name else "function_call"
    return {"type": kind, "id": id, "name": ""}
