"""Agents that name no session and make their history shorter: one session all the same, each summary filed under it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.conversations import assistant, result, text, use, user
from tests.support.playing import Client, Json, Stage, Told

pytestmark = pytest.mark.anyio

QWEN = Client("chat", {"user-agent": "QwenCode/0.24.4 (linux; x64)"}, tools=("run_shell_command",))
GEMINI = Client("gemini", {"user-agent": "GeminiCLI-tui/0.61.0/m (linux; x64)"}, tools=("run_shell_command",))
PI = {name: Client(name, {"user-agent": "pi (linux 6.1; x64)"}) for name in ("chat", "messages", "gemini")}
CLINE = Client("chat", system="You are Cline, an agent.", tools=("run_commands",))

ASKED = {
    "qwen": "You are the component that summarizes a conversation. Then, produce the <state_snapshot> XML.",
    "gemini": "First, reason in your scratchpad. Then, generate the updated <state_snapshot>.",
}
GOT_IT = assistant(text("Got it. Thanks for the additional context!"))
SHELL = {"cline": "run_commands", "pi": "bash"}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def summary(about: str = "the user") -> str:
    return f"## Goal\n{about} wants the project made.\n\n## State\n- Done: the command ran\n- Next: run it again"


class Agent(msgspec.Struct):
    """One agent as it compacts: what asks for a summary, and how its answer comes again."""

    name: str
    client: Client

    def story(self, prompt: str = "make it", id: str = "t1") -> list[Json]:
        ask = use(id, SHELL.get(self.name, "run_shell_command"), command="make")
        done = result(id, "made\n\n[INFO]: this is no label", is_error=False)
        return [user(prompt), assistant("I run it.", ask), user(done), assistant("It is made.")]

    def side(self) -> Client:
        systems = {
            "pi": "You are a context summarization assistant. Your task is to read a conversation.",
            "cline": "Summarize the provided coding session into a concise continuation note with detailed next steps.",
            "gemini": "You are a specialized system component distilling chat history into a <state_snapshot>.",
        }
        if self.name == "qwen":
            return self.client
        return msgspec.structs.replace(self.client, system=systems[self.name], tools=())

    def asks(self, history: list[Json], before: str | None = None) -> list[Json]:
        """The messages of the request for a summary."""
        if self.name in ASKED:
            return [*history, user(ASKED[self.name])]
        labels = (
            ("User", "Assistant", "Assistant tool calls") if self.name == "pi" else ("User", "Bot", "Bot tool calls")
        )
        told = []
        for turn in history:
            for block in turn["content"]:
                match block["type"]:
                    case "text":
                        told.append(f"[{labels[turn['role'] == 'assistant']}]: {block['text']}")
                    case "tool_use":
                        told.append(f"[{labels[2]}]: {block['name']}(command={block['input']['command']!r})")
                    case "tool_result":
                        told.append(f"[Tool result]: {block['content']}")
        flat = "\n\n".join(told)
        if self.name == "cline":
            earlier = f"\n\nPrevious summary:\n{before}" if before else ""
            return [user(f"Summarize this session for continuation.{earlier}\n\nConversation:\n{flat}")]
        earlier = f"<previous-summary>\n{before}\n</previous-summary>\n\n" if before else ""
        return [user(f"<conversation>\n{flat}\n</conversation>\n\n{earlier}Create a summary.")]

    def answers(self, said: str) -> str:
        if self.name in ASKED:
            return f"<analysis>\nIt wants a summary.\n</analysis>\n<state_snapshot>\n{said}\n</state_snapshot>"
        return said

    def summarised(self, said: str) -> str:
        """The summary with what the program adds to it."""
        files = "<modified-files>\n/w/a.txt\n</modified-files>"
        return {"pi": f"{said}\n\n{files}", "cline": f"{said}\n\n## Files\nRead:\n- none\nModified:\n- none"}.get(
            self.name, said
        )

    def begins(self, said: str) -> list[Json]:
        """The messages in the place of the history."""
        told = self.summarised(said)
        if self.name == "pi":
            head = "The conversation history before this point was compacted into the following summary:"
            return [user(f"{head}\n\n<summary>\n{told}\n</summary>")]
        if self.name == "cline":
            return [user(f"Context summary:\n\n{told}")]
        if self.name == "qwen":
            trailer = "Resume the prior task using the summary above."
            return [user(f"<state_snapshot>\n{told}\n</state_snapshot>\n\n{trailer}"), GOT_IT]
        return [user(self.answers(told)), GOT_IT]


AGENTS = {
    "Qwen Code": Agent("qwen", QWEN),
    "Gemini CLI": Agent("gemini", GEMINI),
    "Cline": Agent("cline", CLINE),
    **{f"pi, {name}": Agent("pi", client) for name, client in PI.items()},
}


def compacted(
    stage: Stage, agent: Agent, said: str, kept: int = 0, prompt: str = "make it", id: str = "t1"
) -> list[Json]:
    """Plays a story and asks for its summary. Returns the history from which the agent goes on."""
    story = agent.story(prompt, id)
    stage.play(agent.client, story)
    stage.call(agent.side(), agent.asks(story[: len(story) - kept]), assistant(agent.answers(said)))
    return [*agent.begins(said), *story[len(story) - kept :]]


def kinds(told: Told) -> list[tuple[str, str | None]]:
    return [(call.kind, call.session_id) for call in told.calls]


@pytest.mark.parametrize("name", AGENTS)
async def test_what_begins_with_the_summary_of_a_session_is_that_session(stage: Stage, name: str) -> None:
    agent = AGENTS[name]
    history = compacted(stage, agent, summary())
    stage.play(agent.client, [*history, *agent.story("again", "t2")])
    told = await stage.told()
    (session,) = told.sessions
    assert [(row.role, row.parent_id is None) for row in told.messages[0]].count(("user", True)) == 2
    assert [row.content for row in told.messages[0] if row.content and summary() in row.content] == [
        text_of(history[0])
    ]
    assert [event.command for event in told.events] == ["make", "make"]
    assert kinds(told) == [("main", session.id)] * 2 + [("summary", session.id)] + [("main", session.id)] * (
        3 if len(history) == 2 else 2
    )


def text_of(turn: Json) -> str:
    return "\n".join(block["text"] for block in turn["content"])


@pytest.mark.parametrize("name", AGENTS)
async def test_the_second_compaction_of_a_session_is_filed_under_it(stage: Stage, name: str) -> None:
    agent = AGENTS[name]
    first, second = summary(), summary("somebody else")
    history = compacted(stage, agent, first)
    more = agent.story("again", "t2")
    stage.play(agent.client, [*history, *more])
    stage.call(
        agent.side(),
        agent.asks([*history, *more] if agent.name in ASKED else more, agent.summarised(first)),
        assistant(agent.answers(second)),
    )
    stage.call(agent.client, [*agent.begins(second), user("and again")], assistant("No."))
    told = await stage.told()
    (session,) = told.sessions
    assert {call.session_id for call in told.calls} == {session.id}
    assert [row.parent_id is None for row in told.messages[0]].count(True) == 3


@pytest.mark.parametrize("name", ["pi, chat", "Cline"])
async def test_a_summary_before_kept_messages_is_told_and_claims_its_call(stage: Stage, name: str) -> None:
    """The kept messages were the first ones after the prompt, which the summary stands for: it is no form of it."""
    agent = AGENTS[name]
    story = agent.story()
    stage.play(agent.client, story)
    unknown = [user("words that nobody said")]
    stage.call(agent.side(), agent.asks(unknown), assistant(summary()))
    stage.call(agent.client, [*agent.begins(summary()), *story[1:], user("again")], assistant("No."))
    told = await stage.told()
    (session,) = told.sessions
    assert {call.session_id for call in told.calls} == {session.id}
    contents = [row.content for row in told.messages[0]]
    assert contents.count(text_of(agent.begins(summary())[0])) == 1
    assert len(told.events) == 1


@pytest.mark.parametrize("name", AGENTS)
async def test_a_summary_that_two_sessions_were_given_joins_nothing(stage: Stage, name: str) -> None:
    agent = AGENTS[name]
    histories = [compacted(stage, agent, summary(), prompt=f"make {n}", id=f"t{n}") for n in (1, 2)]
    for n, history in enumerate(histories, 3):
        stage.call(agent.client, [*history, user(f"task {n}")], assistant(f"done {n}"))
    for n, history in enumerate(histories, 3):
        stage.call(agent.client, [*history, user(f"task {n}"), assistant(f"done {n}"), user("more")], assistant("done"))
    told = await stage.told()
    assert [len(messages) for messages in told.messages] == [4, 4, len(histories[0]) + 4, len(histories[0]) + 4]
    filed = [call.session_id for call in told.calls if call.kind == "summary"]
    assert filed == [row.id for row in told.sessions[:2]]


async def test_a_summary_that_one_of_twins_was_given_joins_nothing(stage: Stage) -> None:
    """Both said the same, so neither summary is known to be whose; one goes on from it with a call that is its own."""
    agent = AGENTS["pi, chat"]
    twins = [agent.story(id=id) for id in ("t1", "t2")]
    for story in twins:
        stage.play(agent.client, story)
    for story in twins:
        stage.call(agent.side(), agent.asks(story), assistant(summary()))
    begun = agent.begins(summary())
    stage.call(agent.client, [*begun, *twins[0][1:], user("again")], assistant("No."))
    stage.call(agent.client, [*begun, user("and I?")], assistant("Yes."))
    told = await stage.told()
    assert [len(messages) for messages in told.messages] == [4 + 6, 4, 3]
    assert [call.session_id for call in told.calls if call.kind == "summary"] == [None, None]


async def test_a_summary_of_another_run_or_agent_links_nothing(stage: Stage) -> None:
    agent = AGENTS["pi, chat"]
    story = agent.story()
    stage.play(agent.client, story, run="one")
    stage.call(agent.side(), agent.asks(story), assistant(summary()), run="one")
    stage.call(agent.client, [*agent.begins(summary()), user("go on")], assistant("Yes."), run="two")
    stage.call(CLINE, [*agent.begins(summary()), user("go on")], assistant("Yes."), run="one")
    assert len((await stage.told()).sessions) == 3


async def test_a_short_summary_is_anybodys_words(stage: Stage) -> None:
    agent = AGENTS["pi, chat"]
    compacted(stage, agent, "It is made.")
    stage.call(agent.client, [user("It is made.")], assistant("Is it?"))
    assert len((await stage.told()).sessions) == 2


@pytest.mark.parametrize("name", ["pi, chat", "Cline"])
async def test_a_flattened_conversation_is_that_of_the_session_that_said_it(stage: Stage, name: str) -> None:
    agent = AGENTS[name]
    twins = [agent.story(), [*agent.story(id="t2")[:3], assistant("It could not be made.")]]
    for story in twins:
        stage.play(agent.client, story)
    for story in reversed(twins):
        stage.call(agent.side(), agent.asks(story), assistant(summary()))
    told = await stage.told()
    assert len(told.sessions) == 2
    assert [call.session_id for call in told.calls[-2:]] == [told.sessions[1].id, told.sessions[0].id]


async def test_a_flattened_conversation_that_two_sessions_had_is_filed_under_none(stage: Stage) -> None:
    agent = AGENTS["pi, chat"]
    for id in ("t1", "t2"):
        stage.play(agent.client, agent.story(id=id))
    stage.call(agent.side(), agent.asks(agent.story()), assistant(summary()))
    told = await stage.told()
    assert (len(told.sessions), told.calls[-1].session_id) == (2, None)
