"""What the search index costs, and how long questions take.

    python bench/search.py [--messages 100000] [--url postgresql://…]

Fills a fresh database with messages of sizes as agents have them (most short, some of many kilobytes) and with commands
and reads of files, and does so again without the index: the difference is its price in time and bytes. Then asks each
question many times and prints the median and the 95th percentile in milliseconds. Without --url: SQLite in a temporary
folder. A PostgreSQL must be empty, and is left with what was stored. No network.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ocproxy.model import Batch, EventType, FileEvent, MessageRow, SessionRow, Status
from ocproxy.query.search import Wanted, search
from ocproxy.store import migrations
from ocproxy.store.base import Store, backend_of, open_store

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = "def return self value for in range if else import path line text read write test assert None True list".split()
PER_SESSION, PER_COMMIT = 200, 100
QUESTIONS = {
    "in one message": "needle_31337",
    "in a few": "needle_7",
    "in every third": "import",
    "two common words": "assert range",
    "a phrase of common words": '"for in range"',
    "code": "name_123(name_4",
    "a path": "src/module_77.py",
    "a command": "pytest -k test_77",
    "two characters": "if",
    "two characters, nowhere": "q#",
    "CJK, two characters": "数据",
    "nothing": "there_is_no_such_thing",
}


def text(dice: random.Random) -> str:
    size = min(int(dice.paretovariate(1.1) * 300), 40_000)
    words: list[str] = []
    while size > 0:
        word = dice.choice(WORDS) if dice.random() < 0.6 else f"name_{dice.randrange(10**6)}"
        if dice.random() < 0.001:
            word = f"needle_{dice.randrange(10)}"
        words.append(word + ("\n" if dice.random() < 0.12 else " "))
        size -= len(words[-1])
    return "".join(words)


def batches(count: int) -> Iterator[Batch]:
    dice = random.Random(1)
    for first in range(0, count, PER_COMMIT):
        id = f"session{first // PER_SESSION:06}"
        at = BEGIN + timedelta(seconds=first)
        batch = Batch(sessions=[SessionRow(id, id, dice.choice(["claude-code", "codex"]), "/work", at, at)])
        for number in range(first, min(first + PER_COMMIT, count)):
            batch.messages.append(message(number, id, dice, count))
            batch.file_events.append(event(number, id, batch.messages[-1].id, dice))
        yield batch


def message(number: int, session: str, dice: random.Random, count: int) -> MessageRow:
    content = text(dice) + (" needle_31337" if number == count // 3 else "") + (" 数据库" if number % 5000 == 7 else "")
    at = BEGIN + timedelta(seconds=number)
    parts: list[Any] = [{"type": "text", "text": content}]
    key = f"{number:016x}"
    return MessageRow(f"m{key}", session, "user", content, parts, at, None, number % PER_SESSION, key, key, key, number)


def event(number: int, session: str, message_id: str, dice: random.Random) -> FileEvent:
    at = BEGIN + timedelta(seconds=number)
    some = dice.randrange(1000)
    known: dict[str, Any] = {"file_path": f"/work/src/module_{some}.py"}
    if number % 3 == 0:
        known = {"command": f"cd /work && pytest -k test_{some}"}
    kind = EventType.BASH if "command" in known else EventType.READ
    id = f"e{number:016x}"
    return FileEvent(id, session, message_id, id, "Tool", kind, number % PER_SESSION, at, at, Status.APPLIED, **known)


async def fill(url: str, count: int) -> float:
    made = list(batches(count))
    async with await open_store(url) as store:
        began = time.perf_counter()
        for batch in made:
            await store.commit(batch)
        return time.perf_counter() - began


def size(url: str) -> int:
    """Of the database in bytes."""

    def ask(connection: sa.Connection) -> int:
        if connection.dialect.name == "postgresql":
            return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar() or 0)
        pages = connection.execute(sa.text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))
        return int(pages.scalar() or 0)

    return backend_of(url).read(url, ask) or 0


async def drop_index(url: str) -> None:
    drops = [f"DROP INDEX IF EXISTS {name}" for name in ("search_messages", "search_file_events")]
    if backend_of(url).dialect == "sqlite":
        tables, events = ("opencode_messages", "opencode_file_events"), ("insert", "update", "delete")
        drops = [f"DROP TRIGGER search_{table}_{event}" for table in tables for event in events]

    def run(connection: sa.Connection) -> None:
        for statement in drops:
            connection.execute(sa.text(statement))

    await asyncio.to_thread(backend_of(url).migrate, url, run)


async def empty(url: str) -> None:
    file = backend_of(url).file(url)
    if file is None:
        await asyncio.to_thread(migrations.downgrade, url, "base")
    for old in file.parent.glob(f"{file.name}*") if file else ():
        old.unlink()
    await asyncio.to_thread(migrations.upgrade, url)


async def ask(store: Store, question: str, times: int) -> tuple[list[float], int]:
    took = []
    found: dict[str, Any] = {}
    for _ in range(times):
        began = time.perf_counter()
        found = await search(store, Wanted(question))
        took.append((time.perf_counter() - began) * 1000)
    return took, len(found["hits"])


async def measure(url: str, count: int, times: int) -> None:
    await empty(url)
    await drop_index(url)
    plain = await fill(url, count)
    plain_bytes = await asyncio.to_thread(size, url)
    await empty(url)
    before = await asyncio.to_thread(size, url)
    indexed = await fill(url, count)
    indexed_bytes = await asyncio.to_thread(size, url)
    print(f"{count:,} messages and as many file events, {backend_of(url).dialect}\n")
    print("| | seconds | rows/s | MB |\n|---|---|---|---|")
    for name, seconds, stored in (("without", plain, plain_bytes), ("with the index", indexed, indexed_bytes)):
        print(f"| {name} | {seconds:.1f} | {2 * count / seconds:,.0f} | {stored / 1e6:.0f} |")
    print(f"\n(an empty database: {before / 1e6:.1f} MB)\n")
    print("| question | hits shown | median ms | p95 ms |\n|---|---|---|---|")
    async with await open_store(url) as store:
        for name, question in QUESTIONS.items():
            took, hits = await ask(store, question, times)
            middle, high = statistics.median(took), sorted(took)[int(times * 0.95)]
            print(f"| {name}: `{question}` | {hits} | {middle:.1f} | {high:.1f} |")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--url", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        url = options.url or f"sqlite:///{Path(scratch) / 'ocproxy.db'}"
        await measure(url, options.messages, options.times)


if __name__ == "__main__":
    asyncio.run(main())
