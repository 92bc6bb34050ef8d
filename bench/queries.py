"""How fast both kinds of databases take rows in and answer, against the same in plain SQL.

    python bench/queries.py [--messages 1000,100000] [--engines sqlite,postgres] [--times 20]

First the ingest: a journal of short coding sessions goes into a fresh database; then the very rows that it made go into
another one by plain INSERTs of the driver (sqlite3, asyncpg), as many transactions. Then the questions of people: a
database is filled by bulk SQL with sessions of 100 messages, 50 calls and 25 file events, and each question is asked
many times, by ocproxy and by hand-written SQL over one open connection, in turns. `ratio` is ocproxy's median to that
of plain SQL. PostgreSQL is a real server of this run, with fsync on. 1,000,000 messages take half an hour and some GB.
No network.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ocproxy import query  # noqa: E402  # beside the tests, whose server is used
from ocproxy.ingest.loop import Ingest  # noqa: E402
from ocproxy.query.search import Wanted, search  # noqa: E402
from ocproxy.store import migrations, schema  # noqa: E402
from ocproxy.store import search as search_index  # noqa: E402
from ocproxy.store.base import Store, backend_of, open_store  # noqa: E402
from tests.support.conversations import Json, Relay, assistant, result, use, user  # noqa: E402
from tests.support.postgres import Server, own_server  # noqa: E402

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PER_SESSION, CALLS, EVENTS = 100, 50, 25  # messages of a session, its calls and file events
LISTED, FOUND, DAYS = 50, 20, 30
AT_ONCE = 5_000  # rows of one transaction of the filling
WORDS = "def return self value for in range if else import path line text read write test assert None True list".split()
Row = dict[str, Any]


# --- the two drivers, for what is done without ocproxy


class Plain:
    """One open connection. Rows go in as dictionaries, as the models of ocproxy have them."""

    async def open(self, url: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def store(self, parts: list[tuple[str, list[Row]]]) -> None:
        """Rows of tables, in one transaction."""
        raise NotImplementedError

    async def ask(self, statement: str, *given: Any) -> int:
        """How many rows there were; `?` stands for what is given."""
        raise NotImplementedError


class PlainSqlite(Plain):
    async def open(self, url: str) -> None:
        self.connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            self.connection.execute(f"PRAGMA {pragma}")

    async def close(self) -> None:
        self.connection.close()

    async def store(self, parts: list[tuple[str, list[Row]]]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        for table, rows in parts:
            names = list(rows[0])
            marks = ", ".join("?" * len(names))
            values = [[_for_sqlite(row[name]) for name in names] for row in rows]
            self.connection.executemany(f"INSERT INTO {table} ({', '.join(_quoted(names))}) VALUES ({marks})", values)
        self.connection.execute("COMMIT")

    async def ask(self, statement: str, *given: Any) -> int:
        return len(self.connection.execute(statement, [_for_sqlite(value) for value in given]).fetchall())


class PlainPostgres(Plain):
    async def open(self, url: str) -> None:
        self.connection = await asyncpg.connect(url)

    async def close(self) -> None:
        await self.connection.close()

    async def store(self, parts: list[tuple[str, list[Row]]]) -> None:
        async with self.connection.transaction():
            for table, rows in parts:
                names = list(rows[0])
                marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
                statement = f"INSERT INTO {table} ({', '.join(_quoted(names))}) VALUES ({marks})"
                await self.connection.executemany(statement, [[row[name] for name in names] for row in rows])

    async def ask(self, statement: str, *given: Any) -> int:
        numbers = itertools.count(1)
        numbered = "".join(f"${next(numbers)}" if part == "?" else part for part in statement)
        return len(await self.connection.fetch(numbered, *given))


def _for_sqlite(value: Any) -> Any:
    return value.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(value, datetime) else value


def _quoted(names: list[str]) -> list[str]:
    return [f'"{name}"' for name in names]


DRIVERS: dict[str, type[Plain]] = {"sqlite": PlainSqlite, "postgres": PlainPostgres}


class Databases:
    """Fresh databases of one kind, migrated."""

    def __init__(self, engine: str, folder: Path, server: Server | None) -> None:
        self.engine = engine
        self._folder = folder
        self._server = server
        self._numbers = itertools.count()

    def fresh(self) -> str:
        name = f"bench_{next(self._numbers)}"
        url = f"sqlite:///{self._folder / name}.db"
        if self._server is not None:
            url = self._server.url(name)
            code = "import asyncio, asyncpg, sys\n"
            code += "async def run():\n    c = await asyncpg.connect(sys.argv[1])\n    await c.execute(sys.argv[2])\n"
            command = [sys.executable, "-c", code + "asyncio.run(run())", self._server.url(), f"CREATE DATABASE {name}"]
            subprocess.run(command, check=True)
        migrations.upgrade(url)
        return url


# --- the ingest


def record(folder: Path, sessions: int, turns: int) -> int:
    """Sessions that write files, run commands and read; returns the calls."""
    dice, relay = random.Random(1), Relay(folder / "worker-0")
    for number in range(sessions):
        history: list[Json] = [user(f"task {number}: make the tests pass")]
        for turn in range(turns):
            id, file = f"toolu_{number:08}_{turn:04}", f"/w/{number}/file_{turn % 5}.py"
            tool, given = [
                ("Write", {"file_path": file, "content": _text(dice, 800)}),
                ("Bash", {"command": f"pytest -k test_{turn}"}),
                ("Read", {"file_path": file}),
            ][turn % 3]  # fmt: skip
            reply = assistant(f"step {turn}", use(id, tool, **given))
            relay.call(history, reply, session=f"session-{number}")
            history += [reply, user(result(id, _text(dice, 1200)))]
    relay.close()
    return sessions * turns


def _text(dice: random.Random, size: int) -> str:
    words: list[str] = []
    while size > 0:
        word = dice.choice(WORDS) if dice.random() < 0.6 else f"name_{dice.randrange(10**6)}"
        words.append(word + ("\n" if dice.random() < 0.12 else " "))
        size -= len(words[-1])
    return "".join(words)


async def measure_ingest(databases: Databases, journal: Path, calls: int) -> None:
    url = databases.fresh()
    async with await open_store(url) as store:
        cpu, began = time.process_time(), time.perf_counter()
        assert await Ingest(store, journal).catch_up() == calls
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    stored = await asyncio.to_thread(backend_of(url).read, url, _all_rows) or []
    rows = sum(len(rows) for _, rows in stored)
    plain = DRIVERS[databases.engine]()
    await plain.open(databases.fresh())
    pieces = _pieces(stored, max(calls // 50, 1))
    plain_cpu, began = time.process_time(), time.perf_counter()
    for piece in pieces:
        await plain.store(piece)
    plain_took, plain_cpu = time.perf_counter() - began, time.process_time() - plain_cpu
    await plain.close()
    print(
        f"| {databases.engine} | {calls / took:,.0f} | {rows / took:,.0f} | {cpu / calls * 1000:.2f} "
        f"| {rows / plain_took:,.0f} | {plain_cpu / calls * 1000:.2f} | {cpu / plain_cpu:.1f} |",
        flush=True,
    )


# In an order that satisfies the foreign keys; what ocproxy keeps for itself (positions, turns) is not among them.
_TABLES = (
    schema.BLOBS, schema.PROMPTS, schema.SESSIONS, schema.MESSAGES, schema.TOOL_USES, schema.FILE_EVENTS,
    schema.PENDING_CHANGES, schema.CALLS, schema.AGENT_SESSIONS, schema.CHANGES,
)  # fmt: skip


def _pieces(stored: list[tuple[str, list[Row]]], count: int) -> list[list[tuple[str, list[Row]]]]:
    """The rows in so many transactions, those of a session in one, what has no session in the first."""
    sessions = sorted({row["id"] for table, rows in stored if table == "opencode_sessions" for row in rows})
    place = {id: number % count for number, id in enumerate(sessions)}
    pieces: list[list[tuple[str, list[Row]]]] = [[] for _ in range(count)]
    for table, rows in stored:
        parts: list[list[Row]] = [[] for _ in range(count)]
        for row in rows:
            parts[place.get(row["id"] if table == "opencode_sessions" else row.get("session_id"), 0)].append(row)
        for piece, part in zip(pieces, parts, strict=True):
            piece += [(table, part)] if part else []
    return pieces


def _all_rows(connection: sa.Connection) -> list[tuple[str, list[Row]]]:
    """As the driver takes them: JSON as text, moments with their zone."""
    found = []
    for table in _TABLES:
        rows = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
        for row, column in itertools.product(rows, table.columns):
            value = row[column.name]
            if isinstance(value, list | dict):
                row[column.name] = json.dumps(value)
        found.append((table.name, rows))
    return found


# --- the questions


def made(messages: int) -> Iterator[list[tuple[str, list[Row]]]]:
    """The rows of a database, some sessions at a time."""
    dice = random.Random(2)
    sessions = max(messages // PER_SESSION, 1)
    step = timedelta(days=DAYS * 3) / max(messages, 1)
    parts: dict[str, list[Row]] = {}
    for number in range(sessions):
        at = BEGIN + number * PER_SESSION * step
        for table, rows in _session(f"s{number:08}", at, step, dice):
            parts.setdefault(table, []).extend(rows)
        if len(parts["opencode_messages"]) >= AT_ONCE:
            yield list(parts.items())
            parts = {}
    if parts:
        yield list(parts.items())


def _session(id: str, at: datetime, step: timedelta, dice: random.Random) -> list[tuple[str, list[Row]]]:
    agent, model = dice.choice([("claude-code", "claude-opus-4-6"), ("codex", "gpt-5"), ("opencode", "gemini-3-pro")])
    ended = at + PER_SESSION * step
    session = {
        "id": id, "opencode_id": f"own-{id}", "agent_name": agent, "plugin": agent,
        "workdir": f"/w/{dice.randrange(50)}", "title": f"Session {id}", "model": model,
        "created_at": at, "updated_at": ended,
    }  # fmt: skip
    messages: list[Row] = []
    for seq in range(PER_SESSION):
        content = _text(dice, min(int(dice.paretovariate(1.3) * 150), 20_000))
        content += f"needle_{dice.randrange(2000)}" if seq % 10 == 0 else ""
        messages.append({
            "id": f"m{id}{seq:04}", "session_id": id, "role": ("user", "assistant")[seq % 2], "content": content,
            "parts": json.dumps([{"type": "text", "text": content}]), "created_at": at + seq * step,
            "parent_id": f"m{id}{seq - 1:04}" if seq else None, "depth": seq, "key": f"k{id}{seq:04}",
            "history": f"h{id}{seq:04}", "call_id": f"c{id}{seq // 2:04}", "seq": seq,
        })  # fmt: skip
    calls = [_call(f"c{id}{n:04}", n, id, (agent, model), at + 2 * n * step, dice) for n in range(CALLS)]
    events: list[Row] = [
        {
            "id": f"e{id}{n:04}", "session_id": id, "message_id": messages[4 * n + 1]["id"], "event_type": "edit",
            "file_path": f"/w/src/module_{dice.randrange(1000)}.py", "diff": _text(dice, 500),
            "created_at": at + (4 * n + 1) * step, "updated_at": at + (4 * n + 1) * step, "tool_use_id": f"t{n}",
            "tool_name": "Edit", "ordinal": n, "status": "applied", "certainty": "exact",
        }
        for n in range(EVENTS)
    ]  # fmt: skip
    tokens = ("input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning")
    heard = {
        "session_id": id, "agent": agent, "backend": agent, "status": "idle", "calls": CALLS, "cost": 1,
        "priced_calls": 1, "unpriced_calls": 0, **{f"{name}_tokens": 1 for name in tokens},
        "started_at": at, "last_call_at": ended,
    }  # fmt: skip
    return [
        ("opencode_sessions", [session]), ("opencode_messages", messages), ("opencode_file_events", events),
        ("calls", calls), ("agent_sessions", [heard]),
    ]  # fmt: skip


def _call(id: str, number: int, session: str, who: tuple[str, str], at: datetime, dice: random.Random) -> Row:
    return {
        "id": id, "journal": "j", "exchange": number, "position": "0000000001:64", "session_id": session,
        "agent_name": who[0], "model": who[1], "protocol": "p", "upstream": "u", "method": "POST", "path": "/v1",
        "kind": "main" if dice.random() < 0.9 else "title", "status": 200, "outcome": "complete", "detail": "",
        "started_at": at, "ended_at": at + timedelta(seconds=9), "request_bytes": 90_000, "response_bytes": 4_000,
        "problems": "[]", "input_tokens": dice.randrange(20_000), "output_tokens": dice.randrange(2_000),
        "cache_read_tokens": 50_000, "cache_write_tokens": 2_000, "cost": dice.randrange(10**9),
    }  # fmt: skip


async def fill(url: str, plain: Plain, messages: int) -> None:
    is_postgres = backend_of(url).dialect == "postgresql"

    def drop(connection: sa.Connection) -> None:
        for name in ("search_messages", "search_file_events"):
            connection.execute(sa.text(f"DROP INDEX {name}"))

    if is_postgres:  # made behind the rows it takes a third of the time
        await asyncio.to_thread(backend_of(url).migrate, url, drop)
    for parts in made(messages):
        await plain.store(parts)
    if is_postgres:
        await asyncio.to_thread(backend_of(url).migrate, url, search_index.index)
        await plain.ask("SELECT 1")
        await plain.connection.execute("VACUUM ANALYZE")  # type: ignore[attr-defined]
    else:
        await plain.ask("ANALYZE")


_SESSIONS = """
SELECT s.*, c.calls, c.cost, c.input, c.output, m.messages, e.events
FROM (SELECT * FROM opencode_sessions ORDER BY updated_at DESC, id LIMIT 50) s
LEFT JOIN (SELECT session_id, count(*) AS calls, sum(cost) AS cost, sum(input_tokens) AS input,
           sum(output_tokens) AS output FROM calls
           WHERE session_id IN (SELECT id FROM opencode_sessions ORDER BY updated_at DESC, id LIMIT 50)
           GROUP BY session_id) c ON c.session_id = s.id
