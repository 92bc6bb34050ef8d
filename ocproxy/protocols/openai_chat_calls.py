"""Tool calls of the OpenAI Chat Completions API: whole ones, and ones put together from the pieces of a stream.

Source: the API reference, "The chat completion chunk object", https://platform.openai.com/docs/api-reference/chat/streaming.
There a call begins with its index, id and name, and its further pieces have the index alone. Servers were seen to leave
the index out (ollama issue 7881), to give all calls the index 0 (ollama 15457), to give the pieces of one call several
(LocalAI 9722, SGLang 6310), to repeat id and name in every piece, and to send arguments as an object.
"""

from __future__ import annotations

import msgspec

from ocproxy.errors import DecodeError
from ocproxy.model import UNNAMED, Json, Opaque, Part, Problem, ToolUse, digest
from ocproxy.protocols import json_value
from ocproxy.protocols.problems import note

Fields = dict[str, Json]


class GrowingCall:
    """A call that is being streamed."""

    __slots__ = ("fields", "id", "may_be_none", "name", "number", "pieces", "size", "type")

    def __init__(self, number: int, id: str | None = None) -> None:
        self.number = number  # place among the calls of its message
        self.id = id
        self.may_be_none = False  # the empty end of another call looked like its beginning
        self.name = ""
        self.type = "function"
        self.pieces: list[str] = []
        self.size = 0
        self.fields: Fields = {}

    @property
    def arguments(self) -> str:
        """As far as they came."""
        return "".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are an object that has ended; nothing but another call can come then."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(json_value.decode(self.arguments, []), dict)
        except DecodeError:
            return False

    def is_other(self, name: str, text: str) -> bool:
        """Whether a piece with this call's id and an index of its own begins another call: small servers have one id
        for all. It has a name, and this call has its arguments, or has another name."""
        if not name or not self.pieces:
            return False
        return name != self.name or (self.is_whole and text != self.arguments)

    def add_name(self, name: str) -> None:
        """Names come whole, whole again in each piece, or in pieces before the arguments."""
        if not self.name or name.startswith(self.name):
            self.name = name
        elif name != self.name and not self.pieces:
            self.name += name

    def add_arguments(self, text: str) -> str:
        """Returns what is new in `text`: nothing, where a server tells whole arguments twice."""
        if len(text) == self.size and text == self.arguments and self.is_whole:
            return ""
        self.pieces.append(text)
        self.size += len(text)
        return text

    def finish(self) -> Fields:
        """The call in the shape of a whole one."""
        call = {**self.fields, "id": self.id, "type": self.type}
        if self.type == "custom":
            call["custom"] = {"name": self.name or None, "input": self.arguments}
        elif self.name or self.pieces or not self.fields:  # else of a type that we do not know, and whole in `fields`
            call["function"] = {"name": self.name or None, "arguments": self.arguments}
        return call


class GrowingCalls:
    """The calls of one streamed message, in the order in which they began."""

    def __init__(self) -> None:
        self._begun: list[GrowingCall] = []
        self._by_index: dict[int, GrowingCall] = {}
        self._by_id: dict[str, GrowingCall] = {}

    @property
    def calls(self) -> list[GrowingCall]:
        return [call for call in self._begun if call.pieces or not call.may_be_none]

    def add(self, piece: Json, problems: list[Problem]) -> tuple[GrowingCall, str] | None:
        """Take one piece. Returns the call it belongs to and what it adds to the arguments."""
        if not isinstance(piece, dict):
            note(problems, "wrong_type", f"a piece of a tool call is not an object but {type(piece).__name__}")
            return None
        holder = "custom" if isinstance(piece.get("custom"), dict) else "function"
        inner = piece.get(holder)
        if not isinstance(inner, dict):
            if inner is not None:
                note(problems, "wrong_type", "function of a piece of a tool call is not an object")
            inner = {}
        name = inner.get("name")
        name = name if isinstance(name, str) else ""
        text = _text(inner.get("input" if holder == "custom" else "arguments"))
        call = self._find(piece, name, text, problems)
        if name:
            call.add_name(name)
        kind = piece.get("type")
        if isinstance(kind, str) and kind:
            call.type = kind
        elif holder == "custom":
            call.type = "custom"
        known = ("index", "id", "type", holder)
        call.fields |= {key: value for key, value in piece.items() if key not in known and value is not None}
        return call, call.add_arguments(text) if text else ""

    def _find(self, piece: Fields, name: str, text: str, problems: list[Problem]) -> GrowingCall:
        """The call of a piece: by its id, else by its index, else the last one."""
        id, index = piece.get("id"), piece.get("index")
        id = id if isinstance(id, str) and id else None
        index = index if type(index) is int else None
        last = self._begun[-1] if self._begun else None
        call = self._by_id.get(id) if id is not None else None
        at_index = self._by_index.get(index) if index is not None else None
        if call is not None and at_index is not None and at_index.id == id:
            call = at_index  # of several calls with one id
        elif call is not None and index is not None and at_index is None and call.is_other(name, text):
            call = self._by_index[index] = GrowingCall(len(self._begun), id)
            call.may_be_none = not text
            self._begun.append(call)
            return call
        if call is None:
            call = last if index is None else self._by_index.get(index)
            if id is not None and call is not None and call.id is not None:
                call = None
        if call is None and last is not None and id is None and not name:
            note(problems, "wrong_index", "pieces of a tool call have an index where none began; taken for the last")
            call = last
        begins = text.lstrip().startswith("{") if text else name != call.name if call else False
        if call is not None and name and call.name and begins and call.is_whole:
            if name != call.name or text != call.arguments:  # calls without ids, or with one id for all
                call = None
        if call is None:
            call = GrowingCall(len(self._begun))
            self._begun.append(call)
        if id is not None and call.id is None:
            call.id = id
            self._by_id[id] = call
        if index is not None:
            self._by_index[index] = call
        return call


