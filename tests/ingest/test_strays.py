"""Titles that Codex asks for in a thread of their own belong to the session that began with the prompt they carry.

Headers and words are those that its terminal interface sent (0.169.0), made short.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.config import Journal
from ocproxy.exchange import Ended, Kind, Opened, Outcome
from ocproxy.journal import JournalWriter
from tests.ingest.test_linking import told

pytestmark = pytest.mark.anyio
PROMPT = "Say hello to the world please"
Json = dict[str, Any]


class Codex:
    """Writes calls of Codex into a journal, whole or begun and finished later."""

    def __init__(self, tmp_path: Path) -> None:
        self.writer = JournalWriter.open(tmp_path / "journal" / "worker-0", Journal())

    def begin(self, thread: str, words: str, source: str = "user", **body: Any) -> int:
        number = self.writer.next_exchange()
        turn = json.dumps({"thread_source": source, "request_kind": "turn"})
        message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
        data = json.dumps({"model": "gpt-5.5", "input": [message], "stream": False, **body}).encode()
        lines = [
            "POST /v1/responses HTTP/1.1", "user-agent: codex_cli_rs/0.169.0 (Debian)", f"session-id: {thread}",
            f"thread-id: {thread}", f"x-codex-turn-metadata: {turn}", f"content-length: {len(data)}",
        ]  # fmt: skip
        opened = Opened("\r\n".join([*lines, "", ""]).encode(), "/v1/responses", "openai", "http://127.0.0.1:1", "c:2")
        self.writer.append(Kind.OPENED, number, msgspec.msgpack.encode(opened))
        self.writer.append(Kind.REQUEST_BYTES, number, data)
        assert self.writer.commit()
        return number

    def finish(self, number: int, text: str) -> None:
        item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
        usage = {"input_tokens": 10, "output_tokens": 5}
        reply = {"id": f"resp_{number}", "object": "response", "status": "completed", "output": [item], "usage": usage}
        data = json.dumps(reply).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        self.writer.append(Kind.RESPONSE_HEAD, number, head.encode())
        self.writer.append(Kind.RESPONSE_BYTES, number, data)
        self.writer.append(Kind.ENDED, number, msgspec.msgpack.encode(Ended(Outcome.COMPLETE)))
        assert self.writer.commit()

    def title(self, prompt: str = PROMPT) -> int:
        asked = f"Generate a concise, single-line task title.\n\nUser prompt:\n{prompt}"
        return self.begin("own-thread", asked, "thread_title", text={"format": {"type": "json_schema", "name": "t"}})


@pytest.mark.parametrize("title_first", [True, False])
async def test_a_title_is_filed_under_the_session_that_began_with_its_prompt(tmp_path: Path, title_first: bool) -> None:
    codex = Codex(tmp_path)
    numbers = {"main": codex.begin("thread", PROMPT), "title": codex.title()}
    for which in sorted(numbers, reverse=title_first):
        codex.finish(numbers[which], '{"title":"Say hello"}' if which == "title" else "Hello!")
    codex.writer.close()
    found = await told(tmp_path)
    (session,) = found["sessions"]
    assert (session.title, session.opencode_id) == ("Say hello", "thread")
    assert {(call.kind, call.session_id) for call in found["calls"]} == {("main", session.id), ("title", session.id)}
    assert [message.content for message in found["messages"][0]] == [PROMPT, "Hello!"]


async def test_a_title_of_another_prompt_makes_no_session_and_names_none(tmp_path: Path) -> None:
    codex = Codex(tmp_path)
    codex.finish(codex.title("Something else"), '{"title":"Else"}')
    codex.finish(codex.begin("thread", PROMPT), "Hello!")
    codex.writer.close()
    found = await told(tmp_path)
    assert [session.title for session in found["sessions"]] == [None]
    assert [call.session_id for call in found["calls"] if call.kind == "title"] == [None]


async def test_each_of_two_sessions_with_one_prompt_gets_its_own_title(tmp_path: Path) -> None:
    codex = Codex(tmp_path)
    for number in (1, 2):
        codex.finish(codex.begin(f"thread-{number}", PROMPT), "Hello!")
        codex.finish(codex.title(), json.dumps({"title": f"Title {number}"}))
    codex.writer.close()
    found = await told(tmp_path)
    assert [session.title for session in found["sessions"]] == ["Title 1", "Title 2"]