LEFT JOIN (SELECT session_id, count(*) AS messages FROM opencode_messages
           WHERE session_id IN (SELECT id FROM opencode_sessions ORDER BY updated_at DESC, id LIMIT 50)
           GROUP BY session_id) m ON m.session_id = s.id
LEFT JOIN (SELECT session_id, count(*) AS events FROM opencode_file_events
           WHERE session_id IN (SELECT id FROM opencode_sessions ORDER BY updated_at DESC, id LIMIT 50)
           GROUP BY session_id) e ON e.session_id = s.id
ORDER BY s.updated_at DESC, s.id
"""
_PAGE = (
    "SELECT * FROM opencode_sessions WHERE id = ?",
    "SELECT * FROM agent_sessions WHERE session_id = ?",
    "SELECT * FROM opencode_messages WHERE session_id = ? ORDER BY seq, created_at",
    "SELECT * FROM opencode_file_events WHERE session_id = ? ORDER BY ordinal",
    "SELECT * FROM calls WHERE session_id = ? ORDER BY started_at, id",
)
_DAY = {"sqlite": "date(started_at)", "postgres": "(started_at AT TIME ZONE 'UTC')::date"}
_USAGE = """
SELECT {day} AS day, kind, count(*), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
       sum(cache_write_tokens), sum(cost) FROM calls WHERE started_at >= ? GROUP BY 1, 2 ORDER BY 1
