"""Codex and opencode: which session a call belongs to, what MCP servers and background commands do."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import Client, Variant
from tests.real_agents.clients.codex import CodeTools, Codex, FunctionTools
from tests.real_agents.clients.opencode import Opencode
from tests.real_agents.conftest import Opened
from tests.real_agents.stage import Stage, apply, conversation, recorded, reduced
from tests.real_agents.work import files_of, short
from tests.support.dialects import Dialect
from tests.support.scripted import Scripted

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
CODE, FUNCTIONS = "Codex, WebSocket, code mode", "Codex, HTTP, functions"
ANTHROPIC, CHAT, GOOGLE = "opencode, anthropic", "opencode, compatible", "opencode, google"
OPENAI = "opencode, openai"
SERVER = str(Path(__file__).parents[1] / "support" / "mcp_server.py")


def shorts(*names: str) -> Callable[[Path, Variant], list[Script]]:
    return lambda workdir, variant: [short(name, workdir, variant.tools) for name in names]


def flat(messages: Iterable[tuple[str, list[tuple[str, ...]]]]) -> list[tuple[str, ...]]:
    return [(role, *block) for role, blocks in messages for block in blocks]


def said_once(stage: Stage[Client], shown: Json, session: str | None, agent: str | None = None) -> None:
    """The messages of a session are what crossed the wire, once."""
    expected = conversation(stage.asked(session, agent))
    assert flat(map(recorded, shown["messages"])) == flat(map(reduced, expected))


def uses(shown: Json) -> list[str]:
    """The tool uses that made events, each once, in order."""
    return list(dict.fromkeys(event["tool_use_id"] for event in shown["file_events"]))


def all_of(*names: str) -> list[str]:
    return [f"toolu_{name}_{place}" for name in names for place in ("s0_t0", "s1_t0", "s1_t1")]


def told_once(shown: Json) -> bool:
    told = Counter((e["tool_use_id"], e["event_type"], e["file_path"]) for e in shown["file_events"])
    return set(told.values()) == {1}


def replayed(stage: Stage[Client], *shown: Json) -> dict[str, bytes]:
    """The starting tree with the applied events of these sessions."""
    tree = stage.copy_of_start("replayed")
    for event in (event for one in shown for event in one["file_events"]):
        if event["status"] == "applied" and event["event_type"] in ("write", "edit", "delete", "move"):
            apply(event["diff"], tree)
    return files_of(tree)


def main_of(stage: Stage[Client]) -> str | None:
    return next(stage.agent.whose(served)[0] for served in stage.provider.log if stage.agent.is_turn(served))


@pytest.mark.parametrize("name", [CODE, FUNCTIONS, ANTHROPIC, CHAT, GOOGLE])
def test_a_continued_run_adds_to_the_same_session(opened: Opened, name: str) -> None:
    with opened(name, shorts("first", "second")) as stage:
        stage.agent.run("[[script:first]] Do it.")
        stage.agent.run("[[script:second]] Go on.", *stage.agent.continued())
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        if name != CODE:  # a resumed Codex sends its whole history once more, over a new connection
            said_once(stage, shown, main_of(stage))
        assert replayed(stage, shown) == files_of(stage.workdir)
    assert uses(shown) == all_of("first", "second")
    assert told_once(shown)


@pytest.mark.parametrize("name", [FUNCTIONS, CODE, ANTHROPIC])
def test_a_fork_is_a_session_that_tells_its_own_work_only(opened: Opened, name: str) -> None:
    with opened(name, shorts("first", "second")) as stage:
        stage.agent.run("[[script:first]] Do it.")
        before = main_of(stage)
        assert before and isinstance(stage.agent, Codex | Opencode)
        stage.agent.run("[[script:second]] Go on.", *stage.agent.forked(before))
        stage.recorder.flush()
        rows = {session["opencode_id"]: session for session in stage.sessions()}
        first = rows.pop(before)
        ((_, second),) = rows.items()
        shown = [stage.show(row["id"]) for row in (first, second)]
        assert replayed(stage, *shown) == files_of(stage.workdir)
        assert [list(map(name_of_file, diffed(stage, row["id"]))) for row in (first, second)] == [
            ["first.txt"], ["second.txt"],
        ]  # fmt: skip
        stage.recorder.stop()
        stage.recorder.run("rebuild")
        assert [stage.show(row["id"]) for row in (first, second)] == shown
    assert (first["parent_id"], second["parent_id"]) == (None, None)
    assert list(map(uses, shown)) == [all_of("first"), all_of("second")]
    assert all(map(told_once, shown))


@pytest.mark.parametrize("name", [CODE, FUNCTIONS, ANTHROPIC])
def test_two_runs_at_once_in_one_folder_are_two_sessions(opened: Opened, name: str) -> None:
    with opened(name, shorts("one", "two")) as stage:
        if isinstance(stage.agent, Opencode):
            stage.agent.prepare()
        processes = [stage.agent.start(f"[[script:{script}]] Do it.") for script in ("one", "two")]
        for process in processes:
            stage.agent.finish(process)
        stage.recorder.flush()
        shown = [stage.show(session["id"]) for session in stage.sessions()]
        assert sorted(map(uses, shown)) == [all_of("one"), all_of("two")]
        assert all(map(told_once, shown))


# Its functions for subagents are found by a search.
SEARCH = Call("tool_search", {"query": "spawn_agent wait_agent sub-agents"})


class Waiting(Scripted):
    """Waits for the agents whose ids stand in the history, which the script names by their places."""

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        found = super().play(dialect, request)
        if found is None or "targets" not in (found[2].calls[0].input if found[2].calls else {}):
            return found
        script, number, step = found
        ids = list(dict.fromkeys(re.findall(r"agent_id\W+([0-9a-f-]{36})", json.dumps(request))))
        targets = [ids[place] for place in step.calls[0].input["targets"]]
        call = msgspec.structs.replace(step.calls[0], input={**step.calls[0].input, "targets": targets})
        return script, number, msgspec.structs.replace(step, calls=(call,))


def delegating(name: str) -> Callable[[Path, Variant], list[Script]]:
    """Works itself, then hands a task each to two subagents at once."""

    def scripts(workdir: Path, variant: Variant) -> list[Script]:
        tools = variant.tools
        if isinstance(tools, FunctionTools):
            hand = [
                Call("spawn_agent", {"task_name": f"sub_{child}", "message": f"[[script:{child}]] Do the subtask."})
                for child in ("child", "other")
            ]
            given = [{"targets": [number]} for number in range(2)] if name == FUNCTIONS else [{}] * 3
            wait = [Step(text="Waiting.", calls=(Call("wait_agent", {"timeout_ms": 10000, **one}),)) for one in given]
        else:
            hand = [tools.delegate(f"[[script:{child}]] Do the subtask.") for child in ("child", "other")]
            wait = []
        steps = (
            Step(text="Working.", calls=(tools.write(workdir / "parent.txt", "by the parent\n"),)),
            *([Step(text="Searching.", calls=(SEARCH,))] if name == FUNCTIONS else []),
            Step(text="Delegating.", calls=tuple(hand)),
            *wait,
            Step(text="All are done."),
        )
        return [Script("parent", steps), *(short(child, workdir, tools) for child in ("child", "other"))]

    return scripts


# Agents of its older tools have none below them, unless the settings say so.
DEEPER = "[agents]\nmax_depth = 2"


def nested(workdir: Path, variant: Variant) -> list[Script]:
    """Each writes a file, then hands the rest to one below it."""
    tools, is_older = variant.tools, variant.name == FUNCTIONS
    search = [Step(text="Searching.", calls=(SEARCH,))] if is_older else []
    waits: list[Json] = [{"targets": [0]}] if is_older else [{}] * 3

    def hand(child: str) -> Step:
        given = {"task_name": f"sub_{child}", "message": f"[[script:{child}]] Do the subtask."}
        return Step(text="Delegating.", calls=(Call("spawn_agent", given),))

    def one(name: str, child: str) -> Script:
        write = Step(text="Working.", calls=(tools.write(workdir / f"{name}.txt", f"by {name}\n"),))
        wait = [Step(text="Waiting.", calls=(Call("wait_agent", {"timeout_ms": 10000, **one}),)) for one in waits]
        return Script(name, (write, *search, hand(child), *wait, Step(text=f"{name} is done.")))

    return [one("parent", "middle"), one("middle", "leaf"), short("leaf", workdir, tools)]


@pytest.mark.parametrize("name", [CODE, FUNCTIONS])
def test_a_subagent_of_a_subagent_is_under_it(opened: Opened, name: str) -> None:
    with opened(name, nested, {"toml": DEEPER} if name == FUNCTIONS else None, kind=Waiting) as stage:
        stage.agent.run("[[script:parent]] Do it.")
        stage.recorder.flush()
        rows = {row["parent_id"]: row for row in stage.sessions()}
        assert len(rows) == len(stage.sessions()) == 3
        parent = rows[None]
        middle, leaf = rows[parent["id"]], rows[rows[parent["id"]]["id"]]
        shown = [stage.show(row["id"]) for row in (parent, middle, leaf)]
        assert replayed(stage, *shown) == files_of(stage.workdir)
        assert [list(map(name_of_file, diffed(stage, row["id"]))) for row in (parent, middle, leaf)] == [
            ["parent.txt"], ["middle.txt"], ["leaf.txt"],
        ]  # fmt: skip
    assert {row["parent_certainty"] for row in (middle, leaf)} == {"exact"}
    assert list(map(uses, shown)) == [["toolu_parent_s0_t0"], ["toolu_middle_s0_t0"], all_of("leaf")]
    assert all(map(told_once, shown))


def diffed(stage: Stage[Client], session: str) -> list[str]:
    """The files that the session's diff is about."""
    return re.findall(r"^\+\+\+ b/(.+)$", stage.recorder.run("diff", session), re.M)


