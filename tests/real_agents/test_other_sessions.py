"""Agents that say nothing of their sessions: continued runs, and two runs at once that begin with the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.provider import Served
from ocproxy.demo.script import Script, Step
from tests.real_agents.client import Client, Variant
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import (
    assert_nothing_is_told_twice,
    assert_the_messages_are_what_was_said,
    assert_the_tree_is_told,
    uses,
    uses_of_short,
)
from tests.real_agents.stage import Stage
from tests.real_agents.terminal import in_terminal
from tests.real_agents.work import short
from tests.support.dialects import Dialect
from tests.support.provider import wait_until
from tests.support.scripted import Scripted

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
PI = ["pi, Chat Completions", "pi, Messages", "pi, Responses"]


def shorts(*names: str) -> Callable[[Path, Variant], list[Script]]:
    return lambda workdir, variant: [short(name, workdir, variant.tools) for name in names]


@pytest.mark.parametrize("name", ["Gemini CLI", "Qwen Code", *PI])
def test_a_continued_run_adds_to_the_same_session(opened: Opened, name: str) -> None:
    with opened(name, shorts("first", "second")) as stage:
        stage.agent.run("[[script:first]] Do it.")
        stage.agent.run("[[script:second]] Go on.", *stage.agent.continued())
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_messages_are_what_was_said(shown, turns(stage))
        assert_the_tree_is_told(stage, shown)
    assert uses(shown) == uses_of_short("first", "second")
    assert_nothing_is_told_twice(shown)


@pytest.mark.parametrize("name", ["Cline"])
def test_a_session_that_goes_on_in_the_terminal_is_the_same_session(opened: Opened, name: str) -> None:
    with opened(name, shorts("first", "second")) as stage:
        cline = stage.agent
        cline.run("[[script:first]] Do it.")
        command = [str(cline.installation.program), *cline.continued()]
        with in_terminal(command, cline.workdir, {**cline.environment(), "TERM": "xterm-256color"}) as screen:
            wait_until(lambda: screen.shows("first is done."), "the old session", seconds=60)
            screen.press("[[script:second]] Go on.")
            wait_until(lambda: screen.shows("Go on."), "what was typed", seconds=30)
            screen.press("\r")
            wait_until(lambda: len(turns(stage)) == 6 and turns(stage)[-1].complete, "the last answer", seconds=60)
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_messages_are_what_was_said(shown, turns(stage))
        assert_the_tree_is_told(stage, shown)
    assert uses(shown) == uses_of_short("first", "second")
    assert_nothing_is_told_twice(shown)


def turns(stage: Stage[Client], script: str = "") -> list[Served]:
    """The requests of the conversation itself, of those that play `script`."""
    asked = [served for served in list(stage.provider.log) if stage.agent.is_turn(served)]
    return [served for served in asked if script.encode() in served.body + served.sent]


class Taking(Scripted):
    """Gives each run that has not begun the next script, whatever it asks for; later the calls in its history tell."""

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        history = dialect.history(request)
        for script in self.scripts.values():
            if number := script.next_step(history):
                return script, number, script.steps[number]
        script = self.waiting.pop(0)
        return script, 0, script.steps[0]

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.waiting = list(self.scripts.values())


@pytest.mark.parametrize("name", ["Gemini CLI", "Qwen Code", "Cline", *PI])
def test_two_runs_at_once_in_one_folder_are_two_sessions(opened: Opened, name: str) -> None:
    with opened(name, shorts("one", "two"), kind=Taking) as stage:
        processes = [stage.agent.start("Do it.") for _ in range(2)]
        for process in processes:
            stage.agent.finish(process)
        stage.recorder.flush()
        shown = [stage.show(session["id"]) for session in stage.sessions()]
        shown.sort(key=uses)
        assert list(map(uses, shown)) == [uses_of_short("one"), uses_of_short("two")]
        assert_nothing_is_told_twice(*shown)
        for script, one in zip(("one", "two"), shown, strict=True):
            assert_the_messages_are_what_was_said(one, turns(stage, f"toolu_{script}_"))
        assert_the_tree_is_told(stage, *shown)
