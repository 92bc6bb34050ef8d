"""Which session a call belongs to: continued runs, subagents, side calls and two runs at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Script, Step
from tests.real_agents.clients.claude_code import AGENT, TOOLS, ClaudeCode
from tests.real_agents.installation import Installation
from tests.real_agents.oracle import (
    assert_nothing_is_told_twice,
    assert_the_last_history_is_told,
    assert_the_tree_is_told,
)
from tests.real_agents.stage import Stage, conversation, recorded, reduced, staged
from tests.real_agents.work import delegating, short
from tests.support.dialects import Dialect
from tests.support.provider import wait_until
from tests.support.scripted import SUMMARY, Scripted

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
Scripts = Callable[[Path], Iterable[Script]]
Open = Callable[..., AbstractContextManager[Stage[ClaudeCode]]]


@pytest.fixture
def opened(installation: Installation, tmp_path: Path) -> Iterator[Open]:
    def open_(
        scripts: Scripts, manners: Callable[..., Scripted] = Scripted
    ) -> AbstractContextManager[Stage[ClaudeCode]]:
        return staged(tmp_path, ClaudeCode, installation, scripts, manners)

    yield open_


def test_a_continued_run_adds_to_the_same_session(opened: Open) -> None:
    with opened(lambda workdir: [short("first", workdir, TOOLS), short("second", workdir, TOOLS)]) as stage:
        first = stage.agent.run("[[script:first]] Do it.")
        stage.recorder.flush()
        before = stage.show(stage.session(first.session)["id"])
        second = stage.agent.run("[[script:second]] Go on.", "--continue")
        stage.recorder.flush()
        after = stage.show(stage.session(first.session)["id"])
        assert second.session == first.session
        assert len(stage.sessions()) == 1
        expected = [reduced(message) for message in conversation(stage.asked(first.session))]
    assert after["messages"][: len(before["messages"])] == before["messages"]
    assert after["file_events"][: len(before["file_events"])] == before["file_events"]
    assert [recorded(message) for message in after["messages"]] == expected
    assert [event["tool_use_id"] for event in after["file_events"]] == [
        f"toolu_{script}_{place}" for script in ("first", "second") for place in ("s0_t0", "s1_t0", "s1_t1")
    ]


def test_a_resumed_run_adds_to_the_same_session(opened: Open) -> None:
    with opened(lambda workdir: [short(name, workdir, TOOLS) for name in ("first", "other", "second")]) as stage:
        first = stage.agent.run("[[script:first]] Do it.")
        other = stage.agent.run("[[script:other]] Something else.")
        stage.agent.run("[[script:second]] Go on.", "--resume", first.session)
        stage.recorder.flush()
        assert len(stage.sessions()) == 2
        for id_ in (first.session, other.session):
            messages = stage.show(stage.session(id_)["id"])["messages"]
            expected = [reduced(message) for message in conversation(stage.asked(id_))]
            assert [recorded(message) for message in messages] == expected


def test_a_continued_run_after_a_restart_of_the_recorder_adds_to_the_same_session(opened: Open) -> None:
    with opened(lambda workdir: [short("first", workdir, TOOLS), short("second", workdir, TOOLS)]) as stage:
        first = stage.agent.run("[[script:first]] Do it.")
        stage.recorder.stop()
        stage.recorder.start()
        stage.agent.base_url = stage.recorder.url
        stage.agent.run("[[script:second]] Go on.", "--continue")
        stage.recorder.flush()
        messages = stage.show(stage.session(first.session)["id"])["messages"]
        expected = [reduced(message) for message in conversation(stage.asked(first.session))]
        assert len(stage.sessions()) == 1
    assert [recorded(message) for message in messages] == expected


def test_a_subagent_is_a_child_session(opened: Open) -> None:
    with opened(
        lambda workdir: [delegating("parent", workdir, TOOLS, "child"), short("child", workdir, TOOLS)]
    ) as stage:
        finished = stage.agent.run("[[script:parent]] Do it.")
        stage.recorder.flush()
        (agent,) = {served.headers[AGENT] for served in stage.provider.log if AGENT in served.headers}
        parent = stage.session(finished.session)
        children = [session for session in stage.sessions() if session["parent_id"]]
        assert [child["parent_id"] for child in children] == [parent["id"]]
        for session, agent_id in ((parent, None), (children[0], agent)):
            shown = stage.show(session["id"])
            expected = [reduced(message) for message in conversation(stage.asked(finished.session, agent_id))]
            assert [recorded(message) for message in shown["messages"]] == expected
        files = [event["tool_use_id"] for event in stage.show(children[0]["id"])["file_events"]]
        assert files == ["toolu_child_s0_t0", "toolu_child_s1_t0", "toolu_child_s1_t1"]
        assert [event["tool_use_id"] for event in stage.show(parent["id"])["file_events"]] == ["toolu_parent_s1_t0"]


def test_two_runs_at_once_in_one_folder_are_two_sessions(opened: Open) -> None:
    names = ("one", "two")
    with opened(lambda workdir: [short(name, workdir, TOOLS) for name in names]) as stage:
        processes = [stage.agent.start(f"[[script:{name}]] Do it.") for name in names]
        finished = [stage.agent.finish(process) for process in processes]
        stage.recorder.flush()
        assert len(stage.sessions()) == 2
        for name, run in zip(names, finished, strict=True):
            shown = stage.show(stage.session(run.session)["id"])
            assert {event["tool_use_id"].split("_")[1] for event in shown["file_events"]} == {name}
            expected = [reduced(message) for message in conversation(stage.asked(run.session))]
            assert [recorded(message) for message in shown["messages"]] == expected


def test_titles_and_probes_are_calls_but_no_messages(opened: Open) -> None:
    with opened(lambda workdir: [short("shown", workdir, TOOLS)]) as stage:
        with stage.agent.on_screen("[[script:shown]] Do the work.") as screen:
            wait_until(
                lambda: (
                    sum(stage.agent.is_turn(served) and served.complete for served in list(stage.provider.log)) == 3
                ),
                f"three turns of the interactive program: {b''.join(screen)[-2000:]!r}",
                seconds=60,
            )
            wait_until(lambda: len(stage.provider.log) >= 5, "its probe and its title call", seconds=30)
        stage.recorder.flush()
        titles = [
            served
            for served in stage.provider.log
            if served.path.endswith("/messages") and not stage.agent.is_turn(served)
        ]
        assert titles, "this Claude Code asks for no title: find out what it does instead"
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        expected = [reduced(message) for message in conversation(stage.asked(session["opencode_id"]))]
        assert [recorded(message) for message in shown["messages"]] == expected
        assert titles[0].reply
        assert session["title"] == json.loads(titles[0].reply["content"][0]["text"])["title"]
        kinds = [call["kind"] for call in stage.recorder.ask("calls")]
        assert kinds.count("main") == 3
        assert kinds.count("title") == len(titles)
        assert len(kinds) == len(stage.provider.log)


class Filling(Scripted):
    """The last answer of the script `first` says that the model's context is full, whichever model it is."""

    def _reply(self, dialect: Dialect, request: Json, script: Script, number: int, step: Step) -> Json:
        reply = super()._reply(dialect, request, script, number, step)
        if (script.name, step.calls) == ("first", ()):
            reply["usage"]["input_tokens"] = 1_000_000
        return reply


