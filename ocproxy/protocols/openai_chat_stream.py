"""The event stream of an OpenAI Chat Completions reply, put together as it comes.

Source: the API reference, "The chat completion chunk object",
https://platform.openai.com/docs/api-reference/chat/streaming. A message has ended with the `finish_reason` of its
choice; the stream ends with `[DONE]`, which some servers leave out and behind which clients hang up.
"""

from __future__ import annotations

from typing import Literal

from ocproxy.errors import DecodeError
from ocproxy.model import Delta, Json, Problem, Reply
from ocproxy.protocols import json_value
from ocproxy.protocols.counts import merge_usage
from ocproxy.protocols.openai_chat_calls import GrowingCall, GrowingCalls
from ocproxy.protocols.openai_chat_parts import REASONING_FIELDS, read_assistant
from ocproxy.protocols.openai_chat_usage import error_text, read_usage
from ocproxy.protocols.problems import note
from ocproxy.protocols.sse import Event, EventStream

Fields = dict[str, Json]
TextKind = Literal["text", "reasoning"]

_DONE = b"[DONE]"
# How much of the end of a stream is kept for an error that is no event.
_TAIL = 16_384
# Text fields of a delta -> (type of the block, kind of our delta).
_TEXTS: dict[str, tuple[str, TextKind]] = {
    "content": ("text", "text"),
    "refusal": ("refusal", "text"),
    **dict.fromkeys(REASONING_FIELDS, ("reasoning", "reasoning")),
}
_CHUNK_FIELDS = {"choices", "usage", "id", "model", "object", "error", "obfuscation"}
_CHOICE_FIELDS = {"index", "delta", "message", "text", "finish_reason"}


