"""Tokens and money of many calls: sums by the database, days of a time zone, and calls that are priced anew."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ocproxy import query
from ocproxy.cli import app
from ocproxy.config import Config, Price
from ocproxy.errors import NotFound
from ocproxy.model import Batch, CallRow, SessionRow
from ocproxy.service.reprice import reprice
from ocproxy.store import migrations
from ocproxy.store.base import CallCost, Store, open_store
from tests.support.engines import Engine, sqlite_file

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with await open_store(url) as store:
        yield store


def session(id: str, workdir: str, **fields: Any) -> SessionRow:
    return SessionRow(id, f"own-{id}", "claude-code", workdir, NOON, NOON, **fields)


def call(id: str, at: datetime = NOON, session_id: str | None = "s1", **fields: Any) -> CallRow:
    known: dict[str, Any] = {
        "agent_name": "claude-code", "kind": "main", "status": 200, "outcome": "complete", "model": "claude-opus-4-6",
        "input_tokens": 100, "output_tokens": 10, "billing": {"provider": "anthropic"}, "cost": 750_000,
    }  # fmt: skip
    return CallRow(
        id=id, journal="j", exchange=1, position="0000000001:64", session_id=session_id, run=None,
        protocol="anthropic-messages", upstream="anthropic", method="POST", path="/v1/messages", detail="",
        started_at=at, first_byte_at=None, ended_at=at, request_bytes=1, response_bytes=2, **{**known, **fields},
    )  # fmt: skip


NONE: dict[str, Any] = {"input_tokens": None, "output_tokens": None, "cost": None}
SESSIONS = [session("s1", "/one", title="First"), session("s2", "/two")]


async def fill(store: Store, *calls: CallRow) -> None:
    await store.commit(Batch(sessions=SESSIONS, calls=list(calls)))


def by_key(found: dict[str, Any], *names: str) -> dict[Any, Any]:
    return {row["key"]: tuple(row[name] for name in names) for row in found["rows"]}


async def test_sums_are_told_by_model_agent_session_and_folder(store: Store) -> None:
    await fill(
        store,
        call("a", cache_read_tokens=1_000, cache_write_tokens=30, cache_write_1h_tokens=20, reasoning_tokens=4),
        call("b", session_id="s2", model="gpt-5.4", agent_name="codex", cost=2_000_000),
        call("c", kind="title"),
        call("d", session_id=None, kind="title"),
    )
    names = "calls", "side_calls", "input_tokens", "cost_nanos"
    assert by_key(await query.usage(store, "model"), *names) == {
        "claude-opus-4-6": (3, 2, 300, 2_250_000),
        "gpt-5.4": (1, 0, 100, 2_000_000),
    }
    assert by_key(await query.usage(store, "agent"), *names)["codex"] == (1, 0, 100, 2_000_000)
    assert by_key(await query.usage(store, "workdir"), "calls") == {"/two": (1,), "/one": (2,), None: (1,)}
    found = await query.usage(store, "session")
    assert by_key(found, "calls", "title") == {"s2": (1, None), "s1": (2, "First"), None: (1, None)}
    assert found["total"]["cost_usd"] == 0.00425
    assert {name: found["total"][f"{name}_tokens"] for name in ("cache_read", "cache_write", "cache_write_1h")} == {
        "cache_read": 1_000, "cache_write": 30, "cache_write_1h": 20,
    }  # fmt: skip
    json.dumps(found)


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        (UTC, {"2026-11-21": (2,), "2026-11-22": (1,)}),
        (ZoneInfo("Europe/Berlin"), {"2026-11-21": (1,), "2026-11-22": (2,)}),
        (ZoneInfo("Asia/Kathmandu"), {"2026-11-21": (1,), "2026-11-22": (2,)}),  # 5:45 h ahead
        (ZoneInfo("America/New_York"), {"2026-11-21": (3,)}),
    ],
    ids=str,
)
async def test_days_are_those_of_the_time_zone(store: Store, zone: ZoneInfo, days: dict[str, Any]) -> None:
    at = datetime(2026, 11, 21, 18, 14, tzinfo=UTC)  # one minute before midnight in Kathmandu
    late = datetime(2026, 11, 21, 23, tzinfo=UTC)
    await fill(store, call("a", at), call("b", late), call("c", late + timedelta(hours=2)))
    assert by_key(await query.usage(store, "day", zone=zone), "calls") == days


async def test_a_time_is_from_its_beginning_to_before_its_end(store: Store) -> None:
    await fill(store, *[call(str(hour), NOON + timedelta(hours=hour)) for hour in range(4)])
    found = await query.usage(store, "model", since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3))
    assert found["total"]["calls"] == 2


async def test_calls_without_a_price_are_counted_and_their_models_named(store: Store) -> None:
    note = "no price is known for acme-7 at anthropic"
    await fill(
        store,
        call("a"),
        *[call(f"u{n}", model="acme-7", cost=None, price_note=note) for n in range(2)],
        call("n", **NONE, price_note="the reply says no usage"),
    )
    found = await query.usage(store, "model")
    assert found["total"]["cost_nanos"] == 750_000
    assert (found["total"]["unpriced"], found["total"]["without_usage"]) == (2, 1)
    assert found["unpriced"] == [{"model": "acme-7", "upstream": "anthropic", "note": note, "calls": 2}]
    assert by_key(found, "cost_usd") == {"claude-opus-4-6": (0.00075,), "acme-7": (None,)}, "never 0"
    (summary, _) = await store.summaries()
    assert (summary.cost, summary.unpriced) == (750_000, 2)
    assert (await query.sessions(store))[0]["cost_usd"] == 0.00075


async def test_tries_that_were_made_again_count_and_are_told_apart(store: Store) -> None:
    minute = timedelta(minutes=1)
    await fill(
        store,
        call("a", NOON, request_message_id="m", status=529, error="overloaded", **NONE),
        call("b", NOON + minute, request_message_id="m", outcome="upstream_disconnected", cost=500_000),
        call("c", NOON + 2 * minute, request_message_id="m"),
        call("d", NOON + 3 * minute, request_message_id="other", status=500, error="x", **NONE),
    )
    total = (await query.usage(store, "day", zone=UTC))["total"]
    assert {name: total[name] for name in ("calls", "retried", "failed", "cut_short", "cost_nanos")} == {
        "calls": 4, "retried": 2, "failed": 2, "cut_short": 1, "cost_nanos": 1_250_000,
    }  # fmt: skip
    assert (total["unpriced"], total["without_usage"]) == (0, 0)


async def test_tokens_that_were_only_counted_are_not_used(store: Store) -> None:
    await fill(store, call("a"), call("count", kind="count", input_tokens=9_999, output_tokens=None, cost=None))
    total = (await query.usage(store, "model"))["total"]
    assert (total["calls"], total["input_tokens"], total["unpriced"]) == (2, 100, 0)


async def test_sums_do_not_round(store: Store) -> None:
    large = 2**53 + 1  # dollars in binary fractions would lose the last nano-dollar
    await fill(store, call("a", cost=large), call("b", cost=1))
    assert (await query.usage(store, "model"))["total"]["cost_nanos"] == large + 1


async def test_what_decides_a_price_comes_back_and_none_is_null(store: Store) -> None:
    billing = {"provider": "anthropic", "tier": "a\0b", "places": ["eu", "global"], "told": "0.10", "fast": False}
    await fill(store, call("a", billing=billing), call("b", billing=None))
    one, other = await store.calls()
    assert (one.billing, other.billing) == ({**billing, "tier": "a\ufffdb"}, None)


async def test_calls_are_priced_anew_in_pieces_each_once(store: Store) -> None:
    await fill(store, *[call(f"{n:02}") for n in range(5)], call("no-model", model=None, **NONE))
    seen, last = [], ""
    while rows := await store.calls_to_price(last, limit=2):
        seen += [row.id for row in rows]
        last = rows[-1].id
    assert seen == ["00", "01", "02", "03", "04"]
    await store.set_costs([CallCost("03", 7, "new", None), CallCost("04", None, None, "why")])
    found = {row.id: row for row in await store.calls()}
    assert (found["03"].cost, found["03"].price_version) == (7, "new")
    assert (found["04"].cost, found["04"].price_note) == (None, "why")
    assert found["02"].cost == 750_000


async def test_repricing_takes_the_prices_in_force_for_the_calls_meant(
    engine: Engine, url: str, tmp_path: Path
) -> None:
    later = NOON + timedelta(days=1)
    async with await open_store(url) as store:
        await fill(store, call("a"), call("b", later), call("c", later, model="acme-7", cost=None))
        old = call("old", billing=None, cost=None, price_version=None)  # of before there were costs
        await store.commit(Batch(calls=[old]))
    config = Config(data_dir=str(tmp_path / "data"), database_url=url)
    if engine.name == "memory":
        with pytest.raises(NotFound, match="only the server can look"):
            await reprice(config)
        return
    done = await reprice(config)
    assert (done.calls, done.before, done.after) == (4, 1_500_000, 3 * 750_000)
    assert (await reprice(config)).changed == 0
    own = msgspec.structs.replace(config, prices={"*": Price(input=1, output=1)})
    assert (await reprice(own, since=later, model="acme-7")).changed == 1
    async with await open_store(url) as store:
        costs = {row.id: row.cost for row in await store.calls()}
    assert costs == {"a": 750_000, "b": 750_000, "c": 110_000, "old": 750_000}


async def test_a_large_database_is_added_up_in_it(url: str) -> None:
    """Only as many rows leave it as there are models and kinds of calls."""
    async with await open_store(url) as store:
        await fill(store, *[call(f"{n}", NOON + timedelta(minutes=n % 90)) for n in range(2_000)])
        assert len(await store.spending("model")) == 1
        assert len(await store.spending("slot")) == 6
        assert (await query.usage(store, "model"))["total"]["input_tokens"] == 200_000


def test_the_commands_show_money(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    settings = tmp_path / "settings.toml"
    settings.write_text('[prices."acme-*"]\ninput = 1\noutput = 1\n')

    def run(*arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        ended = app.main(["--config", str(settings), "--data-dir", str(tmp_path / "data"), *arguments])
        written = capsys.readouterr()
        assert ended == 0, written.err
        return written.out, written.err

    async def prepare() -> None:
        (tmp_path / "data").mkdir()
        async with await open_store(sqlite_file(tmp_path / "data" / "ocproxy.db")) as store:
            note = "no price is known for acme-7 at anthropic"
            await fill(store, call("a"), call("u", model="acme-7", cost=None, price_note=note))

    asyncio.run(prepare())
    table, said = run("usage", "--by", "model")
    assert table.splitlines()[1].split("\t")[-2:] == ["$0.0008", ""]
    assert "1 calls without a price: no price is known for acme-7 at anthropic" in said
    assert table.splitlines()[2].split("\t")[-2:] == ["+?", "1 without a price"]
    assert table.splitlines()[3].split("\t")[-2:] == ["$0.0008+?", "1 without a price"]
    assert json.loads(run("usage", "--json", "--timezone", "UTC")[0])["rows"][0]["key"] == "2026-11-21"
    assert run("usage", "--timezone", "Asia/Kathmandu")[0].startswith("DAY (Asia/Kathmandu)\t")
    lines = run("usage", "--by", "model", "--csv")[0].splitlines()
    assert lines[0].startswith("key,calls,side_calls,input_tokens") and "0.000750000" in lines[1]
    assert "$0.0008+?" in run("sessions")[0]
    assert "$0.0008+? (1 calls have no price)" in run("show", "s1")[0]
    assert "no price is known for acme-7" in run("calls")[0]
    assert (
        run("reprice", "--json")[0]
        == json.dumps({"calls": 2, "changed": 2, "before_usd": 0.00075, "after_usd": 0.00086}) + "\n"
    )
    assert "+?" not in run("sessions")[0]
    assert json.loads(run("usage", "--since", "2026-11-22", "--json")[0])["rows"] == []
    assert json.loads(run("usage", "--until", "2026-11-21", "--timezone", "UTC", "--json")[0])["total"]["calls"] == 2


@pytest.mark.parametrize(
    "arguments", [["--since", "soon"], ["--timezone", "Mars/Base"], ["--by", "mood"]], ids=" ".join
)
def test_what_is_no_time_zone_or_kind_is_wrong_usage(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["--data-dir", str(tmp_path), "usage", *arguments]) == 2
    assert arguments[1] in capsys.readouterr().err


def test_an_older_database_gets_the_columns_and_loses_them_again(tmp_path: Path) -> None:
    engine_url = f"sqlite:///{tmp_path / 'ocproxy.db'}"
    migrations.upgrade(engine_url, "20261121_add_recorder_tables")
    migrations.upgrade(engine_url)
    file = sqlite3.connect(engine_url.removeprefix("sqlite:///"))
    names = {row[1] for row in file.execute("PRAGMA table_info(calls)")}
    assert {"billing", "cost", "price_version", "price_note"} <= names
    file.close()
    migrations.downgrade(engine_url, "20261121_add_recorder_tables")
    file = sqlite3.connect(engine_url.removeprefix("sqlite:///"))
    assert not {"billing", "cost"} & {row[1] for row in file.execute("PRAGMA table_info(calls)")}
    assert "ix_calls_reply_id" in {row[1] for row in file.execute("PRAGMA index_list(calls)")}
    file.close()
