"""A short session of every agent over every protocol, told as its recording in the corpus is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocproxy.demo.provider import Provider
from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import Client, Variant
from tests.real_agents.clients import variants
from tests.real_agents.clients.aider import Aider
from tests.real_agents.clients.mini_swe_agent import MiniSweAgent
from tests.real_agents.conftest import Installed
from tests.real_agents.in_text import block
from tests.real_agents.stage import staged
from tests.real_agents.work import Tools
from tests.support.record_corpus import name_of_test, record, stage_names
from tests.support.scripted import Scripted
from tests.support.sessions import load, names
from tests.support.told import lines

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

PROMPT = "Do the work."


@dataclass(frozen=True)
class Short:
    """One short session: who plays what."""

    name: str
    client: type[Client]
    script: Callable[[Path], Script]
    options: dict[str, str]
    arguments: tuple[str, ...] = ()
    manners: Callable[..., Provider] = Scripted
    ordered: bool = True  # the files that the program attaches come in the same order at every run

    def __str__(self) -> str:
        return self.name


def work(folder: Path, tools: Tools) -> Script:
    """Parallel calls; a read, a write, an edit, an edit and a command that fail."""
    source = folder / "input.txt"
    steps = (
        Step("Reading.", "I read first.", (tools.read(source), tools.bash("ls"))),
        Step("Writing.", calls=(tools.write(folder / "notes.md", "# Notes\n"), tools.edit(source, "beta", "BETA"))),
        Step("Both fail.", calls=(tools.edit(source, "no such text", "x"), tools.bash("echo out; exit 3"))),
        Step("All done. Zażółć 🚀."),
    )
    return Script("short", steps)


def _commands(_: Path) -> Script:
    commands = ("cat input.txt", "echo out; exit 3", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && echo done")
    return Script("short", tuple(Step("A step.", calls=(Call("bash", {"command": one}),)) for one in commands))


def _edits(_: Path) -> Script:
    first = block("input.txt", "beta\n", "BETA\n") + block("notes.md", "", "# Notes\n")
    texts = (
        "Editing.\n\n" + first + block("input.txt", "no such text\n", "x\n"),
        "Once more.\n\n" + block("README.md", "With two lines.\n", "With lines.\n"),
    )
    return Script("short", tuple(Step(text) for text in texts))


def _of(variant: Variant) -> Short:
    def script(folder: Path) -> Script:
        return work(folder, variant.tools)

    name, client, options, manners = variant.name, variant.client, variant.options, variant.manners
    if client is Aider:
        arguments = ("--edit-format", "diff", "input.txt", "README.md")
        return Short(name, client, _edits, options, arguments, manners, ordered=False)
    if client is MiniSweAgent:
        return Short(name, client, _commands, options, variant.arguments, manners)
    return Short(name, client, script, options, variant.arguments, manners)


def _case(name: str) -> str:
    return name_of_test(f"test_a_short_session[{name}] (call)")


SHORT = [_of(variant) for variant in variants() if _case(variant.name) in names()]


@pytest.mark.parametrize("short", SHORT, ids=str)
def test_a_short_session(installed: Installed, tmp_path: Path, short: Short) -> None:
    """Cleaning does not change what is told, and what is told is what the corpus says of this agent. Where a newer
    version of it is told otherwise, look, mend, and record it anew (`tests.support.record_corpus`)."""
    with staged(
        tmp_path, short.client, installed(short.client), lambda folder: [short.script(folder)], short.manners
    ) as stage:
        stage.agent.options = short.options
        stage.agent.run(PROMPT, *short.arguments)
        stage.recorder.flush()
    case = tmp_path / _case(short.name)
    record(stage.recorder.data, case, stage_names(tmp_path), "Compared.", "today's version")
    found = json.loads((case / "expected.json").read_text("utf-8"))
    told, expected = lines(found), lines(load(case.name).expected)
    assert told == expected if short.ordered else sorted(told) == sorted(expected)
