"""Subagents of agents that say nothing of themselves: two at once, one in another, and twins with the same prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import Client, Variant
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import (
    assert_nothing_is_told_twice,
    assert_the_tree_is_told,
    parts_of,
    uses,
    uses_of_short,
)
from tests.real_agents.stage import Stage
from tests.real_agents.test_other_sessions import Taking
from tests.real_agents.work import short
from tests.support.dialects import Dialect
from tests.support.scripted import MARK

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
AGENTS = ["Gemini CLI", "Qwen Code", "Cline"]


def child(name: str, workdir: Path, variant: Variant, *more: Step) -> Script:
    """`work.short` as a subagent plays it; that of Gemini CLI ends by a tool. `more` is done before its end."""
    steps = short(name, workdir, variant.tools).steps
    done = Step(calls=(Call("complete_task", {"result": {"response": f"{name} is done."}}),))
    return Script(name, (*steps[:-1], *more, done if variant.name == "Gemini CLI" else steps[-1]))


def parent(workdir: Path, variant: Variant, *prompts: str) -> Script:
    """Works itself, then hands a task each to subagents at once."""
    steps = (
        Step(text="Working.", calls=(variant.tools.write(workdir / "parent.txt", "by the parent\n"),)),
        Step(text="Delegating.", calls=tuple(map(variant.tools.delegate, prompts))),
        Step(text="All are done."),
    )
    return Script("parent", steps)


def task(name: str) -> str:
    """The prompt of the subagent that plays the script `name`."""
    return f"[[script:{name}]] Do the subtask."


def two(workdir: Path, variant: Variant) -> list[Script]:
    names = ("child", "other")
    return [parent(workdir, variant, *map(task, names)), *(child(name, workdir, variant) for name in names)]


def nested(workdir: Path, variant: Variant) -> list[Script]:
    deeper = Step(text="Deeper.", calls=(variant.tools.delegate(task("nested")),))
    children = [child("child", workdir, variant, deeper), child("nested", workdir, variant)]
    return [parent(workdir, variant, task("child")), *children]


def children_of(stage: Stage[Client], session: str | None) -> list[Json]:
    """As `ocproxy show`, by the names of their scripts."""
    rows = [row for row in stage.sessions() if row["parent_id"] == session]
    return sorted((stage.show(row["id"]) for row in rows), key=uses)


def at_home(stage: Stage[Client], *shown: Json) -> list[Json]:
    """Subagents of Cline do not say where they work, so their diffs have whole paths: here seen from the folder."""
    folder = f"{stage.workdir}/".removeprefix("/")
    found: list[Json] = json.loads(json.dumps(shown).replace(folder, ""))
    return found


@pytest.mark.parametrize("name", AGENTS)
def test_subagents_at_once_are_child_sessions_that_tell_their_own_work_only(opened: Opened, name: str) -> None:
    with opened(name, two) as stage:
        stage.agent.run("[[script:parent]] Do it.")
        stage.recorder.flush()
        (main,) = children_of(stage, None)
        children = children_of(stage, main["session"]["id"])
        assert len(stage.sessions()) == 3
        assert {row["parent_certainty"] for row in stage.sessions()} == {None, "inferred"}
        assert_the_tree_is_told(stage, *at_home(stage, main, *children))
    assert uses(main) == ["toolu_parent_s0_t0"]
    assert list(map(uses, children)) == [uses_of_short("child"), uses_of_short("other")]
    assert_nothing_is_told_twice(main, *children)
    assert answers_of(main, "toolu_parent_s1_t0") == 1


@pytest.mark.parametrize("name", ["Qwen Code", "Cline"])
def test_a_subagent_of_a_subagent_is_under_it(opened: Opened, name: str) -> None:
    """Subagents of Gemini CLI are not allowed to have their own."""
    with opened(name, nested) as stage:
        stage.agent.run("[[script:parent]] Do it.")
        stage.recorder.flush()
        shown = [*children_of(stage, None)]
        for _ in range(2):
            shown += children_of(stage, shown[-1]["session"]["id"])
        sessions = stage.sessions()
        assert_the_tree_is_told(stage, *at_home(stage, *shown))
    assert list(map(uses, shown)) == [["toolu_parent_s0_t0"], uses_of_short("child"), uses_of_short("nested")]
    assert_nothing_is_told_twice(*shown)
    assert len(sessions) == 3
    assert {row["parent_certainty"] for row in sessions} == {None, "inferred"}


def answers_of(shown: Json, tool_use: str) -> int:
    return sum(part["tool_use_id"] == tool_use for part in parts_of(shown, "tool_result"))


class Twins(Taking):
    """The parent's script is named; the others are taken by whoever asks."""

    def __init__(self, given: Iterable[Script], **more: Any) -> None:
        super().__init__(given, **more)
        self.waiting = [script for script in self.waiting if script.name != "parent"]

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        history = dialect.history(request)
        asked = next(message for message in history if message["role"] == "user")
        named = MARK in str(asked["content"])
        return super(Taking, self).play(dialect, request) if named else super().play(dialect, request)


@pytest.mark.parametrize("name", AGENTS)
def test_two_subagents_with_the_same_prompt_are_told_apart(opened: Opened, name: str) -> None:
    def scripts(workdir: Path, variant: Variant) -> list[Script]:
        same = "Do the subtask."
        return [parent(workdir, variant, same, same), *(child(twin, workdir, variant) for twin in ("one", "two"))]

    with opened(name, scripts, kind=Twins) as stage:
        stage.agent.run("[[script:parent]] Do it.")
        stage.recorder.flush()
        (main,) = children_of(stage, None)
        children = children_of(stage, main["session"]["id"])
        assert_the_tree_is_told(stage, *at_home(stage, main, *children))
        assert len(stage.sessions()) == 3
    assert uses(main) == ["toolu_parent_s0_t0"]
    assert list(map(uses, children)) == [uses_of_short("one"), uses_of_short("two")]
    assert_nothing_is_told_twice(main, *children)
