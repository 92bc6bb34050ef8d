"""aider's formats of edits, and what goes wrong between it and its provider.

Measured with 0.86.2.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Script, Step, text_of
from tests.real_agents.client import Client, Variant
from tests.real_agents.clients.aider import Aider
from tests.real_agents.conftest import Opened
from tests.real_agents.in_text import InText, Json, block, fenced, hunks, listing
from tests.real_agents.oracle import (
    assert_nothing_is_told_twice,
    assert_the_failed_try_is_told,
    assert_the_tree_is_told,
    two_sessions,
)
from tests.real_agents.stage import Stage
from tests.support.provider import wait_until
from tests.support.scripted import Fault

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

AIDER = ["aider", "aider, Messages"]
Told = list[tuple[str, str, str]]


def texts(*said: str, name: str = "work") -> Any:
    """Scripts of one turn that says these texts, an answer each."""
    return lambda workdir, variant: [Script(name, tuple(Step(text=text) for text in said))]


def changes(shown: Json) -> Told:
    """(type, path, status) of the changes in their order."""
    found = [event for event in shown["file_events"] if event["event_type"] in ("write", "edit", "delete", "move")]
    return [(event["event_type"], event["file_path"], event["status"]) for event in found]


def one_session(stage: Stage[Client]) -> Json:
    stage.recorder.flush()
    (session,) = stage.sessions()
    return stage.show(session["id"])


@dataclass(frozen=True)
class Format:
    """One of aider's formats of edits: an answer that holds some, and what must be told of it."""

    answer: str
    told: Told
    arguments: tuple[str, ...] = ()


_FILES = ("input.txt", "src/app.py", "README.md", "no_newline.txt")
FORMATS = {
    "whole": Format(
        "The files.\n\n"
        + listing("input.txt", "alpha\nBETA\ngamma\n")
        + listing("**notes.md**", "# Notes\n\nünïcødé 🚀\n")
        + listing("README.md", "")
        + listing("new/deep.txt", "one\n\n"),
        [("write", name, "applied") for name in ("input.txt", "notes.md", "README.md", "new/deep.txt")],
    ),
    "udiff": Format(
        "The changes.\n\n"
        + hunks("input.txt", " alpha\n-beta\n+BETA\n+and one more\n", "-no such text\n+x\n", "-gamma\n+GAMMA\n")
        + hunks("src/app.py", " ():\n-    return 2\n+    return 22\n", " def one():\n-    return 1\n+    return 11\n")
        + hunks("no_newline.txt", " second\n-last without a newline\n+the end\n")
        + hunks("notes.md", "+# Notes\n+\n+ünïcødé 🚀\n", new=True),
        [
            ("edit", "input.txt", "applied"),
            ("edit", "input.txt", "failed"),
            ("edit", "input.txt", "applied"),
            ("edit", "src/app.py", "applied"),
            ("edit", "src/app.py", "applied"),
            ("edit", "no_newline.txt", "applied"),
            ("edit", "notes.md", "applied"),
        ],
    ),
    "diff-fenced": Format(
        "The blocks.\n\n"
        + fenced("input.txt", "beta\n", "BETA\nand one more\n")
        + fenced("notes.md", "", "# Notes\n\nünïcødé 🚀\n")
        + fenced("src/app.py", "no such text\n", "x\n"),
        [("edit", "input.txt", "applied"), ("edit", "notes.md", "applied"), ("edit", "src/app.py", "failed")],
    ),
    "patch": Format(
        "*** Begin Patch\n"
        "*** Update File: input.txt\n@@\n alpha\n-beta\n+BETA\n"
        "*** Update File: src/app.py\n@@ def three():\n-    return 2\n+    return 33\n"
        "*** Delete File: README.md\n"
        "*** Update File: no_newline.txt\n*** Move to: docs/moved.txt\n@@\n first\n-second\n+2nd\n"
        "*** End Patch\n",
        [
            ("edit", "input.txt", "applied"),
            ("edit", "src/app.py", "applied"),
            ("delete", "README.md", "applied"),
            ("edit", "no_newline.txt", "applied"),
            ("move", "no_newline.txt", "applied"),
        ],
    ),
}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", ["aider"])
def test_edits_in_every_format_are_told_with_what_became_of_them(opened: Opened, name: str, format_: str) -> None:
    wanted = FORMATS[format_]
    with opened(name, texts(wanted.answer, "Again.", "All done.")) as stage:
        assert isinstance(stage.agent, Aider)
        stage.agent.converse(["Do the work.", "Thank you."], "--edit-format", format_, *_FILES)
        shown = one_session(stage)
        assert_the_tree_is_told(stage, shown)
    assert changes(shown) == wanted.told
    assert_nothing_is_told_twice(shown)
    seen = [event for event in shown["file_events"] if event["file_path"] in _FILES and event["status"] == "applied"]
    assert {event["certainty"] for event in seen} == {"exact"}