class _Choice:
    """One answer of those asked for, as far as it came."""

    def __init__(self, index: int, problems: list[Problem]) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.extra: Fields = {}
        self._problems = problems
        self._texts: dict[str, list[str]] = {}
        self._content: list[Json] = []  # parts of content that are no text
        self._details: list[Fields] = []
        self._lists: dict[str, list[Json]] = {}
        self._audio: Fields | None = None
        self._calls = GrowingCalls()
        self._function = GrowingCalls()
        self._rest: Fields = {}
        self._blocks: dict[object, int] = {}
        self._reasoning: str | None = None  # the field that reasoning came in first: some servers fill two alike

    def message(self) -> Fields:
        """The message in the shape that a reply has which is not streamed."""
        message = {**self._rest, **self._lists}
        message |= {field: "".join(pieces) for field, pieces in self._texts.items()}
        if self._content:
            text = message.get("content")
            message["content"] = [*self._content, *([{"type": "text", "text": text}] if text else [])]
        if self._details:
            message["reasoning_details"] = self._details
        if self._audio is not None:
            message["audio"] = self._audio
        if self._calls.calls:
            message["tool_calls"] = [call.finish() for call in self._calls.calls]
        if self._function.calls:
            call = self._function.calls[0]
            message["function_call"] = {**call.fields, "name": call.name or None, "arguments": call.arguments}
        return message

    def take(self, choice: Fields, deltas: list[Delta]) -> None:
        delta = choice.get("delta")
        if delta is None:  # a whole message in an event; text completions have their text here
            delta = choice.get("message") if not self._blocks else None
            delta = {"content": choice["text"]} if "text" in choice else delta
        if isinstance(delta, dict):
            self._take_delta(delta, deltas)
        elif delta is not None:
            note(self._problems, "wrong_type", "a choice holds no delta")
        for key, value in choice.items():
            if key not in _CHOICE_FIELDS and value is not None:
                self.extra[key] = _joined(self.extra.get(key), value)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            if self.finish_reason is None:
                deltas += [Delta("stop", index) for index in self._blocks.values()]
                deltas.append(Delta("stop", -1, reason))
            self.finish_reason = reason
        elif reason is not None and reason != "":
            note(self._problems, "wrong_type", "finish_reason is not text")

    def _take_delta(self, delta: Fields, deltas: list[Delta]) -> None:
        for field, value in delta.items():
            if value is None or field == "role":
                continue
            if field in _TEXTS:
                self._add_text(field, value, deltas)
            elif field == "tool_calls":
                for piece in value if isinstance(value, list) else [value]:
                    self._add_call(self._calls, piece, deltas)
            elif field == "function_call":
                self._add_call(self._function, {"function": value, "index": 0}, deltas)
            elif field == "reasoning_details" and isinstance(value, list):
                self._add_details(value)
            elif field == "audio" and isinstance(value, dict):
                self._add_audio(value)
            elif isinstance(value, list):
                self._lists.setdefault(field, []).extend(value)
            else:
                self._rest[field] = value

    def _add_text(self, field: str, value: Json, deltas: list[Delta]) -> None:
        if isinstance(value, list) and field == "content":
            for part in value:
                self._add_part(part, deltas)
        elif not isinstance(value, str):
            note(self._problems, "wrong_type", f"{field} of a delta is not text")
            self._content.append({"type": field, field: value})
        elif value:
            self._texts.setdefault(field, []).append(value)
            block, kind = _TEXTS[field]
            if kind == "reasoning":
                self._reasoning = self._reasoning or field
                if field != self._reasoning:
                    return
            deltas.append(Delta(kind, self._open(block, block, deltas), value))

    def _add_part(self, part: Json, deltas: list[Delta]) -> None:
        """Content as a list of parts: Mistral's, whose thinking comes so."""
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            self._add_text("content", part, deltas)
        elif kind == "text" and isinstance(part.get("text"), str):
            self._add_text("content", part["text"], deltas)
        elif kind == "thinking" and isinstance(part.get("thinking"), list):
            for item in part["thinking"]:
                text = item.get("text") if isinstance(item, dict) else None
                if isinstance(text, str):
                    self._add_text("reasoning", text, deltas)
        else:
            self._content.append(part)

    def _add_call(self, calls: GrowingCalls, piece: Json, deltas: list[Delta]) -> None:
        found = calls.add(piece, self._problems)
        if found is None:
            return
        call: GrowingCall = found[0]
        index = self._open(call, f"tool_use {call.name}".rstrip(), deltas)
        if found[1]:
            deltas.append(Delta("tool_input", index, found[1]))

    def _add_details(self, details: list[Json]) -> None:
        """Pieces of one detail have its type and its index; text and data go on where the last piece ended."""
        for detail in details:
            if not isinstance(detail, dict):
                note(self._problems, "wrong_type", "a reasoning detail is not an object")
                continue
            last = self._details[-1] if self._details else {}
            same = all(detail.get(key) in (None, last.get(key)) for key in ("type", "index"))
            if not last or not same or detail.get("id") not in (None, last.get("id")):
                self._details.append(dict(detail))
                continue
            for key, value in detail.items():
                known = last.get(key)
                if key in ("text", "summary", "data") and isinstance(known, str) and isinstance(value, str):
                    last[key] = known + value
                elif value is not None:
                    last[key] = value

    def _add_audio(self, audio: Fields) -> None:
        self._audio = self._audio or {}
        for key, value in audio.items():
            known = self._audio.get(key)
            if key in ("data", "transcript") and isinstance(known, str) and isinstance(value, str):
                self._audio[key] = known + value
            elif value is not None:
                self._audio[key] = value

    def _open(self, block: object, name: str, deltas: list[Delta]) -> int:
        if block not in self._blocks:
            self._blocks[block] = len(self._blocks)
            deltas.append(Delta("start", self._blocks[block], name))
        return self._blocks[block]