def name_of_file(path: str) -> str:
    return Path(path).name


@pytest.mark.parametrize("name", [CODE, FUNCTIONS, ANTHROPIC, CHAT])
def test_subagents_at_once_are_child_sessions_that_tell_their_own_work_only(opened: Opened, name: str) -> None:
    with opened(name, delegating(name), kind=Waiting) as stage:
        stage.agent.run("[[script:parent]] Do it.")
        stage.recorder.flush()
        (parent,) = [session for session in stage.sessions() if not session["parent_id"]]
        children = [session for session in stage.sessions() if session["parent_id"] == parent["id"]]
        shown = [stage.show(session["id"]) for session in [parent, *children]]
        assert len(stage.sessions()) == 3
        assert replayed(stage, *shown) == files_of(stage.workdir)
    assert uses(shown[0]) == ["toolu_parent_s0_t0"]
    assert sorted(map(uses, shown[1:])) == [all_of("child"), all_of("other")]
    assert all(map(told_once, shown))


def serving(name: str) -> tuple[Callable[[Path, Variant], list[Script]], list[Call]]:
    write = {"path": "by-server.txt", "content": "by the server\n"}
    if name == CODE:
        code = CodeTools().code
        calls = [
            code(f"text(await tools.mcp__files__write_file({json.dumps(write)}));"),
            code("text(await tools.mcp__files__fail({}));"),
        ]
    elif name == FUNCTIONS:  # the tools of servers are found by a search, and stand in a namespace
        calls = [Call("tool_search", {"query": "write_file fail"}), Call("write_file", write), Call("fail", {})]
    else:
        calls = [Call("files_write_file", write), Call("files_fail", {})]
    steps = (*(Step(text="Asking.", calls=(call,)) for call in calls), Step(text="Done."))
    return lambda workdir, variant: [Script("served", steps)], calls