@pytest.mark.parametrize("name", ["aider"])
def test_an_answer_that_names_a_file_outside_of_the_chat_is_not_taken(opened: Opened, name: str) -> None:
    edit = block("input.txt", "beta\n", "BETA\n")
    with opened(name, texts(f"Also README.md counts.\n\n{edit}", f"Now then.\n\n{edit}", "All done.")) as stage:
        assert isinstance(stage.agent, Aider)
        stage.agent.converse(["Do the work.", "Thank you."], "--edit-format", "diff", "input.txt")
        shown = one_session(stage)
        assert_the_tree_is_told(stage, shown)
    assert changes(shown) == [("edit", "input.txt", "failed"), ("edit", "input.txt", "applied")]


class TakingInText(InText):
    """Gives each run that has not begun the next script, whatever it asks for; later its answers tell."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.waiting = list(self.scripts.values())

    def chosen(self, history: list[Json]) -> Script | None:
        said = {text_of(message).strip() for message in history if message["role"] == "assistant"}
        own = (script for script in self.scripts.values() if any(step.text.strip() in said for step in script.steps))
        return next(own, None) or self.waiting.pop(0)


@pytest.mark.parametrize("name", AIDER)
def test_two_runs_at_once_in_one_folder_are_two_sessions(opened: Opened, name: str) -> None:
    """Without git: two of them would lock each other out of it."""

    def scripts(workdir: Path, variant: Variant) -> list[Script]:
        failing = block("input.txt", "no such text\n", "x\n")
        made = {run: block(f"{run}.txt", "", f"by {run}\n") for run in ("one", "two")}
        return [
            Script(run, (Step(text=f"By {run}.\n\n{made[run]}{failing}"), Step(text=f"{run} is done."))) for run in made
        ]

    with opened(name, scripts, kind=TakingInText) as stage:
        shown = two_sessions(stage, "--no-git", "--edit-format", "diff", "input.txt")
        assert_the_tree_is_told(stage, *shown)
    assert sorted(map(changes, shown)) == [
        [("edit", f"{run}.txt", "applied"), ("edit", "input.txt", "failed")] for run in ("one", "two")
    ]


@pytest.mark.parametrize("name", AIDER)
def test_a_continued_run_adds_to_the_same_session(opened: Opened, name: str) -> None:
    first = f"Editing.\n\n{block('input.txt', f'beta{chr(10)}', f'BETA{chr(10)}')}"
    second = f"More.\n\n{block('README.md', f'With two lines.{chr(10)}', '')}{block('input.txt', f'x{chr(10)}', 'y')}"
    with opened(name, texts(first, second, "All done.")) as stage:
        arguments = ("--edit-format", "diff", "input.txt", "README.md")
        stage.agent.run("Do it.", *arguments)
        stage.agent.run("Go on.", *stage.agent.continued(), *arguments)
        shown = one_session(stage)
    assert said(shown) == [first, second, "All done."]
    assert_nothing_is_told_twice(shown)


def said(shown: Json) -> list[str]:
    return [message["content"] for message in shown["messages"] if message["role"] == "assistant"]


TALK = "Now I do what was asked for, in words that come in more pieces than one, so that they may break off."
STATUS = {
    "429 and retry": (Fault("work", 0, "status", 429, "Retry-After: 1\r\n"), 429, "complete"),
    "500": (Fault("work", 0, "status", 500), 500, "complete"),
    "drop before the head": (Fault("work", 0, "drop before head"), 502, "upstream_disconnected"),
    "drop in text": (Fault("work", 0, "drop in text"), 200, "upstream_disconnected"),
}
STREAM = {**STATUS, "error event": (Fault("work", 0, "error event"), 200, "complete")}


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name in AIDER for fault in STREAM])
def test_a_turn_that_broke_is_told_once_and_right(opened: Opened, name: str, fault: str) -> None:
    given, status, outcome = STREAM[fault]
    once = Fault(given.script, given.step, given.what, given.status, given.headers)
    edit = f"{TALK}\n\n{block('input.txt', f'beta{chr(10)}', f'BETA{chr(10)}')}"
    with opened(name, texts(edit, "Again.", "All done."), faults=[once]) as stage:
        assert isinstance(stage.agent, Aider)
        stage.agent.converse(["Do it.", "Go on.", "Thank you."], "--edit-format", "diff", "input.txt")
        shown = one_session(stage)
        assert_the_tree_is_told(stage, shown)
        assert once.times == 0, "the fault did not happen"
        assert_the_failed_try_is_told(stage, shown, status, outcome)


class Slow(InText):
    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **{**more, "pace": 0.3})


@pytest.mark.parametrize("name", ["aider"])
def test_an_answer_that_the_user_interrupts_is_told_as_far_as_it_came(opened: Opened, name: str) -> None:
    edit = f"{TALK}\n\n{block('input.txt', f'beta{chr(10)}', f'BETA{chr(10)}')}"
    with opened(name, texts(edit, "All done."), kind=Slow) as stage:
        heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background ignores it
        process = stage.agent.start("Do it.", "--edit-format", "diff", "input.txt")
        signal.signal(signal.SIGINT, heard)
        wait_until(lambda: any(b"I do what" in turn.sent for turn in stage.turns()), "the first words", seconds=60)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        shown = one_session(stage)
    assert [call["outcome"] for call in shown["calls"]] == ["client_disconnected"]
    (begun,) = said(shown)
    assert begun and edit.startswith(begun) and begun != edit
    assert changes(shown) == []