def _text(arguments: Json) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else msgspec.json.encode(arguments).decode()


def read_calls(calls: Json, problems: list[Problem], *, ended: bool = True) -> list[Part]:
    """The calls of `tool_calls`. `ended`: the whole message is known to have ended."""
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, list):
        if calls is not None:
            note(problems, "wrong_type", f"tool_calls is not a list but {type(calls).__name__}")
            return [Opaque("tool_calls", calls)]
        return []
    parts = [_read_call(call, ended, problems) for call in calls]
    made: dict[str, int] = {}
    for at, part in enumerate(parts):  # two calls of one message are two, equal ones without ids, and with one id
        if not isinstance(part, ToolUse):
            continue
        made[part.id] = count = made.get(part.id, 0) + 1
        if count > 1 and part.id.startswith(UNNAMED):
            parts[at] = msgspec.structs.replace(part, id=f"{part.id}_{count}")
        elif count > 1:
            note(problems, "same_id", "several calls of one message have the same id; told apart by their places")
            parts[at] = msgspec.structs.replace(part, id=UNNAMED + digest(part.id, str(count)), alias=part.id)
    return parts


def read_function_call(call: Json, problems: list[Problem], *, ended: bool = True) -> list[Part]:
    """The one call of `function_call`, which came before `tool_calls` and has no id."""
    if call is None:
        return []
    if isinstance(call, dict):
        use = _read_function(None, call, ended, problems, {"type": "function_call"})
        if use is not None:
            return [use]
    note(problems, "malformed_block", "a function_call lacks its name or is not an object")
    return [Opaque("function_call", call)]


def _read_call(call: Json, ended: bool, problems: list[Problem]) -> Part:
    if not isinstance(call, dict):
        note(problems, "wrong_type", f"a tool call is not an object but {type(call).__name__}")
        return Opaque("tool_call", call)
    id, kind = call.get("id"), call.get("type")
    id = id if isinstance(id, str) and id else None
    known = ("id", "index", "function", "custom") if kind in ("function", "custom") else ("id", "index", "function")
    extra = {key: value for key, value in call.items() if key not in known and value is not None}
    if kind == "function":
        del extra["type"]
    custom, function = call.get("custom"), call.get("function")
    use: Part | None = None
    if kind == "custom" and isinstance(custom, dict):
        use = _read_custom(id, custom, ended, extra)
    elif isinstance(function, dict):
        use = _read_function(id, function, ended, problems, extra)
    if use is not None:
        return use
    note(problems, "malformed_block", f"a tool call of type {kind!r} lacks its name or its function; kept as it came")
    return Opaque("tool_call", call)


def _read_custom(id: str | None, custom: Fields, ended: bool, extra: Fields) -> ToolUse | None:
    name, text = custom.get("name"), custom.get("input", "")
    if not isinstance(name, str) or not isinstance(text, str):
        return None
    given: Fields = {"input": text} if ended else {}
    raw = None if ended else text
    return ToolUse(id or _made_id(name, {"input": text}), name, given, complete=ended, raw=raw, extra=extra)


def _read_function(
    id: str | None, function: Fields, ended: bool, problems: list[Problem], extra: Fields
) -> ToolUse | None:
    name = function.get("name")
    if not isinstance(name, str):
        return None
    rest = {k: v for k, v in function.items() if k not in ("name", "arguments") and v is not None}
    if rest:
        extra = {**extra, "function": rest}
    given, raw = read_arguments(name, function.get("arguments"), ended, problems)
    use_id = id or _made_id(name, raw if given is None else given)
    return ToolUse(use_id, name, given or {}, complete=given is not None, raw=raw, extra=extra)


def read_arguments(
    name: str, arguments: Json, ended: bool, problems: list[Problem]
) -> tuple[Fields | None, str | None]:
    """Parsed arguments, or None and what came. An object that has ended is whole even where its message broke off."""
    if isinstance(arguments, dict):
        return arguments, None
    raw = _text(arguments)
    if not raw.strip():
        return ({}, None) if ended else (None, raw)
    try:
        value = _decode(raw, problems)
        if isinstance(value, str):  # some models write their JSON as JSON text
            value = _decode(value, problems)
    except DecodeError as error:
        if ended:
            note(problems, "bad_tool_input", f"the arguments of {name} are not JSON: {error}")
        return None, raw
    if isinstance(value, dict):
        return value, None
    if value is None and ended:
        return {}, None
    note(problems, "bad_tool_input", f"the arguments of {name} are not an object but {type(value).__name__}")
    return None, raw


def _decode(raw: str, problems: list[Problem]) -> Json:
    try:
        return json_value.decode(raw, problems)
    except DecodeError:
        # Gateways that translate another protocol begin with its empty input, and then stream the real one.
        if not raw.startswith("{}") or not raw[2:].strip():
            raise
        return json_value.decode(raw[2:], problems)


def _made_id(name: str, given: Json) -> str:
    """An id for a call without one: the same in the reply and wherever the client sends the call again, however it
    writes the arguments."""
    return UNNAMED + digest(name, msgspec.json.encode(given, order="deterministic").decode())