@pytest.mark.parametrize("name", [CODE, FUNCTIONS, ANTHROPIC, CHAT, GOOGLE, OPENAI])
def test_files_that_an_mcp_server_writes_are_events(opened: Opened, name: str, tmp_path: Path) -> None:
    workdir = str(tmp_path / "work")
    command = [sys.executable, SERVER, workdir]
    options = {
        "toml": f"[mcp_servers.files]\ncommand = {json.dumps(command[0])}\nargs = {json.dumps(command[1:])}",
        "mcp": json.dumps({"files": {"type": "local", "command": command, "enabled": True}}),
    }
    scripts, _ = serving(name)
    with opened(name, scripts, options) as stage:
        stage.agent.run("[[script:served]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert replayed(stage, shown) == files_of(stage.workdir)
    (event,) = shown["file_events"]
    assert (event["event_type"], event["file_path"], event["status"]) == ("write", "by-server.txt", "applied")


class Polling(Scripted):
    """Asks for the session that the last result named."""

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        found = super().play(dialect, request)
        ids = re.findall(r"(?:Process running with session ID |session_id\W+)(\d+)(?=[,}\\])", json.dumps(request))
        if found is None or not ids or not found[2].calls:
            return found
        script, number, step = found
        given = step.calls[0].input
        changed = (
            {"input": given["input"].replace("SESSION", ids[-1])} if "input" in given else {"session_id": int(ids[-1])}
        )
        call = msgspec.structs.replace(step.calls[0], input={**given, **changed})
        return script, number, msgspec.structs.replace(step, calls=(call,))


@pytest.mark.parametrize("name", [FUNCTIONS, CODE])
def test_the_end_of_a_background_command_is_told(opened: Opened, name: str) -> None:
    command = "sleep 1; echo late; exit 4"
    start, look = {"cmd": command, "yield_time_ms": 250}, {"chars": ""}
    calls = [Call("exec_command", start), Call("write_stdin", {"session_id": 0, **look})]
    if name == CODE:
        wait = json.dumps(look)[1:-1]
        programs = (
            f"await tools.exec_command({json.dumps(start)})",
            f"await tools.write_stdin({{session_id: SESSION, {wait}}})",
        )
        calls = [CodeTools().code(f"text(JSON.stringify({program}));") for program in programs]
    steps = (Step(text="Starting.", calls=(calls[0],)), Step(text="Waiting.", calls=(calls[1],)), Step(text="Done."))
    with opened(name, lambda workdir, variant: [Script("late", steps)], kind=Polling) as stage:
        stage.agent.run("[[script:late]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        (event,) = stage.show(session["id"])["file_events"]
    assert (event["command"], event["status"], event["exit_code"]) == (command, "failed", 4)


@pytest.mark.parametrize("name", [ANTHROPIC])
def test_a_title_is_a_call_but_no_message(opened: Opened, name: str) -> None:
    with opened(name, shorts("work")) as stage:
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        said_once(stage, stage.show(session["id"]), main_of(stage))
        kinds = Counter(call["kind"] for call in stage.recorder.ask("calls"))
    assert session["title"] == "A scripted session"
    assert kinds == {"title": 1, "main": 3}
