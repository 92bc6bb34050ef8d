"""Codex and opencode when the model's window is full: they ask for a summary, and go on from it.

Codex (seen: 0.171.0) asks for it with the whole history, and with no tools on a provider of the user's own; OpenAI's
answers with an item that is sealed. Its first message stays, the summary stands behind it. opencode (seen: 1.18.33)
tells the history as one text and begins anew with a question and the summary as the answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Script
from tests.real_agents.client import Variant
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told, parts_of
from tests.real_agents.work import short
from tests.support.filling import Filling
from tests.support.scripted import SUMMARY

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

FULL, TOKENS = ("first", 1), 250_000
CODEX = ["Codex, HTTP, functions", "Codex, WebSocket, functions", "Codex, WebSocket, code mode"]
OPENCODE = ["opencode, anthropic", "opencode, compatible", "opencode, google", "opencode, openai"]


def scripts(workdir: Path, variant: Variant) -> list[Script]:
    return [short(name, workdir, variant.tools) for name in ("first", "second")]


@pytest.mark.parametrize("name", [*CODEX, *OPENCODE])
def test_a_compacted_session_goes_on_as_the_same_session(opened: Opened, name: str) -> None:
    limit = {"toml": "model_auto_compact_token_limit = 100000"}
    manners = {"full": FULL, "tokens": TOKENS, "goes_on": "[[script:second]]"}
    with opened(name, scripts, limit, Filling, **manners) as stage:
        finished = stage.agent.run("[[script:first]] Do it.")
        assert "second is done." in finished.result
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
        kinds = [call["kind"] for call in shown["calls"]]
        stage.recorder.stop()
        stage.recorder.run("rebuild")
        assert stage.show(session["id"]) == shown
    assert [kind for kind in kinds if kind not in ("probe", "title")] == ["main"] * 2 + ["summary"] + ["main"] * 3
    places = [f"toolu_{script}_{place}" for script in ("first", "second") for place in ("s0_t0", "s1_t0", "s1_t1")]
    assert list(dict.fromkeys(event["tool_use_id"] for event in shown["file_events"])) == places
    assert [part["id"] for part in parts_of(shown, "tool_use")] == places
    assert [part["tool_use_id"] for part in parts_of(shown, "tool_result")] == places
    assert "requested" not in {event["status"] for event in shown["file_events"]}
    told = [message for message in shown["messages"] if _is_summary(message)]
    assert len(told) == 1
    assert told[0]["id"] not in {call["message_id"] for call in shown["calls"]}, "no call of the conversation said it"


def _is_summary(message: dict[str, Any]) -> bool:
    """In words, or sealed by the provider."""
    is_sealed = any(part["type"] == "opaque" and part["kind"] == "compaction" for part in message["parts"])
    return is_sealed or SUMMARY in (message["content"] or "")
