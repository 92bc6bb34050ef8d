"""Questions of the API that carry words, paths and numbers: the answers of `ocproxy.query`, and mistakes told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ocproxy.api.app import build
from ocproxy.config import Config
from ocproxy.query.search import Wanted, search
from ocproxy.store.base import Store, open_store
from tests.support.engines import sqlite_file
from tests.test_search import fill

pytestmark = pytest.mark.anyio


async def status() -> dict[str, Any]:
    return {}


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Store]]:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await fill(store)
        api = httpx.ASGITransport(build(Config(), store, "http://127.0.0.1:1", status))
        async with httpx.AsyncClient(transport=api, base_url="http://127.0.0.1") as client:
            yield client, store


async def test_the_api_searches_and_lists_by_path(asked: tuple[httpx.AsyncClient, Store]) -> None:
    client, store = asked
    found = await client.get("/api/search", params={"q": "pytest", "agent": "codex", "limit": "5"})
    assert found.json() == await search(store, Wanted("pytest", agent="codex", limit=5))
    for moment, hits in (("2026-11-21T12:00:04", 2), ("2026-11-21T14:00:04+02:00", 2), ("2026-11-22", 0), ("1h", 0)):
        since = await client.get("/api/search", params={"q": "pytest", "since": moment})
        assert len(since.json()["hits"]) == hits, moment
    listed = await client.get("/api/files", params={"path": "*.ini"})
    assert [row["id"] for row in listed.json()] == ["e2", "e3"]


@pytest.mark.parametrize(("url", "code"), [
    ("/api/search", 400), ("/api/search?q=x&limit=0", 400), ("/api/search?q=x&limit=²", 400),
    ("/api/search?q=x&since=soon", 400), ("/api/search?q=x&session=zz", 404), ("/api/blame", 400),
    ("/api/usage?by=colour", 400), ("/api/usage?timezone=Nowhere", 400), ("/api/usage?since=soon", 400),
    ("/api/usage?until=2026-13-01", 400), ("/api/usage?since=999999w", 400),
    ("/api/blame?path=nothing.py", 404), ("/api/blame?path=pytest.ini", 404), ("/api/blame?path=app.py&line=x", 400),
])  # fmt: skip
async def test_a_mistake_is_told_with_a_way_on(asked: tuple[httpx.AsyncClient, Store], url: str, code: int) -> None:
    answer = await asked[0].get(url)
    assert (answer.status_code, bool(answer.json()["error"]["hint"])) == (code, True)


# NOIMPORT
