"""Conversations of made-up agents over every protocol, written into a journal and read by the ingest.

A turn is a message in the form of the Messages API (`tests.support.conversations`). A `Client` spells turns as its
protocol has them; what a test changes of a history, it changes there, in the request's own body.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ocproxy.config import Journal
from ocproxy.exchange import Ended, Kind, Opened, Outcome
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter
from ocproxy.model import CallRow, FileEvent, MessageRow, SessionRow
from ocproxy.store.base import open_store
from tests.support.dialects import Dialect, chat, gemini, messages, responses
from tests.support.engines import sqlite_file

Json = dict[str, Any]
Change = Callable[[Json], None]

PATHS = {
    "messages": "/v1/messages",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "gemini": "/v1beta/models/m:generateContent",
}


class Client(msgspec.Struct, frozen=True):
    """One program: the protocol that it speaks, the headers that say who it is, and the system prompt."""

    protocol: str
    headers: dict[str, str] = {}
    system: str = "You are an agent."
    tools: tuple[str, ...] = ("bash", "write")

    def body(self, turns: Sequence[Json]) -> Json:
        """The request that sends these turns."""
        return _BODIES[self.protocol](self, turns)


def _texts(turn: Json) -> list[str]:
    return [block["text"] for block in turn["content"] if block["type"] == "text"]


def _of(turn: Json, kind: str) -> list[Json]:
    return [block for block in turn["content"] if block["type"] == kind]


def _messages_body(client: Client, turns: Sequence[Json]) -> Json:
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in client.tools]
    return {"model": "m", "system": client.system, "tools": tools, "messages": copy.deepcopy(list(turns))}


def _chat_body(client: Client, turns: Sequence[Json]) -> Json:
    tools = [{"type": "function", "function": {"name": name}} for name in client.tools]
    messages: list[Json] = [{"role": "system", "content": client.system}]
    for turn in turns:
        if turn["role"] == "assistant":
            messages.append(chat_answer(turn))
            continue
        messages += [
            {"role": "tool", "tool_call_id": block["tool_use_id"], "content": block["content"]}
            for block in _of(turn, "tool_result")
        ]
        if texts := _texts(turn):
            messages.append({"role": "user", "content": "\n".join(texts)})
    return {"model": "m", "tools": tools, "messages": messages}


def chat_answer(turn: Json) -> Json:
    """An assistant message of Chat Completions."""
    calls = [
        {"id": use["id"], "type": "function", "function": {"name": use["name"], "arguments": json.dumps(use["input"])}}
        for use in _of(turn, "tool_use")
    ]
    message: Json = {"role": "assistant", "content": "\n".join(_texts(turn)) or None}
    if thoughts := _of(turn, "thinking"):
        message["reasoning_content"] = thoughts[0]["thinking"]
    return message | ({"tool_calls": calls} if calls else {})


def _responses_body(client: Client, turns: Sequence[Json]) -> Json:
    tools = [{"type": "function", "name": name} for name in client.tools]
    items: list[Json] = []
    for turn in turns:
        if turn["role"] == "assistant":
            items += response_items(turn)
            continue
        for block in _of(turn, "tool_result"):
            items.append({"type": "function_call_output", "call_id": block["tool_use_id"], "output": block["content"]})
        items += [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
            for text in _texts(turn)
        ]
    return {"model": "m", "instructions": client.system, "tools": tools, "input": items}


def response_items(turn: Json) -> list[Json]:
    """The output items of the Responses API. Their ids follow from what they say."""
    items: list[Json] = []
    for block in turn["content"]:
        if block["type"] == "thinking":
            summary = [{"type": "summary_text", "text": block["thinking"]}]
            items.append({"type": "reasoning", "id": "rs_1", "summary": summary})
        elif block["type"] == "text":
            content = [{"type": "output_text", "text": block["text"], "annotations": []}]
            items.append({"type": "message", "id": f"msg_{len(items)}", "role": "assistant", "content": content})
        else:
            call = {"call_id": block["id"], "name": block["name"], "arguments": json.dumps(block["input"])}
            items.append({"type": "function_call", "id": f"fc_{block['id']}", **call})
    return items


def _gemini_body(client: Client, turns: Sequence[Json]) -> Json:
    names: dict[str, str] = {}
    contents: list[Json] = []
    for turn in turns:
        names |= {use["id"]: use["name"] for use in _of(turn, "tool_use")}
        parts = [_gemini_part(block, names) for block in turn["content"]]
        contents.append({"role": "model" if turn["role"] == "assistant" else "user", "parts": parts})
    tools = [{"functionDeclarations": [{"name": name} for name in client.tools]}] if client.tools else []
    return {"systemInstruction": {"parts": [{"text": client.system}]}, "tools": tools, "contents": contents}


def _gemini_part(block: Json, names: dict[str, str]) -> Json:
    """An id that is empty stands for none: the API need not give any."""
    if block["type"] == "text":
        return {"text": block["text"]}
    if block["type"] == "thinking":
        return {"text": block["thinking"], "thought": True}
    id = block.get("id") or block.get("tool_use_id") or ""
    named = {} if id.startswith("none") else {"id": id}
    if block["type"] == "tool_use":
        call = {"name": block["name"], "args": block["input"], **named}
        return {"functionCall": call, "thoughtSignature": "c2lnbmVk"}
    return {"functionResponse": {"name": names.get(id, "bash"), "response": {"output": block["content"]}, **named}}


_DIALECTS: dict[str, Dialect] = {"messages": messages, "chat": chat, "responses": responses, "gemini": gemini}
_BODIES: dict[str, Callable[[Client, Sequence[Json]], Json]] = {
    "messages": _messages_body,
    "chat": _chat_body,
    "responses": _responses_body,
    "gemini": _gemini_body,
}


def reply_of(protocol: str, turn: Json, number: int) -> Json:
    """The whole answer that holds this turn of the assistant."""
    if protocol == "messages":
        frame = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "m"}
        usage = {"input_tokens": 1, "output_tokens": 1}
        return {**frame, "content": turn["content"], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    if protocol == "chat":
        empty = dict.fromkeys(("created", "model", "service_tier", "system_fingerprint"))
        choice = {"index": 0, "message": chat_answer(turn), "finish_reason": "stop"}
        return {"id": f"c{number}", **empty, "choices": [choice]}
    if protocol == "responses":
        return {"id": f"resp_{number}", "status": "completed", "output": response_items(turn)}
    parts = [_gemini_part(block, {}) for block in turn["content"]]
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}


def _answer(protocol: str, body: Json, reply: Json | None, number: int, without: int) -> tuple[bytes, bytes]:
    """Head and body of a response."""
    if reply is None:
        said = json.dumps({"error": {"type": "server_error", "message": "Overloaded"}}).encode()
        return b"HTTP/1.1 500 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(said), said
    native = reply_of(protocol, reply, number)
    if not without:
        said = json.dumps(native).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(said), said
    pieces = list(_DIALECTS[protocol].events(body, native))[:-without]
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", b"".join(pieces)


class Told(msgspec.Struct):
    """What the store holds, sessions in the order in which they began."""

    sessions: list[SessionRow]
    messages: list[list[MessageRow]]
    events: list[FileEvent]
    calls: list[CallRow]

    def lines(self, session: int = 0) -> list[str]:
        """The messages of a session, each as its role's first letter and what it says, calls and results by id."""
        return [f"{row.role[0]}: {_said(row)}" for row in self.messages[session]]


