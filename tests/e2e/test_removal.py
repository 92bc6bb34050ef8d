"""Deleting beside a running server: nothing is left, nothing comes back, and the server goes on recording."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from ocproxy.demo.provider import Provider
from ocproxy.demo.script import Script, Step
from tests.support.ageing import SECRET, hold
from tests.support.provider import provider_in_background, wait_until
from tests.support.recorder import Recorder

pytestmark = pytest.mark.timeout(180)  # commands are processes, each with its start

HELLO = Script("hello", (Step(text="Good day."),))
AGENT = {"user-agent": "claude-cli/2.1.329 (external, cli)", "x-api-key": "k"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with provider_in_background([HELLO]) as one:
        yield one


@pytest.fixture
def recorder(tmp_path: Path, provider: Provider) -> Recorder:
    return Recorder(tmp_path / "recorder" / "data", provider.url)


def say(url: str, session: str, *said: str) -> None:
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(said)]
    body = {"model": "claude-test", "max_tokens": 9, "messages": turns}
    headers = AGENT | {"x-claude-code-session-id": session}
    answer = httpx.post(f"{url}/v1/messages", json=body, headers=headers, trust_env=False, timeout=20)
    assert answer.status_code == 200


def test_a_session_is_deleted_beside_the_server_that_recorded_it(recorder: Recorder) -> None:
    with recorder.serving():
        for number in range(3):
            say(recorder.url, "gone", f"hello {SECRET}", *("Good day.", f"hello again {SECRET}") * number)
            say(recorder.url, "keep", "hello", *("Good day.", "hello again") * number)
        told = recorder.ask("delete", "gone", "--yes")
        assert told["done"] and told["settled"] and told["erased"]["records"] == 15
        assert hold(recorder.data, SECRET) == []
        # The agent goes on: what it sends now is new, and the server, which held the session, stores it as such.
        say(recorder.url, "gone", "hello again", "Good day.", "hello to you")
        say(recorder.url, "keep", "hello", *("Good day.", "hello again") * 3)
        recorder.flush()
        assert [message["content"] for message in recorder.ask("show", "gone")["messages"]] == [
            "hello again", "Good day.", "hello to you", "Good day.",
        ]  # fmt: skip
    assert recorder.ask("rebuild")["messages"] == 12
    assert hold(recorder.data, SECRET) == []


def test_a_server_prunes_by_itself_when_it_is_told_to_and_says_so(recorder: Recorder) -> None:
    recorder.settings = "[retention]\nolder_than = '90d'\n"
    with recorder.serving():
        say(recorder.url, "gone", f"hello {SECRET}")
        say(recorder.url, "keep", "hello")
        recorder.flush()
    with closing(sqlite3.connect(recorder.data / "ocproxy.db")) as database:
        database.execute(
            "UPDATE opencode_sessions SET updated_at = '2020-01-01 00:00:00.000000' WHERE opencode_id = 'gone'"
        )
        database.commit()
    with recorder.serving():
        wait_until(lambda: "retention: older than 90d: 1 sessions" in recorder.log, "it is pruned", seconds=60)
        wait_until(lambda: "erased from the journal" in recorder.log, "its bytes are erased", seconds=60)
        facts = recorder.ask("doctor")
        assert facts["retention"]["older_than"] == "90d"
        assert facts["retention"]["last"]["reason"] == "retention: older than 90d"
        assert hold(recorder.data / "journal", SECRET) == []
        assert len(recorder.ask("show", "gone")["calls"]) == 1