OLDER = ("--model", "claude-sonnet-4-5")
COMPACTED: dict[str, tuple[tuple[str, ...], bool]] = {
    "newest model": ((), False),
    "older model": (OLDER, False),
    "by itself": ((), True),
}


@pytest.mark.parametrize("way", COMPACTED)
def test_a_compacted_session_goes_on_as_the_same_session(way: str, opened: Open) -> None:
    """By the user's word, or by the program itself when the context is full."""
    arguments, by_itself = COMPACTED[way]
    with opened(
        lambda workdir: [short("first", workdir, TOOLS), short("second", workdir, TOOLS)],
        partial(Filling if by_itself else Scripted, goes_on="[[script:second]]"),
    ) as stage:
        first = stage.agent.run("[[script:first]] Do it.", *arguments)
        if not by_itself:
            stage.agent.run("/compact", "--continue", *arguments)
        finished = stage.agent.run("Go on.", "--continue", *arguments)
        assert (finished.session, finished.result) == (first.session, "second is done.")
        stage.recorder.flush()
        assert len(stage.sessions()) == 1
        shown = stage.show(stage.session(first.session)["id"])
        kinds = [call["kind"] for call in stage.recorder.ask("calls")]
    assert kinds == ["main"] * 3 + ["summary"] + ["main"] * 3
    by_tool = [event for event in shown["file_events"] if event["tool_name"] != "attachment"]
    assert [event["tool_use_id"] for event in by_tool] == [
        f"toolu_{script}_{place}" for script in ("first", "second") for place in ("s0_t0", "s1_t0", "s1_t1")
    ]
    restored = [event for event in shown["file_events"] if event["tool_name"] == "attachment"]
    assert {(event["event_type"], event["status"]) for event in restored} == {("read", "applied")}
    parts = [part for message in shown["messages"] for part in message["parts"]]
    used = [part["id"] for part in parts if part["type"] == "tool_use"]
    assert used == [event["tool_use_id"] for event in by_tool]
    told = [message for message in shown["messages"] if SUMMARY in (message["content"] or "")]
    assert [message["role"] for message in told] == ["user"], (
        "the summary is there once: as what the agent goes on from"
    )


def test_a_forked_session_tells_its_own_work_only(opened: Open) -> None:
    with opened(lambda workdir: [short("first", workdir, TOOLS), short("second", workdir, TOOLS)]) as stage:
        first = stage.agent.run("[[script:first]] Do it.")
        second = stage.agent.run("[[script:second]] Go on.", "--resume", first.session, "--fork-session")
        assert second.session != first.session
        stage.recorder.flush()
        shown = [stage.show(stage.session(run.session)["id"]) for run in (first, second)]
        assert_nothing_is_told_twice(*shown)
        assert_the_tree_is_told(stage, *shown)
        assert_the_last_history_is_told(stage, shown[1], stage.asked(second.session))
        changed = [stage.recorder.run("diff", one["session"]["id"]) for one in shown]
        stage.recorder.stop()
        stage.recorder.run("rebuild")
        assert [stage.show(one["session"]["id"]) for one in shown] == shown
    for script, one, diff in zip(("first", "second"), shown, changed, strict=True):
        assert [event["tool_use_id"] for event in one["file_events"]] == [
            f"toolu_{script}_{place}" for place in ("s0_t0", "s1_t0", "s1_t1")
        ]
        assert diff.count("+++ ") == 1 and f"{script}.txt" in diff
