"""What goes wrong between the smaller agents and their provider, and what they do then: the record tells each once.

Measured: Gemini CLI 0.61.0, Qwen Code 0.24.4, Cline 3.0.65, pi 1.6.0. A failure before the stream is tried again by
all. Gemini CLI ends when a stream drops, and takes an error event for the end of the answer; Qwen Code keeps the text
that came, asks to go on, and joins both answers; Cline and pi try again after a drop, and end at an error event (pi
over Messages goes on). Cline runs the calls of both tries, and joins the answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Script, Step
from tests.real_agents.client import Variant
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import (
    assert_nothing_is_told_twice,
    assert_the_begun_answer_is_told,
    assert_the_last_history_is_told,
    assert_the_tree_is_told,
    names_written,
    recorded_tries,
    tries,
)
from tests.support.scripted import Fault

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
AGENTS = ["Gemini CLI", "Qwen Code", "Cline", "pi, Chat Completions", "pi, Messages", "pi, Responses"]

# The fault, then status and outcome of its call.
BROKEN = {
    "429 and retry": (Fault("work", 1, "status", 429, "Retry-After: 1\r\n"), 429, "complete"),
    "500": (Fault("work", 1, "status", 500), 500, "complete"),
    "drop in text": (Fault("work", 1, "drop in text"), 200, "upstream_disconnected"),
    "drop after a tool use": (Fault("work", 1, "drop after tool use"), 200, "upstream_disconnected"),
    "error event": (Fault("work", 1, "error event"), 200, "complete"),
}
HARMED = [(name, fault) for name in AGENTS for fault in BROKEN]
_TALK = "Now I write what was asked for, and then I run a command that says the same words once more."


def work(workdir: Path, variant: Variant) -> list[Script]:
    """Talks long enough to be interrupted before its calls."""
    tools = variant.tools
    calls = (tools.write(workdir / "work.txt", "by work\n"), tools.bash("echo work"))
    steps = (
        Step(text="Reading.", calls=(tools.read(workdir / "input.txt"),)),
        Step(text=_TALK, calls=calls),
        Step(text="work is done."),
    )
    return [Script("work", steps)]


def ends(name: str, fault: str) -> bool:
    """Whether the agent gives up."""
    if name == "Gemini CLI":
        return fault.startswith("drop")
    return fault == "error event" and name not in ("Qwen Code", "pi, Messages")


@pytest.mark.parametrize(("name", "fault"), HARMED)
def test_a_turn_that_broke_is_told_once_and_right(opened: Opened, name: str, fault: str) -> None:
    given, status, outcome = BROKEN[fault]
    once = Fault(given.script, given.step, given.what, given.status, given.headers)
    with opened(name, work, faults=[once]) as stage:
        process = stage.agent.start("[[script:work]] Do it.")
        output, errors = process.communicate(timeout=120)
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        turns = [served for served in stage.provider.log if stage.agent.is_turn(served)]
        assert once.times == 0, "the fault did not happen"
        assert (process.returncode != 0) == ends(name, fault), (output, errors)
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
        assert recorded_tries(shown) == tries(turns)
        stage.recorder.stop()
        stage.recorder.run("rebuild")
        assert stage.show(session["id"]) == shown
    harmed = [
        call for call in shown["calls"] if call["error"] or (call["status"], call["outcome"]) != (200, "complete")
    ]
    assert [(call["status"], call["outcome"]) for call in harmed] == [(status, outcome)]
    if ends(name, fault):
        assert names_written(shown) == set()
    elif (name, fault) == ("Gemini CLI", "error event"):
        assert_the_begun_answer_is_told(shown, turns)
        assert names_written(shown) == set()
    else:
        assert_the_last_history_is_told(stage, shown, turns)
        assert names_written(shown) == {"work.txt"}
