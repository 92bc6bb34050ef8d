"""A provider that plays the same scripts in every protocol, and misbehaves where a test asks for it.

The dialects (`tests/support/dialects`) know the protocols; `Provider` of the demo knows sockets. A script's call ids
are the same everywhere.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

import zstandard

from ocproxy.demo.provider import Provider, Served
from ocproxy.demo.script import END, Script, Step, choose, text_of
from tests.support.dialects import Dialect, chat, gemini, messages, responses
from tests.support.websocket import Socket, accepts

Json = dict[str, Any]

DIALECTS: tuple[Dialect, ...] = tuple(cast(Dialect, one) for one in (messages, chat, responses, gemini))
TITLE = "A scripted session"
MARK = "[[script:"  # what `ocproxy.demo.script.choose` looks for
SUMMARY = "A file was read and one was written."


@dataclass
class Fault:
    """Goes wrong where `script` stands at `step`, `times` times.

    A `status` is sent with `headers`; `drop` closes the connection before the head, after the first bytes of text,
    inside the arguments of the last tool use, or when all tool uses are complete; an answer that is no stream, in its
    middle. An `error event` stands for the second half of the stream, or for what is behind the tool uses.
    """

    script: str
    step: int
    what: Literal[
        "status",
        "drop before head",
        "drop in text",
        "drop in tool use",
        "drop after tool use",
        "error event",
        "error event after tool use",
    ]
    status: int = 500
    headers: str = ""
    times: int = 1


class Dropped(ConnectionError):
    """The provider hangs up on purpose."""


class Again(Script, frozen=True):
    """A script whose step is told once more, with other call ids, as a model would."""

    attempt: int = 0

    def call_id(self, step: int, place: int) -> str:
        return super().call_id(step, place + 100 * self.attempt)


class Scripted(Provider):
    """See `Provider`. `faults` are used up as they happen. `goes_on` is added to the summary of a compaction.

    `websocket` says what becomes of an upgrade: accepted, accepted with compression, or refused with a status.
    """

    def __init__(
        self,
        scripts: Iterable[Script],
        *,
        pace: float = 0.0,
        faults: Sequence[Fault] = (),
        goes_on: str = "",
        websocket: Literal["plain", "deflate"] | int = "plain",
    ) -> None:
        super().__init__(scripts, pace=pace)
        self.faults = list(faults)
        self.goes_on = goes_on
        self.websocket = websocket
        self._readers: WeakKeyDictionary[asyncio.StreamWriter, asyncio.StreamReader] = WeakKeyDictionary()
        self._inputs: dict[str, list[Json]] = {}  # by response id: all that was said until then, as input items
        self._threads: dict[str, Json] = {}  # by message id: the request with all that was said until then
        self._attempts: Counter[tuple[str, int]] = Counter()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers[writer] = reader
        await super()._converse(reader, writer)

    async def _answer(self, served: Served, writer: asyncio.StreamWriter) -> None:
        if served.headers.get("upgrade", "").lower() == "websocket":
            return await self._upgrade(served, writer)
        dialect = dialect_of(served)
        if served.path.endswith("/conversations"):
            made = {"id": f"conv_{len(self.log)}", "object": "conversation", "created_at": 0, "metadata": {}}
            return await self._send(served, writer, 200, made)
        if dialect is None:
            return await super()._answer(served, writer)
        request = self._whole(request_of(served))
        chosen = self.play(dialect, request)
        if chosen is None:
            return await self._send(served, writer, 400, dialect.error(400, "the prompt names no script of mine"))
        script, number, step = chosen
        fault = self._fault(script, number)
        if fault and fault.what == "drop before head":
            raise Dropped
        if fault and fault.what == "status":
            self.more_head = fault.headers
            return await self._send(served, writer, fault.status, dialect.error(fault.status, "a scripted failure"))
        reply = self._reply(dialect, request, script, number, step)
        self._attempts[script.name, number] += fault is not None  # the next try says the same with other call ids
        if not dialect.streams(served.path, request):
            return await self._send(served, writer, 200, reply, dropped=fault is not None and "drop" in fault.what)
        await self._stream_events(served, writer, reply, _faulty(dialect, request, reply, fault))

    def _reply(self, dialect: Dialect, request: Json, script: Script, number: int, step: Step) -> Json:
        attempt = self._attempts[script.name, number]
        again = Again(script.name, script.steps, attempt)
        items = responses.items(request) if dialect is DIALECTS[2] else []
        if any(item.get("type") == "compaction_trigger" for item in items[-1:]):
            reply = responses.compaction(request, f"{SUMMARY} {self.goes_on}")
        else:
            reply = dialect.compose(request, again, number, step)
        if items:
            self._inputs[reply["id"]] = [*items, *reply["output"]]
            self._inputs[request.get("conversation") or ""] = self._inputs[reply["id"]]
        if "thread" in request:
            self._threads[reply["id"]] = {**request, "messages": [*request["messages"], dialect.said(reply)]}
        return reply

    def _whole(self, request: Json) -> Json:
        """A request that goes on from an earlier reply, with all that was said before."""
        thread = self._threads.get((request.get("thread") or {}).get("previous_message_id") or "")
        if thread is not None:
            return {**thread, **request, "messages": [*thread["messages"], *request["messages"]]}
        name = request.get("previous_response_id") or request.get("conversation")
        before = self._inputs.get(name, []) if name else []
        return {**request, "input": [*before, *responses.items(request)]} if before else request

    async def _upgrade(self, served: Served, writer: asyncio.StreamWriter) -> None:
        """Each message of the client is a request of its own in the log, with the method WEBSOCKET."""
        if isinstance(self.websocket, int):
            return await self._send(
                served, writer, self.websocket, responses.error(self.websocket, "no WebSocket here")
            )
        offered = "permessage-deflate" in served.headers.get("sec-websocket-extensions", "")
        deflate = offered and self.websocket == "deflate"
        served.status = 101
        await self._put(served, writer, accepts(served.headers, deflate))
        socket = Socket(self._readers[writer], writer, deflate)
        try:
            async for message in socket.messages():
                turn = Served("WEBSOCKET", served.target, served.head, served.headers, message)
                self.log.append(turn)
                await self._take_turn(turn, socket)
        finally:
            served.body, served.sent = served.body + socket.received, served.sent + socket.sent

    async def _take_turn(self, turn: Served, socket: Socket) -> None:
        request = self._whole(turn.request)
        dialect = DIALECTS[2]
        script, number, step = self.play(dialect, request) or (Script("none", ()), 0, END)
        fault = None if request.get("generate") is False else self._fault(script, number)
        if fault and fault.what == "status":
            kind = "usage_limit_reached" if fault.status == 429 else "server_error"
            return await socket.send(_error_frame(fault.status, kind))
        reply = self._reply(dialect, request, script, number, step)
        self._attempts[script.name, number] += fault is not None
        if fault and fault.what == "drop before head":
            raise Dropped
        for event in _faulty(dialect, request, reply, fault):
            if event is None:
                raise Dropped
            if b'"type": "error"' in event:
                return await socket.send(_error_frame(500, "server_error"))
            await socket.send(event.partition(b"data: ")[2].decode().strip())
        turn.status, turn.reply, turn.complete = 200, reply, True

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        """What is to be said: a step of a script, or the answer to a side call. None: it belongs to no script."""
        history = dialect.history(request)
        if (side := self.side(dialect, request, history)) is not None:
            return Script("side", (Step(text=side),)), 0, Step(text=side)
        script = self.chosen(history)
        if script is None:
            return None
        number = step_of(script, history)
        step = script.steps[number] if number < len(script.steps) else END
        if step.calls and not dialect.tools(request):
            return Script("side", (Step(text=TITLE),)), 0, Step(text=TITLE)
        return script, number, step

    def chosen(self, history: list[Json]) -> Script | None:
        """The script that a conversation plays."""
        return choose(self.scripts, history)

    def side(self, dialect: Dialect, request: Json, history: list[Json]) -> str | None:
        """The answer to a title, a summary or another side call that its words give away; None for all others."""
        asked = json.dumps(request, ensure_ascii=False)
        last = next((text_of(m) for m in reversed(history) if m["role"] == "user"), "")
        if '"title"' in asked and '"json_schema"' in asked:
            return json.dumps({"title": TITLE})
        if "You are a title generator" in asked and not dialect.tools(request):
            return TITLE
        if "<summary>" in last and "TEXT ONLY" in last:
            return f"<analysis>Thought over.</analysis>\n<summary>\n{SUMMARY} {self.goes_on}\n</summary>"
        if any(sign in last for sign in _SUMMARIES) or (not dialect.tools(request) and "summariz" in asked):
            return f"{SUMMARY} {self.goes_on}"
        return None

    def _fault(self, script: Script, number: int) -> Fault | None:
        found = next((f for f in self.faults if (f.script, f.step) == (script.name, number) and f.times > 0), None)
        if found is not None:
            found.times -= 1
        return found

    more_head = ""

    async def _stream_events(
        self, served: Served, writer: asyncio.StreamWriter, reply: Json, stream: Iterable[bytes | None]
    ) -> None:
        """None in the stream: hang up here."""
        served.status, served.reply = 200, reply
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
            f"{self.more_headers}x-request-id: req_{len(self.log)}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await self._put(served, writer, head.encode())
        events: list[bytes] = []
        dropped = False
        for event in stream:
            if event is None:
                dropped = True
                break
            events.append(event)
        for piece in self.cut(events):
            await self._put(served, writer, b"%x\r\n%b\r\n" % (len(piece), piece))
            if self.pace:
                await asyncio.sleep(self.pace)
        if dropped:
            served.reply = None
            raise Dropped
        await self._put(served, writer, b"0\r\n\r\n")

    async def _send(
        self, served: Served, writer: asyncio.StreamWriter, status: int, data: Json | None, dropped: bool = False
    ) -> None:
        body = b"" if data is None else json.dumps(data, ensure_ascii=False).encode()
        served.status, served.reply = status, data
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\nContent-Type: application/json\r\n"
        head, self.more_head = f"{head}{self.more_head}Content-Length: {len(body)}\r\n\r\n", ""
        await self._put(served, writer, head.encode() + (body[: len(body) // 2] if dropped else body))
        if dropped:
            served.reply = None
            raise Dropped

    async def _put(self, served: Served, writer: asyncio.StreamWriter, data: bytes) -> None:
        served.sent += data
        writer.write(data)
        await writer.drain()


# A piece of text; `"content"` with something in it, `"text"` without a type beside it (Gemini).
_TEXT = (b'"text_delta"', b'"response.output_text.delta"', b'"delta": {"content": "', b'"parts": [{"text"')
# A piece of a tool use's arguments.
_ARGUMENTS = (b"input_json_delta", b"function_call_arguments.delta", b"custom_tool_call_input.delta", b'"arguments"')
# What asks for a summary, in the last user message.
_SUMMARIES = ("CONTEXT CHECKPOINT COMPACTION", "component that summarizes", "context summarization")


def _error_frame(status: int, kind: str) -> str:
    """An error as a message of a WebSocket: without its status Codex passes over it."""
    error = {"type": kind, "code": kind, "message": "a scripted failure"}
    return json.dumps({"type": "error", "status": status, "error": error})


def _faulty(dialect: Dialect, request: Json, reply: Json, fault: Fault | None) -> Iterable[bytes | None]:
    events = list(dialect.events(request, reply))
    if fault is None:
        return events
    if fault.what == "error event":
        return [*events[: max(len(events) // 2, 1)], dialect.error_event("a scripted failure")]
    if fault.what == "drop in text":
        return [*events[: _behind_first_text(events)], None]
    if fault.what == "drop in tool use":
        return [*events[: _inside_last_arguments(events)], None]
    # All but the end: every tool use is complete, the terminal event is not there.
    end = dialect.error_event("a scripted failure") if fault.what == "error event after tool use" else None
    return [*(event for event in events if not _is_terminal(event)), end]


def _behind_first_text(events: list[bytes]) -> int:
    """How many events tell the first piece of text in a reply."""
    return next((at for at, event in enumerate(events, 1) if any(sign in event for sign in _TEXT)), 3)


def _inside_last_arguments(events: list[bytes]) -> int:
    """How many events tell all of a reply until somewhere in the arguments of its last tool use."""
    pieces = [at for at, event in enumerate(events) if any(sign in event for sign in _ARGUMENTS)]
    assert pieces, "no tool use of this reply comes in pieces"
    first = pieces[-1]
    while first - 1 in pieces:
        first -= 1
    return first + (pieces[-1] - first) // 2 + 1


def _is_terminal(event: bytes) -> bool:
    signs = (b'"message_delta"', b'"message_stop"', b"[DONE]", b'"response.completed"', b'"finishReason"')
    return any(sign in event for sign in signs) or b'"finish_reason": "' in event or b'"choices": []' in event


def step_of(script: Script, history: list[Json]) -> int:
    """Where the script stands: by its call ids in the history; where a client keeps none, by the answers since the last
    mark that hold calls (any answer, for scripts without calls)."""
    number = script.next_step(history)
    if number:
        return number
    marks = [at for at, m in enumerate(history) if m["role"] == "user" and MARK in text_of(m)]
    since = [m for m in history[marks[-1] if marks else 0 :] if m["role"] == "assistant"]
    if any(step.calls for step in script.steps):
        since = [m for m in since if any(block.get("type") == "tool_use" for block in blocks_of(m))]
    return len(since)


def blocks_of(message: Json) -> list[Json]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def dialect_of(served: Served) -> Dialect | None:
    """The protocol of a request for a model's answer; None for any other request."""
    return next((dialect for dialect in DIALECTS if dialect.claims(served.method, served.path)), None)


def usage_of(served: Served) -> dict[str, int | None]:
    """The tokens that an answer counted, in the words of the record; input without what came from the cache."""
    dialect = dialect_of(served)
    assert dialect and served.reply
    return dialect.usage(served.reply)


def request_of(served: Served) -> Json:
    """The request body as JSON, out of its content coding."""
    coding = served.headers.get("content-encoding", "")
    body = served.body
    if coding == "zstd":
        body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    elif coding == "gzip":
        body = gzip.decompress(body)
    parsed: Json = json.loads(body)
    return parsed
