"""Agents that people write on SDKs and frameworks: sessions without identity, turns that broke, tools of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Call, Script, Step, text_of
from tests.real_agents.client import Client, Variant
from tests.real_agents.clients import variants
from tests.real_agents.clients.openai_agents import OpenAiAgents
from tests.real_agents.clients.openai_sdk import OpenAiSdk
from tests.real_agents.clients.smolagents import SmolAgents
from tests.real_agents.conftest import Installed
from tests.real_agents.library import OWN_TOOLS, ways
from tests.real_agents.stage import Stage, staged
from tests.real_agents.work import delegating, short
from tests.support.dialects import Dialect
from tests.support.scripted import Fault, Scripted, blocks_of

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
Open = Callable[..., Any]

_BY_NAME = {variant.name: variant for variant in variants()}


@pytest.fixture
def opened(installed: Installed, tmp_path: Path) -> Iterator[Open]:
    @contextmanager
    def open_(
        variant: Variant, scripts: Callable[[Path], Iterable[Script]], kind: type[Scripted] = Scripted, **manners: Any
    ) -> Iterator[Stage[Client]]:
        with staged(tmp_path, variant.client, installed(variant.client), scripts, partial(kind, **manners)) as stage:
            stage.agent.options = dict(variant.options)
            yield stage

    yield open_


def shorts(variant: Variant, *names: str) -> Callable[[Path], list[Script]]:
    return lambda folder: [short(name, folder, variant.tools) for name in names]


def uses(shown: Json) -> list[str]:
    """The tool uses that made events, each once, in order."""
    return list(dict.fromkeys(event["tool_use_id"] for event in shown["file_events"]))


def all_of(*names: str) -> list[str]:
    return [f"toolu_{name}_{place}" for name in names for place in ("s0_t0", "s1_t0", "s1_t1")]


def written(shown: Json) -> list[tuple[str, str]]:
    events = [event for event in shown["file_events"] if event["event_type"] == "write"]
    return [(Path(event["file_path"]).name, event["status"]) for event in events]


def is_a_line(shown: Json) -> bool:
    parents = [None, *(message["id"] for message in shown["messages"])]
    return [message["parent_id"] for message in shown["messages"]] == parents[:-1]


CONTINUED = [
    "openai, Chat Completions, streamed",
    "openai, Responses, stored",
    "openai, Responses, conversation",
    "anthropic, Messages, streamed",
    "google-genai, chat, streamed",
    "openai-agents, Responses, WebSocket",
    "pydantic-ai, Messages",
    "langchain, ChatOpenAI",
]


@pytest.mark.parametrize("name", CONTINUED)
def test_a_continued_run_adds_to_the_same_session(opened: Open, name: str) -> None:
    variant = _BY_NAME[name]
    with opened(variant, shorts(variant, "first", "second")) as stage:
        stage.agent.run("[[script:first]] Do it.", "[[script:second]] Go on.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
    assert written(shown) == [("first.txt", "applied"), ("second.txt", "applied")]
    assert is_a_line(shown)
    roles = [message["role"] for message in shown["messages"] if message["role"] != "system"]
    assert roles == ["user", "assistant"] * 6


class Twins(Scripted):
    """Gives the first who asks one script, and the next one the other, whatever they ask."""

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        history = dialect.history(request)
        said = {text_of(m) for m in history if m["role"] == "assistant"}
        begun = any(said)
        told = [block.get("input") for m in history for block in blocks_of(m) if block["type"] == "tool_use"]
        waiting: list[Script] = self.__dict__.setdefault("waiting", list(self.scripts.values()))
        if not begun:
            return waiting[0], 0, waiting.pop(0).steps[0]
        script = next(s for s in self.scripts.values() if s.steps[0].text in said)
        number = sum(any(call.input == one for one in told) for call in (step.calls[0] for step in script.steps[:-1]))
        return script, number, script.steps[number]


def twin(name: str, folder: Path, variant: Variant) -> Script:
    steps = short(name, folder, variant.tools).steps
    return Script(name, (Step(text=f"Reading, {name}.", calls=steps[0].calls), *steps[1:]))


@pytest.mark.parametrize(
    "name", ["openai, Chat Completions", "anthropic, Messages, streamed", "google-genai, generate_content"]
)
def test_two_runs_at_once_in_one_folder_are_two_sessions(opened: Open, name: str) -> None:
    variant = _BY_NAME[name]
    with opened(variant, lambda folder: [twin(one, folder, variant) for one in ("one", "two")], Twins) as stage:
        for process in [stage.agent.start("Do the same work.") for _ in range(2)]:
            stage.agent.finish(process)
        stage.recorder.flush()
        shown = [stage.show(session["id"]) for session in stage.sessions()]
    assert sorted(map(written, shown)) == [[("one.txt", "applied")], [("two.txt", "applied")]]
    assert all(map(is_a_line, shown))


@pytest.mark.parametrize("name", ["openai, Chat Completions", "google-genai, generate_content"])
def test_a_run_named_in_the_base_url_groups_what_says_nothing_of_itself(opened: Open, name: str) -> None:
    variant = _BY_NAME[name]
    with opened(variant, shorts(variant, "one")) as stage:
        for run in ("red", "blue"):
            stage.agent.options["prefix"] = f"/run/{run}"
            stage.agent.run("[[script:one]] Do it.")
        stage.recorder.flush()
        calls = stage.recorder.ask("calls")
        sessions = {session["id"]: session["run"] for session in stage.sessions()}
    assert sorted(sessions.values()) == ["blue", "red"]
    assert [sessions[call["session_id"]] for call in calls] == ["red"] * 3 + ["blue"] * 3
    assert [call["run"] for call in calls] == ["red"] * 3 + ["blue"] * 3


FAULTS = {
    "429 and retry": Fault("work", 1, "status", 429, "Retry-After: 1\r\n"),
    "500": Fault("work", 1, "status", 500),
}
HARMED = [
    "openai, Chat Completions",
    "openai, Responses, conversation",
    "anthropic, tool runner",
    "google-genai, generate_content",
    "openai-agents, Responses",
    "langchain, ChatOpenAI, streamed",
]


@pytest.mark.parametrize("name", HARMED)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_turn_that_broke_is_told_once_and_right(opened: Open, name: str, fault: str) -> None:
    variant, given = _BY_NAME[name], FAULTS[fault]
    once = Fault(given.script, given.step, given.what, given.status, given.headers)
    with opened(variant, shorts(variant, "work"), faults=[once]) as stage:
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        calls = [call for call in stage.recorder.ask("calls") if call["kind"] == "main"]
        table = stage.recorder.run("show", session["id"])
    assert once.times == 0, "the fault did not happen"
    assert written(shown) == [("work.txt", "applied")]
    assert is_a_line(shown)
    assert [call["status"] for call in calls] == [200, once.status, 200, 200]
    tries = [call["request_message_id"] for call in calls]
    assert tries[1] == tries[2] and len(set(tries)) == 3
    assert "2 times (before: " in table


@pytest.mark.parametrize(
    "name",
    [
        "openai, Chat Completions, streamed",
        "litellm, Chat Completions, streamed",
        "langchain, ChatOpenAI, streamed",
    ],
)
def test_hanging_up_behind_the_end_of_a_stream_is_no_failure(opened: Open, name: str) -> None:
    variant = _BY_NAME[name]
    with opened(variant, shorts(variant, "work")) as stage:
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        calls = stage.recorder.ask("calls")
    assert [(call["outcome"], call["error"], call["problems"]) for call in calls] == [("complete", None, [])] * 3


@pytest.mark.parametrize("name", ["deepagents, Chat Completions"])
def test_subagents_without_identity_are_found_by_the_prompts_that_they_were_given(opened: Open, name: str) -> None:
    variant = _BY_NAME[name]

    def scripts(folder: Path) -> list[Script]:
        children = [short(child, folder, variant.tools) for child in ("child", "other")]
        return [delegating("parent", folder, variant.tools, "child", "other"), *children]

    with opened(variant, scripts) as stage:
        stage.agent.run("[[script:parent]] Do the work.")
        stage.recorder.flush()
        (parent,) = [row for row in stage.sessions() if not row["parent_id"]]
        children = [row for row in stage.sessions() if row["parent_id"]]
        shown = [written(stage.show(row["id"])) for row in [parent, *children]]
    assert [(row["parent_id"], row["parent_certainty"]) for row in children] == [(parent["id"], "inferred")] * 2
    assert shown[0] == [("parent.txt", "applied")]
    assert sorted(shown[1:]) == [[("child.txt", "applied")], [("other.txt", "applied")]]


_way = ways(OpenAiAgents, "openai-agents")
HANDOFF = _way("handoff", "openai-responses", "handoff")
TYPED = _way("own tool types", "openai-responses", "typed")


@pytest.mark.parametrize("variant", [HANDOFF], ids=str)
def test_a_handoff_stays_in_the_session(opened: Open, variant: Variant) -> None:
    def scripts(folder: Path) -> list[Script]:
        handing = Step(text="Handing over.", calls=(Call("transfer_to_worker", {}),))
        return [Script("handed", (handing, *short("handed", folder, OWN_TOOLS).steps))]

    with opened(variant, scripts) as stage:
        stage.agent.run("[[script:handed]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        calls = stage.recorder.ask("calls")
    assert written(shown) == [("handed.txt", "applied")]
    assert is_a_line(shown)
    assert len(calls) == 4


@pytest.mark.parametrize("variant", [TYPED], ids=str)
def test_openais_own_patches_and_shells_are_events(opened: Open, variant: Variant) -> None:
    def patch(kind: str, path: Path, *lines: str) -> Call:
        diff = {"diff": "\n".join(lines)} if lines else {}
        return Call("apply_patch", {"type": kind, "path": str(path), **diff})

    def scripts(folder: Path) -> list[Script]:
        commands = ["cat input.txt", "echo out; exit 3"]
        steps = [
            Step(text="Looking.", calls=(Call("shell", {"commands": commands}),)),
            Step(text="New.", calls=(patch("create_file", folder / "new.txt", "+one", "+two"),)),
            Step(text="Changed.", calls=(patch("update_file", folder / "new.txt", "@@", " one", "-two", "+2"),)),
            Step(text="Gone.", calls=(patch("delete_file", folder / "README.md"),)),
            Step(text="Wrong.", calls=(patch("update_file", folder / "new.txt", "@@", "-nine", "+9"),)),
            Step(text="Done."),
        ]
        return [Script("typed", tuple(steps))]

    with opened(variant, scripts) as stage:
        stage.agent.run("Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        events = stage.show(session["id"])["file_events"]
        assert not (stage.workdir / "README.md").exists()
    told = [(e["event_type"], e["status"], e["command"] or Path(e["file_path"]).name, e["exit_code"]) for e in events]
    assert told == [
        ("bash", "applied", "cat input.txt", 0),
        ("bash", "failed", "echo out; exit 3", 3),
        ("write", "applied", "new.txt", None),
        ("edit", "applied", "new.txt", None),
        ("delete", "applied", "README.md", None),
        ("edit", "failed", "new.txt", None),
    ]


_smol = ways(SmolAgents, "smolagents", OWN_TOOLS)
TOOLS = _smol("tools", "openai-chat", "tools")
CODE = _smol("code", "openai-chat", "code")


class Ending(Scripted):
    """The step of an agent that sends its calls again as text is found by its answers."""

    def play(self, dialect: Dialect, request: Json) -> tuple[Script, int, Step] | None:
        (script,) = self.scripts.values()
        history = dialect.history(request)
        number = sum(any(step.text in text_of(m) for step in script.steps) for m in history if m["role"] == "assistant")
        return script, number, script.steps[number]


@pytest.mark.parametrize("variant", [TOOLS], ids=str)
def test_calls_that_smolagents_sends_again_as_text_are_told_once(opened: Open, variant: Variant) -> None:
    def scripts(folder: Path) -> list[Script]:
        tools = OWN_TOOLS
        steps = [
            Step(text="Reading first.", calls=(tools.read(folder / "input.txt"),)),
            Step(
                text="Writing two.", calls=(tools.write(folder / "a.txt", "a\n"), tools.write(folder / "b.txt", "b\n"))
            ),
            Step(text="Changing it.", calls=(tools.edit(folder / "a.txt", "a", "A"),)),
            Step(text="This fails.", calls=(tools.edit(folder / "a.txt", "none", "x"),)),
            Step(text="Running it.", calls=(tools.bash("exit 3"),)),
            Step(text="Ending now.", calls=(Call("final_answer", {"answer": "All done."}),)),
        ]
        return [Script("smol", tuple(steps))]

    with opened(variant, scripts, Ending) as stage:
        assert "All done." in stage.agent.run("Do it.").result
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert is_a_line(shown)
    told = [
        (e["event_type"], e["status"], Path(e["file_path"] or "").name, e["exit_code"]) for e in shown["file_events"]
    ]
    assert told == [
        ("read", "unknown", "input.txt", None),
        ("write", "applied", "a.txt", None),
        ("write", "applied", "b.txt", None),
        ("edit", "applied", "a.txt", None),
        ("edit", "failed", "a.txt", None),
        ("bash", "failed", "", 3),
    ]
    assert session["agent_name"] == "smolagents"


@pytest.mark.parametrize("variant", [CODE], ids=str)
def test_python_that_smolagents_runs_is_told_as_commands(opened: Open, variant: Variant) -> None:
    codes = ["print(read_file('input.txt'))", "print(edit_file('input.txt', 'none', 'x'))", "final_answer('All done.')"]
    script = Script("smol", tuple(Step(text=f"Thought: {n}\n<code>\n{code}\n</code>") for n, code in enumerate(codes)))
    with opened(variant, lambda _: [script], Ending) as stage:
        assert "All done." in stage.agent.run("Do it.").result
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert is_a_line(shown)
    told = [(event["event_type"], event["status"], event["command"]) for event in shown["file_events"]]
    assert told == [("bash", "applied", codes[0]), ("bash", "failed", codes[1]), ("bash", "requested", codes[2])]
    assert {event["certainty"] for event in shown["file_events"]} == {"inferred"}


class OpenAiParts(OpenAiSdk):
    script = "openai_parts_script.py"


class Refusing(Scripted):
    """Where a step says so, its text is a refusal."""

    def _reply(self, dialect: Dialect, request: Json, script: Script, number: int, step: Step) -> Json:
        reply = super()._reply(dialect, request, script, number, step)
        message = reply["choices"][0]["message"]
        if step.text.startswith("I refuse"):
            message["refusal"], message["content"] = message["content"], None
        return reply


_parts = ways(OpenAiParts)
PARTS = [_parts("parts", "openai-chat", "parts"), _parts("parts, streamed", "openai-chat", "parts", "--stream")]


@pytest.mark.parametrize("variant", PARTS, ids=str)
def test_images_reasoning_and_refusals_are_told_as_they_were_said(opened: Open, variant: Variant) -> None:
    steps = (Step("A red dot.", "It is small."), Step("I refuse to say more."), Step("Nothing."))
    with opened(variant, lambda _: [Script("parts", steps)], Refusing) as stage:
        assert stage.agent.run("What is it?", "And this?", "This one?").result == "Nothing."
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        table = stage.recorder.run("show", session["id"])
    assert is_a_line(shown)
    answers = [message["parts"] for message in shown["messages"] if message["role"] == "assistant"]
    said = [[(part["type"], part["text"], part.get("extra")) for part in parts] for parts in answers]
    assert said == [
        [("reasoning", "It is small.", None), ("text", "A red dot.", None)],
        [("text", "I refuse to say more.", {"type": "refusal"})],
        [("text", "Nothing.", None)],
    ]
    asked = [message["parts"][-1] for message in shown["messages"] if message["role"] == "user"]
    assert [(part["kind"], part["media_type"]) for part in asked] == [("image", "image/gif")] * 3
    assert all(part["raw"]["image_url"]["url"].startswith("data:image/gif;base64,R0lGOD") for part in asked)
    for words in ("It is small.", "A red dot.", "I refuse to say more.", "image"):
        assert words in table
