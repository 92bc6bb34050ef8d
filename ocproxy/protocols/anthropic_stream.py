"""The event stream of an Anthropic Messages reply, put together as it comes.

Source: the API guide, "Streaming messages", https://platform.claude.com/docs/en/build-with-claude/streaming. Agents act
on complete blocks of streams that never ended, so every block counts from its own `content_block_stop` on.
"""

from __future__ import annotations

from typing import Literal

from ocproxy.errors import DecodeError
from ocproxy.model import Delta, Json, Part, Problem, Reply, ToolUse
from ocproxy.protocols import json_value
from ocproxy.protocols.anthropic_blocks import Block, read_part, read_usage
from ocproxy.protocols.counts import merge_usage
from ocproxy.protocols.problems import note
from ocproxy.protocols.sse import Event, EventStream

# delta type -> (its field, the field of the block that it adds to, the kind of our delta)
_TEXT_DELTAS: dict[str, tuple[str, str, Literal["text", "reasoning"]]] = {
    "text_delta": ("text", "text", "text"),
    "thinking_delta": ("thinking", "thinking", "reasoning"),
    "compaction_delta": ("content", "content", "text"),
}
# What a block must be when its deltas come without its start: the record has a hole there.
_IMPLIED = {"text_delta": "text", "thinking_delta": "thinking", "compaction_delta": "compaction"}
_MESSAGE_FIELDS = {"id", "type", "role", "model", "content", "stop_reason", "usage"}


class _Growing:
    """A content block that is being streamed."""

    __slots__ = ("arguments", "block", "pieces", "stopped")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.pieces: dict[str, list[str]] = {}  # field -> what its deltas added
        self.arguments: list[str] = []
        self.stopped = False

    def finish(self, ended: bool, problems: list[Problem]) -> Part:
        """The part as far as it came. `ended`: the whole message is known to have ended."""
        block = dict(self.block)
        for field, pieces in self.pieces.items():
            start = block.get(field)
            block[field] = (start if isinstance(start, str) else "") + "".join(pieces)
        raw = "".join(self.arguments)
        complete = self.stopped or ended
        if raw and complete:
            try:
                block["input"] = json_value.decode(raw, problems)
                raw = ""
            except DecodeError as error:
                note(problems, "bad_tool_input", f"the arguments of {block.get('name')} are not JSON: {error}")
                complete = False
        part = read_part(block, problems)
        if not isinstance(part, ToolUse) or (complete and not raw):
            return part
        return ToolUse(part.id, part.name, {}, part.executor, complete=False, raw=raw, extra=part.extra)


