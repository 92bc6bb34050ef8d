"""How fast journals become rows, and what a long session costs the database.

    python bench/ingest.py [--turns 200] [--request-kb 500]

Writes the journal of one coding session as the relay would: every turn resends the whole history, until requests have
the size asked for; then ingests it into a fresh SQLite database. Prints MB/s of journal, calls/s, and a table of bytes:
sent by the agent, new in the conversation, journal as written, journal sealed, database. No network.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from ocproxy.config import Journal
from ocproxy.exchange import Ended, Kind, Opened, Outcome
from ocproxy.ingest.loop import Ingest
from ocproxy.journal import JournalWriter, keeping
from ocproxy.store.base import open_store

Turn = tuple[bytes, bytes]
HEAD = (
    b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:4141\r\n"
    b"user-agent: claude-cli/2.1.329 (external, cli)\r\n"
    b"x-claude-code-session-id: 7d1f7d9e-0000-4000-8000-000000000001\r\nanthropic-version: 2023-06-01\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
REPLY_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = "def return self value for in range if else import path line text read write test assert None True list".split()


def source(rng: random.Random, size: int) -> str:
    """Text of `size` characters that looks like code: compresses like it, and no two pieces are alike."""
    words: list[str] = []
    length = 0
    while length < size:
        word = rng.choice(WORDS) if rng.random() < 0.6 else f"name_{rng.randrange(10**6)}"
        words.append(word + ("\n" if rng.random() < 0.12 else " "))
        length += len(words[-1])
    return "".join(words)[:size]


def session(turns: int, request_bytes: int) -> tuple[list[Turn], int]:
    """(request body, response body) of every turn, and the bytes of the conversation itself."""
    rng = random.Random(1)
    per_turn = request_bytes // turns
    system = source(rng, 20_000)
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "Fix the tests."}]}]
    out: list[Turn] = []
    for turn in range(turns):
        body = {"model": "claude-opus-4-6", "stream": True, "max_tokens": 32000, "system": system, "messages": messages}
        use: dict[str, Any] = {
            "type": "tool_use",
            "id": f"toolu_{turn:06d}",
            "name": "Read",
            "input": {"file_path": f"/w/f{turn}.py"},
        }
        out.append((json.dumps(body).encode(), stream(turn, use)))
        lines = source(rng, per_turn).splitlines()
        text = "\n".join(f"{number}\t{line}" for number, line in enumerate(lines, 1))
        messages += [
            {"role": "assistant", "content": [{"type": "text", "text": f"Reading file {turn}."}, use]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use["id"], "content": text}]},
        ]  # fmt: skip
    return out, len(json.dumps(messages)) + len(system)


def stream(turn: int, use: dict[str, Any]) -> bytes:
    """The reply as an event stream, in chunks as they cross the wire."""
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 1000 * turn}
    message = {
        "id": f"msg_{turn}",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-6",
        "content": [],
        "usage": usage,
    }
    start = {key: use[key] for key in ("type", "id", "name")} | {"input": {}}
    delta = {"type": "input_json_delta", "partial_json": json.dumps(use["input"])}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"Reading file {turn}."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": start},
        {"type": "content_block_delta", "index": 1, "delta": delta},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
    ]
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    return b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"


def write_journal(folder: Path, turns: list[Turn]) -> None:
    writer = JournalWriter.open(folder, Journal())
    for request, response in turns:
        number = writer.next_exchange()
        opened = Opened(HEAD % len(request), "/v1/messages?beta=true", "anthropic", "http://127.0.0.1", "127.0.0.1:1")
        writer.append(Kind.OPENED, number, msgspec.msgpack.encode(opened))
        writer.append(Kind.REQUEST_BYTES, number, request)
        writer.append(Kind.RESPONSE_HEAD, number, REPLY_HEAD)
        for start in range(0, len(response), 200):
            writer.append(Kind.RESPONSE_BYTES, number, response[start : start + 200])
        writer.append(Kind.ENDED, number, msgspec.msgpack.encode(Ended(Outcome.COMPLETE)))
        assert writer.commit()
    writer.close()


def size_of(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern))


async def measure(turns: int, request_kb: int) -> None:
    made, conversation = session(turns, request_kb * 1024)
    sent = sum(len(request) for request, _ in made)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_journal(root / "journal" / "worker-0", made)
        journal = size_of(root / "journal", "*.seg")
        async with await open_store(f"sqlite:///{root / 'ocproxy.db'}") as store:
            ingest = Ingest(store, root / "journal")
            began = time.perf_counter()
            calls = await ingest.catch_up()
            took = time.perf_counter() - began
        database = size_of(root, "ocproxy.db*")
        sealed = seal(root / "journal" / "worker-0")
    megabytes = journal / 1e6
    print(f"{calls} calls, {megabytes:.1f} MB of journal in {took:.2f} s: {megabytes / took:.0f} MB/s, ", end="")
    print(f"{calls / took:.0f} calls/s")
    print()
    print(f"| {turns} turns, requests up to {request_kb} KB | bytes | x new |")
    print("|---|---|---|")
    rows = [("sent by the agent", sent), ("new in the conversation", conversation), ("journal, live", journal)]
    for name, size in [*rows, ("journal, sealed", sealed), ("database", database)]:
        print(f"| {name} | {size:,} | {size / conversation:.2f} |")


def seal(folder: Path) -> int:
    JournalWriter.open(folder, Journal()).close()  # a new segment, so that the former one is no longer live
    keeping.compress_sealed(folder)
    return size_of(folder, "*.zst")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--request-kb", type=int, default=500)
    options = parser.parse_args()
    asyncio.run(measure(options.turns, options.request_kb))
