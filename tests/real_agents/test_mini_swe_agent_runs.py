"""mini-swe-agent, whose model has a shell alone: runs at once, and what goes wrong between it and its provider.

Measured with 2.4.6.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import Variant
from tests.real_agents.clients.mini_swe_agent import SUBMIT
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import (
    assert_the_failed_try_is_told,
    assert_the_last_history_is_told,
    two_sessions,
)
from tests.real_agents.test_other_sessions import Taking
from tests.support.scripted import Fault

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
MINI = ["mini-swe-agent", "mini-swe-agent, Messages", "mini-swe-agent, Responses"]
BROKEN = {
    "429 and retry": (Fault("work", 1, "status", 429, "Retry-After: 1\r\n"), 429, "complete"),
    "500": (Fault("work", 1, "status", 500), 500, "complete"),
    "drop before the head": (Fault("work", 1, "drop before head"), 502, "upstream_disconnected"),
    "drop in text": (Fault("work", 1, "drop in text"), 200, "upstream_disconnected"),
}


def commands(*lines: str, name: str = "work") -> Any:
    """Scripts of one run that asks for these commands, one an answer, and ends."""

    def scripts(workdir: Path, variant: Variant) -> list[Script]:
        steps = (
            Step(text=f"{at}. A step of {name}.", calls=(_bash(line),)) for at, line in enumerate([*lines, SUBMIT])
        )
        return [Script(name, tuple(steps))]

    return scripts


def _bash(line: str) -> Call:
    return Call("bash", {"command": line})


def ran(shown: Json) -> list[tuple[str, int | None, str]]:
    return [(e["command"], e["exit_code"], e["status"]) for e in shown["file_events"] if e["event_type"] == "bash"]


@pytest.mark.parametrize("name", MINI)
def test_two_runs_at_once_in_one_folder_are_two_sessions(opened: Opened, name: str) -> None:
    def scripts(workdir: Path, variant: Variant) -> list[Script]:
        return [script for run in ("one", "two") for script in commands(f"echo {run}", name=run)(workdir, variant)]

    with opened(name, scripts, kind=Taking) as stage:
        shown = two_sessions(stage)
    assert sorted(map(ran, shown)) == [
        [(f"echo {run}", 0, "applied"), (SUBMIT, None, "requested")] for run in ("one", "two")
    ]


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name in MINI for fault in BROKEN])
def test_a_turn_that_broke_is_told_once_and_right(opened: Opened, name: str, fault: str) -> None:
    given, status, outcome = BROKEN[fault]
    once = Fault(given.script, given.step, given.what, given.status, given.headers)
    with opened(name, commands("ls", "echo work"), faults=[once]) as stage:
        stage.agent.run("Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert once.times == 0, "the fault did not happen"
        assert_the_failed_try_is_told(stage, shown, status, outcome)
        assert_the_last_history_is_told(stage, shown, stage.turns())
    assert ran(shown) == [("ls", 0, "applied"), ("echo work", 0, "applied"), (SUBMIT, None, "requested")]
