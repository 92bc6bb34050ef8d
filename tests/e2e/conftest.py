"""A recording that many tests may read: the demonstration's agent at work through a real `ocproxy serve`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocproxy.demo.agent import run_agent
from ocproxy.demo.story import PROMPT, prepare, tell_story
from tests.e2e.answers import Answers
from tests.support.provider import provider_in_background
from tests.support.recorder import Recorder


@dataclass
class Recording:
    """What is left when the agent is done and the server has stopped."""

    answers: Answers
    workdir: Path
    flushed: int  # calls in the database when `flush` returned, the server still running


def work(recorder: Recorder, workdir: Path, run: str = "e2e") -> None:
    """The agent works through the recorder; its calls are one run."""
    # The tools are named and answer like those of Claude Code.
    tags = {"x-ocproxy-workdir": str(workdir), "user-agent": "claude-cli/2.1.329 (external, sdk-cli)"}
    asyncio.run(run_agent(f"{recorder.url}/run/{run}", workdir, PROMPT, lambda line: None, tags))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    folder = tmp_path_factory.mktemp("recording")
    workdir = folder / "project"
    workdir.mkdir()
    prepare(workdir)
    with provider_in_background([tell_story(workdir)]) as provider:
        recorder = Recorder(folder / "recorder" / "data", provider.url)
        with recorder.serving():
            work(recorder, workdir)
            recorder.flush()
            flushed = len(recorder.ask("calls"))
        yield Recording(Answers(recorder.data), workdir, flushed)
