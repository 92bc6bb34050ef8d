"""Journals of made-up conversations over Anthropic Messages, for tests of what stands behind the protocol decoders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from ocproxy.config import Journal
from ocproxy.exchange import Ended, Kind, Opened, Outcome
from ocproxy.journal import JournalWriter

Json = dict[str, Any]
CLAUDE = {"user-agent": "claude-cli/2.1.329 (external, cli)"}
TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in ("Read", "Write", "Edit", "Bash")]


def user(*content: str | Json) -> Json:
    return {"role": "user", "content": [text(c) if isinstance(c, str) else c for c in content]}


def assistant(*content: str | Json) -> Json:
    return {"role": "assistant", "content": [text(c) if isinstance(c, str) else c for c in content]}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def use(id: str, name: str, **input: Any) -> Json:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def result(id: str, content: str, **fields: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **fields}


class Relay:
    """Writes exchanges into a journal as the relay would. Each `call` is one whole exchange."""

    def __init__(self, folder: Path) -> None:
        self.writer = JournalWriter.open(folder, Journal())

    def close(self) -> None:
        self.writer.close()

    def call(
        self,
        messages: list[Json],
        reply: Json | None,
        *,
        session: str | None = None,
        run: str | None = None,
        **body: Any,
    ) -> int:
        """One call: `reply` is the assistant's message, None a 529. `session` makes it Claude Code's."""
        number = self.begin(messages, session=session, run=run, **body)
        self.finish(number, reply)
        return number

    def begin(
        self,
        messages: list[Json],
        *,
        session: str | None = None,
        run: str | None = None,
        headers: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        **body: Any,
    ) -> int:
        number = self.writer.next_exchange()
        headers = {"content-type": "application/json", **(headers or {})}
        if session is not None:
            headers |= CLAUDE | {"x-claude-code-session-id": session}
        data = json.dumps({"model": "claude-opus-4-6", "tools": TOOLS, "messages": messages, **body}).encode()
        lines = [
            "POST /v1/messages HTTP/1.1",
            *(f"{k}: {v}" for k, v in headers.items()),
            f"content-length: {len(data)}",
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        opened = Opened(
            head, "/v1/messages", "anthropic", "http://127.0.0.1:1", "127.0.0.1:2", run=run, tags=tags or {}
        )
        self.writer.append(Kind.OPENED, number, msgspec.msgpack.encode(opened))
        self.writer.append(Kind.REQUEST_BYTES, number, data)
        assert self.writer.commit()
        return number

    def finish(self, number: int, reply: Json | None, *, outcome: Outcome = Outcome.COMPLETE) -> None:
        status = "200 OK" if reply is not None else "529 Overloaded"
        body: Json = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        if reply is not None:
            usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 3}
            body = {
                "id": f"msg_{number}", "type": "message", "model": "claude-opus-4-6", "role": "assistant",
                "content": reply["content"], "stop_reason": "end_turn", "usage": usage,
            }  # fmt: skip
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        self.writer.append(Kind.RESPONSE_HEAD, number, head.encode())
        self.writer.append(Kind.RESPONSE_BYTES, number, data)
        self.writer.append(Kind.ENDED, number, msgspec.msgpack.encode(Ended(outcome)))
        assert self.writer.commit()
