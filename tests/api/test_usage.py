"""`/api/usage` answers what `ocproxy usage --json` prints, with the same words for the same things."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from ocproxy.api.app import build
from ocproxy.cli import app
from ocproxy.config import Config
from ocproxy.model import Batch
from ocproxy.store.base import open_store
from tests.support.rows import NOON, call, session

CALLS = [
    call("c1", at=NOON, model="claude-opus-4-6", cost=1_500_000_000, input_tokens=10, output_tokens=5),
    call("c2", at=NOON + timedelta(hours=11, minutes=45), model="acme-7", input_tokens=7, price_note="no price"),
    call("c3", "s2", at=NOON + timedelta(days=1), model="acme-7", cost=3, input_tokens=1, output_tokens=2),
]


async def store_calls(url: str) -> None:
    async with await open_store(url) as store:
        await store.commit(Batch(sessions=[session(title="The first"), session("s2", workdir="/v")], calls=CALLS))


async def ask(url: str, parameters: dict[str, str]) -> dict[str, Any]:
    async def status() -> dict[str, Any]:
        return {}

    async with await open_store(url) as store:
        api = httpx.ASGITransport(build(Config(), store, "http://127.0.0.1:1", status))
        async with httpx.AsyncClient(transport=api, base_url="http://127.0.0.1") as client:
            answer = await client.get("/api/usage", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("parameters", "keys", "calls"),
    [
        ({}, None, 3),
        ({"timezone": "UTC"}, ["2026-11-21", "2026-11-22"], 3),
        ({"timezone": "Asia/Kathmandu"}, ["2026-11-21", "2026-11-22"], 3),
        ({"timezone": "Asia/Kathmandu", "since": "2026-11-22"}, ["2026-11-22"], 2),
        ({"timezone": "UTC", "until": "2026-11-21"}, ["2026-11-21"], 2),
        ({"by": "model", "since": "2026-11-21T12:30:00Z"}, ["acme-7"], 2),
        ({"by": "session"}, ["s1", "s2"], 3),
        ({"by": "workdir", "until": "2026-11-21T12:30:00Z"}, ["/w"], 1),
        ({"by": "agent", "since": "1h"}, [], 0),
    ],
    ids=str,
)
def test_the_api_and_the_command_tell_the_same_usage(
    parameters: dict[str, str], keys: list[str] | None, calls: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'ocproxy.db'}"
    asyncio.run(store_calls(url))
    told = asyncio.run(ask(url, parameters))
    options = [part for name, value in parameters.items() for part in (f"--{name}", value)]
    assert app.main(["--data-dir", str(tmp_path), "usage", "--json", *options]) == 0
    assert told == json.loads(capsys.readouterr().out)
    assert told["total"]["calls"] == calls
    assert keys is None or [row["key"] for row in told["rows"]] == keys