class StreamedReply:
    """Decodes one event stream. `feed` and `close` as in `ocproxy.protocols.base.ReplyDecoder`.

    Deltas are those of the first choice: `start` has the type of the block and, behind a space, the name of its tool.
    Index -1 belongs to the whole message: its `stop` has the finish reason, `error` the error.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self._events = EventStream()
        self._chunk: Fields = {}  # what chunks say of the whole reply
        self._usage: Fields = {}
        self._choices: dict[int, _Choice] = {}
        self._error: str | None = None
        self._done = False
        self._tail = b""

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        self._tail = (self._tail + data)[-_TAIL:] if len(data) < _TAIL else data[-_TAIL:]
        for event in self._events.feed(data):
            self._take(event, deltas)
        return deltas

    def close(self) -> Reply:
        if not self._done and self._events.rest.strip().removeprefix(b"data:").strip() == _DONE:
            self._done = True  # clients hang up before the empty line behind it
        choices = [self._choices[index] for index in sorted(self._choices)]
        first = choices[0] if choices else _Choice(0, self.problems)
        ended = self._done or first.finish_reason is not None
        if not ended and self._error is None:
            self._find_bare_error()
        self._note_end(first, ended)
        parts, rest = read_assistant(first.message(), self.problems, ended=ended)
        extra = self._chunk | first.extra | rest
        if len(choices) > 1:
            extra["choices"] = [
                {**c.extra, "index": c.index, "message": c.message(), "finish_reason": c.finish_reason}
                for c in choices[1:]
            ]
        return Reply(
            id=self._text("id"),
            model=self._text("model"),
            parts=tuple(parts),
            stop_reason=first.finish_reason,
            usage=read_usage(self._usage or None, self.problems),
            error=self._error,
            complete=ended and self._error is None,
            extra={key: value for key, value in extra.items() if key not in ("id", "model")},
        )

    def _find_bare_error(self) -> None:
        """An error that a server wrote into its stream as it would have written it as a body: JSON on lines of its own,
        behind a field name that is none (llama.cpp) or behind nothing."""
        tail = b"\n" + self._tail
        at = max(tail.rfind(b"\n{"), tail.rfind(b"\nerror:"))
        if at < 0:
            return
        try:
            value = json_value.decode(tail[at + 1 :].removeprefix(b"error:"), self.problems)
        except DecodeError:
            return
        if isinstance(value, dict) and (value.get("error") or value.get("message")):
            self._error = error_text(value)

    def _note_end(self, first: _Choice, ended: bool) -> None:
        if self._error is not None:
            return
        if not ended:
            inside = ", inside an event" if self._events.unfinished else ""
            note(self.problems, "truncated", f"the stream ended without a finish_reason{inside}")
        elif not self._done:
            note(self.problems, "missing_event", "the stream ended without [DONE]")
        elif first.finish_reason is None:
            note(self.problems, "missing_event", "the stream has no finish_reason")

    def _text(self, field: str) -> str | None:
        value = self._chunk.get(field)
        return value if isinstance(value, str) else None

    def _take(self, event: Event, deltas: list[Delta]) -> None:
        if event.data.strip() == _DONE:
            self._done = True
            return
        try:
            value = json_value.decode(event.data, self.problems)
        except DecodeError as error:
            if event.name == "error":
                self._fail(event.text, deltas)
            else:
                note(self.problems, "bad_json", f"the data of an event is not JSON: {error}")
            return
        if not isinstance(value, dict):
            note(self.problems, "wrong_type", "the data of an event is not an object")
            return
        is_error = event.name == "error" or value.get("object") == "error" or value.get("error")
        if is_error:
            self._fail(value, deltas)
        self._take_chunk(value, deltas)
        if not (is_error or "choices" in value or "usage" in value):
            kind = str(value.get("type") or value.get("object") or event.name)
            note(self.problems, "unknown_event", f"events of type {kind!r} are not known; passed over")

    def _fail(self, value: Json, deltas: list[Delta]) -> None:
        self._error = error_text(value)
        deltas.append(Delta("error", -1, self._error))

    def _take_chunk(self, value: Fields, deltas: list[Delta]) -> None:
        choices = value.get("choices")
        if isinstance(choices, list):
            for at, choice in enumerate(choices):
                self._take_choice(at, choice, deltas)
        elif choices is not None:
            note(self.problems, "wrong_type", "choices of a chunk is not a list")
        usage, groq = value.get("usage"), value.get("x_groq")
        if usage is None and isinstance(groq, dict):  # Groq, before it had usage in its chunks
            usage = groq.get("usage")
        if isinstance(usage, dict):
            self._usage = merge_usage(self._usage, usage)
        elif usage is not None:
            note(self.problems, "wrong_type", "usage is not an object")
        for field in ("id", "model"):  # Azure's first chunk has them empty
            name = value.get(field)
            if isinstance(name, str) and name:
                self._chunk.setdefault(field, name)
            elif name is not None and not isinstance(name, str):
                note(self.problems, "wrong_type", f"{field} of a chunk is not text")
        if choices is not None:
            self._chunk |= {k: v for k, v in value.items() if k not in _CHUNK_FIELDS and v is not None}

    def _take_choice(self, at: int, choice: Json, deltas: list[Delta]) -> None:
        if not isinstance(choice, dict):
            note(self.problems, "wrong_type", "a choice is not an object")
            return
        index = choice.get("index")
        if type(index) is not int or not 0 <= index < 1000:
            index = at
        if choice.get("error"):  # OpenRouter
            self._fail(choice["error"], deltas)
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = _Choice(index, self.problems)
        known.take(choice, deltas if index == min(self._choices) else [])


def _joined(known: Json, value: Json) -> Json:
    """What several chunks say of one thing: lists go on (log probabilities), of anything else the last holds."""
    if isinstance(known, list) and isinstance(value, list):
        return known + value
    if isinstance(known, dict) and isinstance(value, dict):
        return known | {key: _joined(known.get(key), field) for key, field in value.items() if field is not None}
    return value
