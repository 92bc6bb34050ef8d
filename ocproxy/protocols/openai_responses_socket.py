"""OpenAI Responses over a WebSocket: which messages of a connection are one call, and what its whole request is.

A client sends `response.create` with the fields of `POST /responses`; the server answers with the events of the
stream, one a message, up to `response.completed`, `response.incomplete`, `response.failed` or `error`. Then comes the
next call, on the same connection. A call may send only what is new, with `previous_response_id`: what is before it is
known here, since the server too keeps it for the life of the connection. `stream_id` tells several lanes apart, and
`response.steer` queues input for a call that the server begins by itself.

Source: the API guide, "WebSocket mode", https://platform.openai.com/docs/guides/websocket-mode, the types of OpenAI's
own Python library, and what Codex was seen to send.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import msgspec

from ocproxy.errors import DecodeError
from ocproxy.model import Json, Problem
from ocproxy.protocols import json_value
from ocproxy.protocols.base import SocketCall
from ocproxy.protocols.openai_responses_parts import Item
from ocproxy.protocols.problems import note

_ENDS = {"response.completed", "response.incomplete", "response.failed", "error"}
_CONTINUABLE = {"response.completed", "response.incomplete"}
# Fields of the messages themselves, not of the request that they carry.
_ENVELOPE = {"type", "response", "stream_id", "event_id"}
# Responses whose history is known. Servers keep the newest of a lane only.
_KNOWN = 64
# Bytes of items that are held for the deltas to come; those of a connection that said more are linked by id alone.
_MOST_HISTORY = 32 * 1024 * 1024
# Bytes of events of one call: far beyond any answer.
_MOST_EVENTS = 32 * 1024 * 1024


class _Open:
    """A call under way."""

    def __init__(self, body: Item, began: int, sent: int) -> None:
        self.body = body
        self.began = began
        self.sent = sent
        self.received = 0
        self.answered: int | None = None
        self.events: list[bytes] = []
        self.output: dict[int, Json] = {}


class ResponsesCalls:
    """The calls of one connection. `ocproxy.protocols.base.SocketCalls`."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._lanes: dict[str, deque[_Open]] = {}
        self._known: OrderedDict[str, list[Json]] = OrderedDict()
        self._steered: dict[str, list[Json]] = {}
        self._last: dict[str, Item] = {}  # lane -> the body of its newest call
        self._history = 0
        self._ordinal = 0

    @property
    def size(self) -> int:
        events = sum(min(call.received, _MOST_EVENTS) for queue in self._lanes.values() for call in queue)
        return self._history + events

    def client(self, message: bytes, at: int) -> list[SocketCall]:
        value = self._decode(message)
        if value is None:
            return []
        kind, lane = _text(value, "type"), _text(value, "stream_id")
        if kind == "response.create":
            inner = value.get("response")
            body = {**(inner if isinstance(inner, dict) else {}), **value}
            self._begin({key: field for key, field in body.items() if key not in _ENVELOPE}, lane, at, len(message))
        elif kind == "response.steer" and isinstance(before := value.get("previous_response_id"), str):
            self._steered.setdefault(before, []).extend(_items(value.get("input")))
        return []

    def server(self, message: bytes, at: int) -> list[SocketCall]:
        value = self._decode(message)
        if value is None:
            return []
        kind, lane = _text(value, "type"), _text(value, "stream_id")
        queue = self._lanes.get(lane)
        if not queue and kind == "error" and not lane:
            queue = next((calls for calls in self._lanes.values() if calls), None)
        if not queue and kind == "response.created":
            queue = self._follow_up(value, lane, at)
        if not queue:
            if kind == "error":
                text = message[:300].decode("utf-8", "replace")
                note(self.problems, "stray_error", f"an error came that answers no call: {text}")
            return []
        call = queue[0]
        call.answered = at if call.answered is None else call.answered
        call.received += len(message)
        if call.received <= _MOST_EVENTS or kind in _ENDS:
            # White space is all that a raw line end can be in JSON; in an event it would be the end of it.
            call.events.append(b"data: " + message.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n\n")
        else:
            note(self.problems, "too_large", "an answer is too large to be interpreted whole")
        if kind == "response.output_item.done" and type(value.get("output_index")) is int:
            call.output[value["output_index"]] = value.get("item")
            self._hold(len(message))
        if kind not in _ENDS:
            return []
        queue.popleft()
        if kind in _CONTINUABLE:
            self._remember(call, value.get("response"))
        return [self._close(call, at, is_ended=True)]

    def close(self, at: int) -> list[SocketCall]:
        left = sorted((call for queue in self._lanes.values() for call in queue), key=lambda call: call.began)
        self._lanes.clear()
        return [self._close(call, at, is_ended=False) for call in left]

    def _decode(self, message: bytes) -> Item | None:
        try:
            value = json_value.decode(message, self.problems)
        except DecodeError as error:
            note(self.problems, "bad_json", f"a message of the WebSocket is not JSON: {error}")
            return None
        if isinstance(value, dict):
            return value
        note(self.problems, "wrong_type", "a message of the WebSocket is not an object")
        return None

    def _hold(self, count: int) -> None:
        self._history += count
        if self._history > _MOST_HISTORY:
            self._known.clear()
            self._history = 0

    def _begin(self, body: Item, lane: str, at: int, sent: int) -> None:
        self._hold(sent)
        before = body.get("previous_response_id")
        history = self._known.get(before) if isinstance(before, str) else None
        if history is not None:
            body = {key: field for key, field in body.items() if key != "previous_response_id"}
            body["input"] = [*history, *_items(body.get("input"))]
        self._last[lane] = body
        self._lanes.setdefault(lane, deque()).append(_Open(body, at, sent))

    def _follow_up(self, value: Item, lane: str, at: int) -> deque[_Open] | None:
        """The call that the server begins with input that was steered to the one before; it inherits its settings."""
        response: Any = value.get("response")
        before = response.get("previous_response_id") if isinstance(response, dict) else None
        if not isinstance(before, str) or before not in self._steered:
            return None
        settings = {key: field for key, field in self._last.get(lane, {}).items() if key != "input"}
        self._begin({**settings, "previous_response_id": before, "input": self._steered.pop(before)}, lane, at, 0)
        return self._lanes[lane]

    def _remember(self, call: _Open, response: Json) -> None:
        if not isinstance(response, dict) or not isinstance(response.get("id"), str):
            return
        if isinstance(call.body.get("previous_response_id"), str):
            return  # what is before it is not known
        output = response.get("output")
        if not isinstance(output, list) or len(output) < len(call.output):
            output = [item for _, item in sorted(call.output.items())]
        self._known[response["id"]] = [*_items(call.body.get("input")), *output]
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _close(self, call: _Open, at: int, *, is_ended: bool) -> SocketCall:
        self._ordinal += 1
        problems, self.problems = tuple(self.problems), []
        return SocketCall(
            ordinal=self._ordinal,
            request=msgspec.json.encode(call.body),
            response=b"".join(call.events),
            began=call.began,
            answered=call.answered,
            ended=at,
            is_ended=is_ended,
            sizes=(call.sent, call.received),
            problems=problems,
        )


def _text(value: Item, field: str) -> str:
    text = value.get(field)
    return text if isinstance(text, str) else ""


def _items(value: Json) -> list[Json]:
    """`input` as a list of items: text stands for one message of the user."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    return value if isinstance(value, list) else []
