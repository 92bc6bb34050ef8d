"""aider restores a long chat from its file: a summary stands for it, and the session goes on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ocproxy.demo.script import Script, Step
from tests.real_agents.clients.aider import Aider
from tests.real_agents.conftest import Installed
from tests.real_agents.in_text import InText, Json, block
from tests.real_agents.stage import staged
from tests.support.dialects import Dialect
from tests.support.scripted import SUMMARY

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

_SAID = ("Editing.\n\n" + block("input.txt", "beta\n", "BETA\n"), "There is nothing more.")


class Summarising(InText):
    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        asked = json.dumps(request)
        if "*Briefly* summarize" in asked:
            step = Step(text=f"I asked you to change a file.\n\n{SUMMARY}")
        elif "And is there more?" in asked:
            step = Step(text=_SAID[1])
        else:
            return super().play(dialect, request)
        return Script("side", (step,)), 0, step


@pytest.mark.parametrize("name", ["aider"])
def test_a_compacted_session_goes_on_as_the_same_session(installed: Installed, tmp_path: Path, name: str) -> None:
    script = Script(name, (Step(text=_SAID[0]),))
    with staged(tmp_path, Aider, installed(Aider), lambda _: [script], Summarising) as stage:
        diff = ("--edit-format", "diff")
        stage.agent.run("Do the work, please, on that file.", *diff, "input.txt")
        again = (*stage.agent.continued(), "--max-chat-history-tokens", "10")
        stage.agent.run("And is there more?", *diff, *again, "input.txt")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        calls = stage.recorder.ask("calls")
    kinds = Counter((call["kind"], call["session_id"] == session["id"]) for call in calls)
    assert kinds == {("main", True): 2, ("summary", True): kinds["summary", True], ("commit", False): 1}
    assert kinds["summary", True] >= 1
    said = [message["content"].strip() for message in shown["messages"] if message["role"] == "assistant"]
    assert said == [text.strip() for text in _SAID]
    told = [message["role"] for message in shown["messages"] if SUMMARY in message["content"]]
    assert told == ["user"]
    edits = [(e["file_path"], e["status"]) for e in shown["file_events"] if e["event_type"] == "edit"]
    assert edits == [("input.txt", "requested")]  # nothing was said of it any more
