"""A short session of every agent over every protocol, told as its recording in the corpus is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.real_agents.conftest import Installed
from tests.real_agents.recorded import PROMPT, SHORT, Short, case_of
from tests.real_agents.stage import staged
from tests.support.record_corpus import record, stage_names
from tests.support.sessions import load
from tests.support.told import lines

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]


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
    case = tmp_path / case_of(short.name)
    record(stage.recorder.data, case, stage_names(tmp_path), "Compared.", "today's version")
    found = json.loads((case / "expected.json").read_text("utf-8"))
    told, expected = lines(found), lines(load(case.name).expected)
    assert told == expected if short.ordered else sorted(told) == sorted(expected)
