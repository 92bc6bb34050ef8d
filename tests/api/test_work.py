"""Changes, runs and the inbox: as the query tells them, as the API answers, as the commands print."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from ocproxy import query
from ocproxy.api.app import build
from ocproxy.cli import app
from ocproxy.config import Config
from ocproxy.model import Batch, Status
from ocproxy.store.base import Store, open_store
from ocproxy.work import PendingChange, task_id
from tests.support.engines import sqlite_file
from tests.support.rows import NOON, call, event, message, session

DIFF = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n"


def batch(now: datetime = NOON) -> Batch:
    """Two changes of a run whose last call met a quota, and a session that is at work."""
    told: dict[str, Any] = {
        "session_id": "s1", "operation": "edit", "agent": "claude-code", "created_at": NOON, "updated_at": NOON,
    }  # fmt: skip
    moved: dict[str, Any] = {"path": "/w/b", "destination": "/w/c"}
    blocked = msgspec.structs.replace(call("c1", error="rate_limit_error: \x1b[31mno quota"), status=429, run="nightly")
    return Batch(
        sessions=[session(run="nightly"), session("s2", now)],
        messages=[message("m1")],
        file_events=[event("e1", Status.FAILED, note="not there"), event("e2")],
        pending_changes=[
            PendingChange("p1", file_event_id="e1", path="/w/a", status="rejected", ordinal=0, diff=DIFF, **told),
            PendingChange("p2", file_event_id="e2", status="pending", ordinal=1, **moved, **told),
        ],
        calls=[blocked, call("c2", "s2", now, cost=1_500_000_000)],
    )  # fmt: skip


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
        await store.commit(batch(datetime.now(UTC) - timedelta(minutes=1)))
        yield store


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async def status() -> dict[str, Any]:
        return {}

    transport = httpx.ASGITransport(build(Config(), store, "http://127.0.0.1:4141", status))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4141") as client:
        yield client


@pytest.mark.anyio
async def test_changes_are_told_with_the_event_that_they_come_from(store: Store) -> None:
    rejected, pending = await query.pending_changes(store, "own-s1")
    assert (rejected["path"], rejected["event_status"], rejected["note"]) == ("/w/a", "failed", "not there")
    assert (pending["status"], pending["event_status"], pending["tool_name"]) == ("pending", "requested", "Edit")
    assert [change["id"] for change in await query.pending_changes(store, status="pending")] == ["p2"]
    assert [change["id"] for change in await query.pending_changes(store, limit=1)] == ["p2"]


@pytest.mark.anyio
async def test_a_session_is_active_for_minutes_after_its_last_call_and_then_what_that_call_tells(store: Store) -> None:
    found = {row["id"]: row["status"] for row in await query.sessions(store)}
    assert found == {"s1": "crashed", "s2": "active"}
    shown = await query.show(store, "s2")
    assert shown["session"]["status"] == "active"
    (agent,) = shown["agents"]
    assert (agent["agent"], agent["status"], agent["calls"], agent["cost_usd"]) == ("claude-code", "active", 1, 1.5)
    old = [session("s3"), session("s4"), session("s5")]
    asking = Batch(sessions=old, calls=[call("c3", "s3")])
    await store.commit(asking)
    found = {row["id"]: row["status"] for row in await query.sessions(store)}
    assert (found["s3"], found["s4"]) == ("idle", None)


@pytest.mark.anyio
async def test_the_api_answers_with_changes_runs_and_the_inbox(client: httpx.AsyncClient) -> None:
    changes = (await client.get("/api/changes", params={"session": "s1", "status": "rejected"})).json()
    assert [change["diff"] for change in changes] == [DIFF]
    (task,) = (await client.get("/api/tasks", params={"state": "blocked"})).json()
    assert (task["id"], task["run"], task["calls"], task["cost_usd"]) == (task_id("nightly"), "nightly", 1, None)
    assert (await client.get("/api/tasks", params={"state": "failed"})).json() == []
    (item,) = (await client.get("/api/inbox")).json()
    assert (item["task_id"], item["state"]) == (task["id"], "blocked")
    assert len((await client.get("/api/changes", params={"limit": "1"})).json()) == 1
    assert (await client.get("/api/files", params={"path": "/nowhere"})).json() == []


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", ["changes?status=lost", "tasks?state=lost", "changes?limit=0"])
async def test_what_is_no_status_is_a_bad_request(client: httpx.AsyncClient, wrong: str) -> None:
    answer = await client.get(f"/api/{wrong}")
    assert (answer.status_code, "give" in answer.json()["error"]["hint"]) == (400, True)


def test_the_commands_print_them_inert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def prepare() -> None:
        async with await open_store(sqlite_file(tmp_path / "ocproxy.db")) as store:
            await store.commit(batch())

    asyncio.run(prepare())
    (tmp_path / "settings.toml").touch()

    def run(*arguments: str) -> str:
        capsys.readouterr()
        given = ["--config", str(tmp_path / "settings.toml"), "--data-dir", str(tmp_path), *arguments]
        assert app.main(given) == 0
        return capsys.readouterr().out

    lines = [line.split("\t") for line in run("changes").splitlines()]
    assert lines[0] == ["ID", "TIME", "SESSION", "AGENT", "CHANGE", "STATUS", "FILE", "LINES", "NOTE"]
    assert [line[4:] for line in lines[1:]] == [
        ["edit", "rejected", "/w/a", "(+1 -1)", "the tool failed; not there"],
        ["edit", "pending", "/w/b → /w/c", "", ""],
    ]
    assert [change["id"] for change in json.loads(run("changes", "s1", "--status", "pending", "--json"))] == ["p2"]
    task = run("tasks").splitlines()[1].split("\t")
    assert (task[1], task[3], task[7], task[-1]) == ("nightly", "blocked", "1", "rate_limit_error: \\x1b[31mno quota")
    assert json.loads(run("tasks", "--state", "completed", "--json")) == []
    item = run("inbox").splitlines()[1].split("\t")
    assert (item[1], item[3], item[5]) == ("nightly", "blocked", "s1")
    assert json.loads(run("inbox", "--json"))[0]["run"] == "nightly"