def _said(row: MessageRow) -> str:
    words = {"text": "text", "tool_use": "id", "tool_result": "tool_use_id"}
    return " + ".join(str(part.get(words[part["type"]])) for part in row.parts if part["type"] in words)


class Stage:
    """Writes what clients send and are answered into a journal under `folder`, and lets the ingest read it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = JournalWriter.open(folder / "journal" / "worker-0", Journal())

    def close(self) -> None:
        self._writer.close()

    def call(
        self,
        client: Client,
        turns: Sequence[Json],
        reply: Json | None,
        *changes: Change,
        run: str | None = None,
        headers: dict[str, str] | None = None,
        without: int = 0,
    ) -> None:
        """One call: the history `turns` as the client spells it, changed in place by `changes`, and the answer (None:
        an error). `without`: it was streamed, and the upstream left before that many of its last events."""
        body = client.body(turns)
        for change in changes:
            change(body)
        number, path = self._writer.next_exchange(), PATHS[client.protocol]
        data = json.dumps(body).encode()
        fields = client.headers | (headers or {}) | {"content-length": str(len(data))}
        head = "\r\n".join([f"POST {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]).encode()
        opened = Opened(head, path, "anthropic", "http://127.0.0.1:1", "127.0.0.1:2", run=run)
        self._writer.append(Kind.OPENED, number, msgspec.msgpack.encode(opened))
        self._writer.append(Kind.REQUEST_BYTES, number, data)
        head, said = _answer(client.protocol, body, reply, number, without)
        self._writer.append(Kind.RESPONSE_HEAD, number, head)
        self._writer.append(Kind.RESPONSE_BYTES, number, said)
        outcome = Outcome.UPSTREAM_DISCONNECTED if without else Outcome.COMPLETE
        self._writer.append(Kind.ENDED, number, msgspec.msgpack.encode(Ended(outcome)))
        assert self._writer.commit()

    def play(self, client: Client, turns: Sequence[Json], *changes: Change, **fields: Any) -> None:
        """A whole conversation: each turn of the assistant is the answer to all before it. Only histories that hold an
        answer are changed."""
        for at, turn in enumerate(turns):
            if turn["role"] == "assistant":
                has_answer = any(earlier["role"] == "assistant" for earlier in turns[:at])
                self.call(client, turns[:at], turn, *(changes if has_answer else ()), **fields)

    async def told(self) -> Told:
        """What is stored, which is the same however the ingest is interrupted, and when it reads all once more."""
        whole = await self._stored("whole", pieces=False)
        assert await self._stored("pieces", pieces=True) == whole
        assert await self._stored("whole", pieces=False) == whole
        assert_nothing_twice(whole)
        return whole

    async def _stored(self, name: str, *, pieces: bool) -> Told:
        root = self._folder / "journal"
        async with await open_store(sqlite_file(self._folder / f"{name}.db")) as store:
            count = int(pieces)
            while count:  # the ingest dies after each call
                ingest = Ingest(store, root, batch_calls=1)
                count = await ingest._cycle()
                ingest._restart()
            await Ingest(store, root).catch_up()
            sessions = sorted(await store.summaries(), key=lambda summary: (summary.row.created_at, summary.row.id))
            messages = [await store.messages(summary.row.id) for summary in sessions]
            rows = [summary.row for summary in sessions]
            return Told(rows, messages, list(await store.file_events()), list(await store.calls()))


def assert_nothing_twice(told: Told) -> None:
    """Each event is of one action of one call, and no call of a session is asked in two of its messages' events."""
    events = [(event.session_id, event.tool_use_id, event.event_type, event.file_path, event.command)
              for event in told.events]  # fmt: skip
    assert len(set(events)) == len(events)
    ids = [row.id for messages in told.messages for row in messages]
    assert len(set(ids)) == len(ids)


def is_a_line(messages: list[MessageRow]) -> bool:
    """Whether each message follows the one before it: nothing forked, nothing doubled."""
    parents = [None, *(message.id for message in messages)]
    return [message.parent_id for message in messages] == parents[:-1]
