"""Calls that the user refuses in the terminal programs of the other agents, and what the record says of them.

Seen: Qwen Code 0.24.4 tells the model that the user refused. Gemini CLI 0.61.0 takes back all that was
done since the prompt and sends none of it again, so the wire does not say what became of the call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Script, Step
from tests.real_agents.client import Client, Variant
from tests.real_agents.clients.gemini_cli import GeminiCli
from tests.real_agents.clients.qwen_code import QwenCode
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import assert_nothing_is_told_twice, statuses
from tests.real_agents.stage import Stage
from tests.real_agents.terminal import Screen, in_terminal, refuse
from tests.real_agents.work import files_of

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
READ, WRITE = "toolu_work_s0_t0", "toolu_work_s1_t0"


def scripts(workdir: Path, variant: Variant) -> list[Script]:
    tools = variant.tools
    steps = (
        Step(text="Reading.", calls=(tools.read(workdir / "input.txt"),)),
        Step(text="Asking.", calls=(tools.write(workdir / "new.txt", "new\n"),)),
        Step(text="Well."),
    )
    return [Script("work", steps), Script("second", (Step(text="Then not."),))]


@contextmanager
def on_screen(stage: Stage[Client], prompt: str) -> Iterator[Screen]:
    """The terminal program at work on `prompt`."""
    agent = stage.agent
    assert isinstance(agent, GeminiCli | QwenCode)
    variables = agent.environment() | {"TERM": "xterm-256color"}
    for name in ("CI", "NO_COLOR"):
        del variables[name]
    with in_terminal(agent.asking(prompt), agent.workdir, variables, answers=True) as screen:
        yield screen


def refused(stage: Stage[Client], question: str, word: str) -> Json:
    """What is shown of a session in which the user refuses what the question is about, and then says something else.
    `word` is what the program says of the refusal."""
    with on_screen(stage, "[[script:work]] Do it.") as screen:
        refuse(screen, question, "\x1b", word)
    stage.recorder.flush()
    (session,) = stage.sessions()
    shown = stage.show(session["id"])
    assert files_of(stage.workdir) == files_of(stage.before)
    assert_nothing_is_told_twice(shown)
    return shown


@pytest.mark.parametrize(
    ("name", "question", "word", "note"),
    [
        ("Qwen Code", "Apply this change?", "Writing to new.txt", "[Operation Cancelled] Reason: User did not allow"),
    ],
)
def test_a_question_that_the_user_answers_with_no_is_a_rejection(
    opened: Opened, name: str, question: str, word: str, note: str
) -> None:
    with opened(name, scripts) as stage:
        shown = refused(stage, question, word)
    assert statuses(shown, "read", "write") == [(READ, "applied"), (WRITE, "rejected")]
    assert shown["file_events"][-1]["note"].startswith(note)
    texts = [part["text"] for message in shown["messages"] for part in message["parts"] if part["type"] == "text"]
    assert texts[-2:] == ["[[script:second]] Something else.", "Then not."]


@pytest.mark.parametrize("name", ["Gemini CLI"])
def test_a_turn_that_the_user_takes_back_leaves_its_call_requested(opened: Opened, name: str) -> None:
    with opened(name, scripts) as stage:
        shown = refused(stage, "Apply this change?", "Request cancelled.")
    assert statuses(shown) == [(READ, "applied"), (WRITE, "requested")]
    ids = {message["id"]: message for message in shown["messages"]}
    (second,) = [message for message in shown["messages"] if "[[script:second]]" in str(message["content"])]
    assert ids[second["parent_id"]]["role"] == "assistant", "it stands behind the last that was not taken back"
