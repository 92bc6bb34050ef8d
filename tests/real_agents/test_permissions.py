"""What Codex and opencode do with a tool that is forbidden, and what the record says of it.

Codex in a read-only sandbox (seen: 0.171.0) refuses a patch by its policy and says so: rejected. opencode (seen:
1.18.33) does not offer a tool that is denied, so a call of it fails; `opencode run` rejects what it would have to ask
for and ends there, so no result is on the wire: requested; its server tells the model that the user refused: rejected.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocproxy.demo.script import Script
from tests.real_agents.client import Variant
from tests.real_agents.clients.opencode import Opencode
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told, statuses
from tests.real_agents.work import short

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

CODEX = ["Codex, HTTP, functions", "Codex, WebSocket, functions", "Codex, WebSocket, code mode"]
OPENCODE = ["opencode, anthropic", "opencode, compatible", "opencode, google", "opencode, openai"]
ASKING = {"permission": json.dumps({"edit": "ask"})}
WRITE = "toolu_work_s1_t0"


def work(workdir: Path, variant: Variant) -> list[Script]:
    return [short("work", workdir, variant.tools)]


@pytest.mark.parametrize("name", CODEX)
def test_a_tool_that_the_user_forbids_is_rejected(opened: Opened, name: str) -> None:
    with opened(name, work, {"sandbox": "read-only"}) as stage:
        assert stage.agent.run("[[script:work]] Do it.").result == "work is done."
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
    assert_nothing_is_told_twice(shown)
    assert statuses(shown, "write") == [(WRITE, "rejected")]
    assert statuses(shown, "bash", "read") == [
        ("toolu_work_s0_t0", "applied"),
        ("toolu_work_s0_t0", "applied"),
        ("toolu_work_s1_t1", "applied"),
    ]


@pytest.mark.parametrize("name", OPENCODE)
def test_a_tool_that_the_user_refuses_when_asked_is_rejected(opened: Opened, name: str) -> None:
    with opened(name, work, ASKING) as stage:
        assert isinstance(stage.agent, Opencode)
        with stage.agent.served() as server:
            asked = server.ask("[[script:work]] Do it.")
            server.reject_next("Not this file, please.")
            asked.result(timeout=60)
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
    assert_nothing_is_told_twice(shown)
    assert statuses(shown, "write") == [(WRITE, "rejected")]
    assert statuses(shown, "bash", "read") == [("toolu_work_s0_t0", "applied"), ("toolu_work_s1_t1", "unknown")]


@pytest.mark.parametrize("name", ["opencode, anthropic"])
def test_a_run_that_ends_at_a_question_leaves_its_tools_requested(opened: Opened, name: str) -> None:
    with opened(name, work, ASKING) as stage:
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert sum(map(stage.agent.is_turn, stage.provider.log)) == 2, "no request told how the tools ended"
    assert [status for _, status in statuses(shown)] == ["applied", "requested", "requested"]


@pytest.mark.parametrize("name", ["opencode, anthropic"])
def test_a_tool_that_is_denied_is_not_offered_and_fails(opened: Opened, name: str) -> None:
    with opened(name, work, {"permission": json.dumps({"edit": "deny"})}) as stage:
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
    assert statuses(shown, "write") == [(WRITE, "failed")]