"""
_SEARCH = {
    "sqlite": "SELECT m.id, m.session_id, m.created_at, m.role, m.content FROM search_index i"
    " JOIN search_entries e ON e.id = i.rowid AND e.what = 'message' JOIN opencode_messages m ON m.id = e.row_id"
    " WHERE search_index MATCH ? AND m.content LIKE ? ORDER BY m.created_at DESC LIMIT 21",
    "postgres": "SELECT id, session_id, created_at, role, content FROM opencode_messages"
    " WHERE content ILIKE ? ORDER BY created_at DESC LIMIT 21",
}

Question = tuple[str, Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]


def questions(engine: str, store: Store, plain: Plain, messages: int) -> list[Question]:
    """What is asked, how ocproxy is asked for it, and how the database is."""
    dice = random.Random(3)
    since = BEGIN + timedelta(days=DAYS * 2)

    def some() -> str:
        return f"s{dice.randrange(max(messages // PER_SESSION, 1)):08}"

    async def page() -> None:
        id = some()
        for statement in _PAGE:
            await plain.ask(statement, id)

    async def found(word: str) -> None:
        trigrams = " AND ".join(f'"{word[at : at + 3]}"' for at in range(len(word) - 2))
        await plain.ask(_SEARCH[engine], *([trigrams] if engine == "sqlite" else []), f"%{word}%")

    usage = _USAGE.format(day=_DAY[engine])
    asked: list[Question] = [
        (f"list of {LISTED} sessions", lambda: query.sessions(store, limit=LISTED), lambda: plain.ask(_SESSIONS)),
        ("page of a session", lambda: query.show(store, some()), page),
        (
            f"usage of {DAYS} days, by day",
            lambda: query.usage(store, "day", since=since, zone=UTC),
            lambda: plain.ask(usage, since),
        ),
    ]
    for what, word in (("a rare word", "needle_777"), ("a common word", "import")):
        ours = Wanted(word, limit=FOUND)
        asked.append((f"search: {what}", lambda ours=ours: search(store, ours), lambda word=word: found(word)))  # type: ignore[misc]
    return asked


async def measure_questions(databases: Databases, messages: int, times: int) -> None:
    url = databases.fresh()
    plain = DRIVERS[databases.engine]()
    await plain.open(url)
    began = time.perf_counter()
    await fill(url, plain, messages)
    print(f"({databases.engine}: filled in {time.perf_counter() - began:.0f} s)", file=sys.stderr, flush=True)
    async with await open_store(url) as store:
        for name, ours, theirs in questions(databases.engine, store, plain, messages):
            took: tuple[list[float], list[float]] = ([], [])
            for number in range(times + 1):
                for into, ask in zip(took, (ours, theirs), strict=True):
                    began = time.perf_counter()
                    await ask()
                    if number:  # the first fills caches
                        into.append((time.perf_counter() - began) * 1000)
            middles = [statistics.median(one) for one in took]
            highs = [sorted(one)[int(len(one) * 0.95)] for one in took]
            print(
                f"| {messages:,} | {databases.engine} | {name} | {middles[0]:.1f} | {highs[0]:.1f} | {middles[1]:.1f} "
                f"| {highs[1]:.1f} | {middles[0] / middles[1]:.1f} |",
                flush=True,
            )
    await plain.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", default="1000,100000")
    parser.add_argument("--engines", default="sqlite,postgres")
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    engines, sizes = options.engines.split(","), [int(size) for size in options.messages.split(",")]
    durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(own_server(**durable)) if "postgres" in engines else None
        kinds = [Databases(engine, folder, server if engine == "postgres" else None) for engine in engines]
        calls = record(folder / "journal", 40, 15)
        print("| ingest | calls/s | rows/s | CPU ms a call | plain rows/s | plain CPU ms a call | ratio by CPU |")
        print("|---|---|---|---|---|---|---|")
        for databases in kinds:
            asyncio.run(measure_ingest(databases, folder / "journal", calls))
        print("\n| messages | engine | question | median ms | p95 ms | plain ms | plain p95 ms | ratio |")
        print("|---|---|---|---|---|---|---|---|")
        for size, databases in itertools.product(sizes, kinds):
            asyncio.run(measure_questions(databases, size, options.times))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\nCPUs: {os.cpu_count()}; load average at the end: {load}")


if __name__ == "__main__":
    main()
