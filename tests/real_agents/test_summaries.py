"""Agents that name no session and make their history shorter: the same session goes on, from a summary told once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Script, Step
from tests.real_agents.client import Client
from tests.real_agents.clients import variants
from tests.real_agents.conftest import Installed
from tests.real_agents.stage import Stage, apply, conversation, recorded, reduced, staged
from tests.real_agents.work import files_of, short
from tests.support.dialects import Dialect
from tests.support.scripted import SUMMARY, Scripted, dialect_of, request_of

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
_BY_NAME = {variant.name: variant for variant in variants()}
_ASKS = (
    "component that summarizes a conversation",  # Qwen Code
    "context summarization assistant",  # pi
    "Summarize the provided coding session",  # Cline
    "generate the updated <state_snapshot>",  # Gemini CLI, and when it has its own summary judged
    "Critically evaluate the <state_snapshot>",
)
_REMEMBERS = "Managed memory has TWO directories."  # Qwen Code


class Summarising(Scripted):
    """Gives each summary another number. The script goes on in the middle of a turn, so the summary names it."""

    def __init__(self, *arguments: Any, **manners: Any) -> None:
        super().__init__(*arguments, **manners)
        self.given: list[str] = []

    def side(self, dialect: Dialect, request: Json, history: list[Json]) -> str | None:
        asked = json.dumps([request.get("system"), request.get("systemInstruction"), request.get("messages"), history])
        if not any(sign in asked for sign in _ASKS):
            return super().side(dialect, request, history)
        self.given.append(f"Summary {len(self.given)}. {SUMMARY}")
        text = f"## Goal\n[[script:first]]\n\n## State\n{self.given[-1]}"
        if "<state_snapshot>" not in asked:
            return text
        return f"<analysis>\nThis is long.\n</analysis>\n<state_snapshot>\n{text}\n</state_snapshot>"


def by_command(stage: Stage[Client]) -> None:
    stage.agent.run("[[script:first]] Do it.")
    stage.agent.run("/compress", *stage.agent.continued())
    stage.agent.run("[[script:second]] Go on.", *stage.agent.continued())
    stage.agent.run("[[script:talk]] Well?", *stage.agent.continued())  # without tools: it looks for memories then


def by_itself(**options: str) -> Callable[[Stage[Client]], None]:
    """With such options it takes its context for full."""

    def play(stage: Stage[Client]) -> None:
        stage.agent.options |= options
        stage.agent.run("[[script:first]] Do it.")
        stage.agent.run("[[script:second]] Go on.", *stage.agent.continued())

    return play


def at_the_next_prompt(stage: Stage[Client]) -> None:
    stage.agent.run("[[script:first]] Do it.")
    stage.agent.options |= {"threshold": "0.000001"}
    stage.agent.run("[[script:second]] Go on.", *stage.agent.continued())


def within_a_turn(stage: Stage[Client]) -> None:
    """Another run cannot go on with its session without a terminal."""
    stage.agent.options |= {"window": "6200"}
    stage.agent.run("[[script:first]] Do it.")


WAYS = {
    "Qwen Code": by_command,
    "pi, Chat Completions": by_itself(reserve="198500", keep="50"),
    "pi, Messages": by_itself(reserve="198500", keep="50"),
    "Gemini CLI": at_the_next_prompt,
    "Cline": within_a_turn,
}


@pytest.mark.parametrize("name", WAYS)
def test_a_compacted_session_goes_on_as_the_same_session(installed: Installed, tmp_path: Path, name: str) -> None:
    variant = _BY_NAME[name]

    def scripts(folder: Path) -> list[Script]:
        talk = Script("talk", (Step(text="Well indeed."),))
        return [*(short(script, folder, variant.tools) for script in ("first", "second")), talk]

    with staged(tmp_path, variant.client, installed(variant.client), scripts, Summarising) as stage:
        stage.agent.options = dict(variant.options)
        WAYS[name](stage)
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        calls = stage.recorder.ask("calls")
        assert {call["session_id"] for call in calls} == {session["id"]}
        assert Counter(call["kind"] for call in calls) == Counter(map(kind_of, asks(stage)))
        assert replayed(stage, shown) == files_of(stage.workdir)
        said = [recorded(message) for message in shown["messages"]]
        lacking = [message for message in map(reduced, conversation(turns(stage))) if message not in pieces(said)]
        assert lacking == []
        told_once(stage, shown)
    runs = ["first"] if name == "Cline" else ["first", "second"]
    by_tool = [event["tool_use_id"] for event in shown["file_events"] if event["tool_name"] != "attachment"]
    assert by_tool == [f"toolu_{run}_{place}" for run in runs for place in ("s0_t0", "s1_t0", "s1_t1")]
    if name == "Qwen Code":
        assert "memory" in {call["kind"] for call in calls}
        restored = [e for e in shown["file_events"] if e["tool_name"] == "attachment"]
        assert [(Path(e["file_path"]).name, e["event_type"], e["status"]) for e in restored] == [
            ("first.txt", "read", "applied"),
            ("input.txt", "read", "applied"),
        ]


def asks(stage: Stage[Client]) -> list[Any]:
    """The requests for an answer, side calls among them."""
    return [served for served in stage.provider.log if dialect_of(served) is not None]


def kind_of(served: Any) -> str:
    asked = json.dumps(request_of(served))
    if any(sign in asked for sign in _ASKS):
        return "summary"
    return "memory" if _REMEMBERS in asked else "main"


def turns(stage: Stage[Client]) -> list[Any]:
    return [served for served in asks(stage) if kind_of(served) == "main"]


def pieces(said: list[Any]) -> list[Any]:
    """Messages as they are, and each block by itself: protocols part results otherwise than the record does."""
    return [*said, *((role, [block]) for role, blocks in said for block in blocks)]


def told_once(stage: Stage[Client], shown: Json) -> None:
    """Each summary from which the agent went on is in one message of the user, and no other is told."""
    assert isinstance(stage.provider, Summarising)
    assert stage.provider.given, "it did not compact"
    sent = json.dumps([request_of(served) for served in turns(stage)])
    for text in stage.provider.given:
        told = [message["role"] for message in shown["messages"] if text in (message["content"] or "")]
        assert told == (["user"] if text in sent else []), text


def replayed(stage: Stage[Client], shown: Json) -> dict[str, bytes]:
    """The starting tree with the applied events."""
    tree = stage.copy_of_start("replayed")
    for event in shown["file_events"]:
        if event["status"] == "applied" and event["event_type"] in ("write", "edit", "delete", "move"):
            apply(event["diff"], tree)
    return files_of(tree)