class StreamedReply:
    """Decodes one event stream. `feed` and `close` as in `ocproxy.protocols.base.ReplyDecoder`.

    Deltas: `start` has the type of the block and, behind a space, the name of its tool. Index -1 belongs to the whole
    message: its `stop` has the stop reason, `error` the error.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self._events = EventStream()
        self._message: Block = {}
        self._usage: Block = {}
        self._blocks: list[_Growing] = []
        self._by_index: dict[int, _Growing] = {}
        self._error: str | None = None
        self._started = self._ended = False
        self._actions = {
            "content_block_delta": self._on_delta,
            "content_block_start": self._on_block_start,
            "content_block_stop": self._on_block_stop,
            "message_start": self._on_message_start,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_message_stop,
            "error": self._on_error,
        }

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        for event in self._events.feed(data):
            value = self._value(event)
            if value is None:
                continue
            kind = value.get("type", event.name)
            action = self._actions.get(kind) if isinstance(kind, str) else None
            if action is not None:
                action(value, deltas)
            elif kind != "ping":
                note(self.problems, "unknown_event", f"events of type {kind!r} are not known; passed over")
        return deltas

    def close(self) -> Reply:
        self._note_end()
        parts = tuple([growing.finish(self._ended, self.problems) for growing in self._blocks])
        message = self._message
        return Reply(
            id=self._text("id"),
            model=self._text("model"),
            parts=parts,
            stop_reason=self._text("stop_reason"),
            usage=read_usage(self._usage, self.problems),
            error=self._error,
            complete=self._ended and self._error is None,
            extra={key: value for key, value in message.items() if key not in _MESSAGE_FIELDS and value is not None},
        )

    def _note_end(self) -> None:
        if not self._ended and self._error is None:
            inside = ", inside an event" if self._events.unfinished else ""
            note(self.problems, "truncated", f"the stream ended without message_stop{inside}")
        if not self._started and (self._blocks or self._ended):
            note(self.problems, "missing_event", "the stream has no message_start")

    def _text(self, field: str) -> str | None:
        value = self._message.get(field)
        if isinstance(value, str | None):
            return value
        note(self.problems, "wrong_type", f"{field} of the message is not text")
        return None

    def _value(self, event: Event) -> Block | None:
        if event.data == b"[DONE]":  # the end mark of another protocol, which some gateways add
            return None
        try:
            value = json_value.decode(event.data, self.problems)
        except DecodeError as error:
            if event.name == "error":
                return {"type": "error", "error": event.text}
            if event.name != "ping":
                note(self.problems, "bad_json", f"the data of an event {event.name!r} is not JSON: {error}")
            return None
        if isinstance(value, dict):
            return value
        note(self.problems, "wrong_type", f"the data of an event {event.name!r} is not an object")
        return None

    def _index(self, value: Block) -> int:
        index = value.get("index")
        if type(index) is int:
            return index
        note(self.problems, "wrong_type", "an event has no index of its block")
        return -1

    def _on_message_start(self, value: Block, _: list[Delta]) -> None:
        message = value.get("message")
        if not isinstance(message, dict):
            note(self.problems, "wrong_type", "message_start holds no message")
            return
        if self._started:
            note(self.problems, "second_message", "the stream has a second message_start; its blocks are added")
        self._started = True
        self._message.update(message)
        self._take_usage(message)
        content = message.get("content")
        if isinstance(content, list):
            for block in content:  # empty in the reference; a gateway may put what it has here
                growing = _Growing(dict(block) if isinstance(block, dict) else {"type": "text", "text": str(block)})
                growing.stopped = True
                self._blocks.append(growing)

    def _on_block_start(self, value: Block, deltas: list[Delta]) -> None:
        index, block = self._index(value), value.get("content_block")
        if not isinstance(block, dict):
            note(self.problems, "wrong_type", "content_block_start holds no block")
            return
        self._open(index, block)
        kind, name = block.get("type"), block.get("name")
        deltas.append(Delta("start", index, f"{kind} {name}" if isinstance(name, str) else str(kind)))
        for kind, (_, field, delta) in _TEXT_DELTAS.items():
            text = block.get(field)
            if text and isinstance(text, str) and block.get("type") == _IMPLIED[kind]:
                deltas.append(Delta(delta, index, text))

    def _open(self, index: int, block: Block) -> _Growing:
        if index in self._by_index and not self._by_index[index].stopped:
            note(self.problems, "missing_event", "a block began before the one with its index had stopped")
        growing = self._by_index[index] = _Growing(block)
        self._blocks.append(growing)
        return growing

    def _on_delta(self, value: Block, deltas: list[Delta]) -> None:
        index, delta = value.get("index"), value.get("delta")
        if type(index) is not int:
            index = self._index(value)
        kind = delta.get("type") if isinstance(delta, dict) else None
        if not isinstance(delta, dict) or not isinstance(kind, str):
            note(self.problems, "wrong_type", "content_block_delta holds no delta")
            return
        growing = self._by_index.get(index)
        if growing is None:
            note(self.problems, "missing_event", f"a {kind} came for a block that never began")
            if kind not in _IMPLIED:
                return
            growing = self._open(index, {"type": _IMPLIED[kind]})
        if kind in _TEXT_DELTAS:
            source, field, name = _TEXT_DELTAS[kind]
            text = delta.get(source)
            if isinstance(text, str):
                growing.pieces.setdefault(field, []).append(text)
                deltas.append(Delta(name, index, text))
            elif text is not None:
                note(self.problems, "wrong_type", f"{source} of a {kind} is not text")
            if kind == "compaction_delta" and delta.get("encrypted_content") is not None:
                growing.block["encrypted_content"] = delta["encrypted_content"]
        elif kind == "input_json_delta":
            self._add_arguments(growing, delta.get("partial_json"), index, deltas)
        else:
            self._add_other(growing, kind, delta)

    def _add_arguments(self, growing: _Growing, text: Json, index: int, deltas: list[Delta]) -> None:
        if not isinstance(text, str):
            note(self.problems, "wrong_type", "partial_json of an input_json_delta is not text")
        elif text:
            growing.arguments.append(text)
            deltas.append(Delta("tool_input", index, text))

    def _add_other(self, growing: _Growing, kind: str, delta: Block) -> None:
        if kind == "signature_delta":
            growing.block["signature"] = delta.get("signature")
        elif kind == "citations_delta":
            if not isinstance(growing.block.get("citations"), list):
                growing.block["citations"] = []
            growing.block["citations"].append(delta.get("citation"))
        else:
            note(self.problems, "unknown_delta", f"deltas of type {kind!r} are not known; passed over")

    def _on_block_stop(self, value: Block, deltas: list[Delta]) -> None:
        index = self._index(value)
        growing = self._by_index.get(index)
        if growing is None:
            note(self.problems, "missing_event", "content_block_stop came for a block that never began")
            return
        growing.stopped = True
        deltas.append(Delta("stop", index))

    def _on_message_delta(self, value: Block, _: list[Delta]) -> None:
        delta = value.get("delta")
        fields = {key: field for key, field in value.items() if key not in ("type", "delta", "usage")}
        for source in (fields, delta if isinstance(delta, dict) else {}):
            self._message.update({key: field for key, field in source.items() if field is not None})
        if not isinstance(delta, dict | None):
            note(self.problems, "wrong_type", "message_delta holds no delta")
        self._take_usage(value)

    def _take_usage(self, holder: Block) -> None:
        usage = holder.get("usage")
        if isinstance(usage, dict):
            self._usage = merge_usage(self._usage, usage)
        elif usage is not None:
            note(self.problems, "wrong_type", "usage is not an object")

    def _on_message_stop(self, value: Block, deltas: list[Delta]) -> None:
        self._ended = True
        reason = self._message.get("stop_reason")
        deltas.append(Delta("stop", -1, reason if isinstance(reason, str) else ""))

    def _on_error(self, value: Block, deltas: list[Delta]) -> None:
        self._error = error_text(value)
        deltas.append(Delta("error", -1, self._error))


def error_text(value: Json) -> str:
    """The error of an error body or event: "overloaded_error: Overloaded". Gateways vary the shape: an object or text
    under `error`, or `message` at the top."""
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return str(error)[:1000]
    words = [error.get("type") or error.get("code"), error.get("message")]
    text = ": ".join([str(word) for word in words if word is not None and word != "error"])
    return (text or "unknown error")[:1000]
