"""Several answers that a client sends back as one message, after a stream that broke.

The histories are those of Qwen Code 0.24.4, Cline 3.0.65 and opencode 1.18.33 over Chat Completions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.conversations import assistant, result, use, user
from tests.support.dialects import chat
from tests.support.playing import Client, Stage, Told, is_a_line, reply_of

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
QWEN = Client("chat", {"user-agent": "QwenCode/0.24.4 (linux; x64)"}, tools=("write_file", "run_shell_command"))
CLINE = Client("chat", system="You are Cline, a coding agent.", tools=("editor", "run_commands"))
OPENCODE = Client("chat", {"user-agent": "opencode/1.18.33 ai-sdk/provider-utils/4", "x-session-id": "s"})

ASKED = [user("Do it.")]
READ = [assistant("Reading.", use("call_0123456789abcdef", "look")), user(result("call_0123456789abcdef", "alpha"))]
BEGINNINGS = pytest.mark.parametrize("begun", [ASKED, [*ASKED, *READ]], ids=["first turn", "later turn"])
RESUME = user("The connection dropped mid-response. Resume directly.")
TALK = "Now I write what was asked for, and then I run it."
PIECE = TALK[:24]  # as much as the dialect tells in one event
PATH = "/w/a.txt"
QWEN_SAYS = (
    "Successfully created and wrote to new file: /w/a.txt.",
    "Command: make\nDirectory: (root)\nOutput: built\nError: (none)\nExit Code: 0\nSignal: (none)"
    "\nProcess Group PGID: (none)",
)


def calls_of(attempt: int, names: tuple[str, str] = ("write_file", "run_shell_command")) -> list[Json]:
    """The calls of one try, with the ids that it draws."""
    write = use(f"call_{attempt}_write_0123456789", names[0], file_path=PATH, path=PATH, content="a\n", new_text="a\n")
    return [write, use(f"call_{attempt}_run_0123456789", names[1], command="make", commands=["make"])]


def results_of(calls: list[Json], *contents: str) -> list[Json]:
    return [result(call["id"], said) for call, said in zip(calls, contents or ("Done.", "built"), strict=True)]


def all_but(turn: Json, count: int) -> int:
    """How many events come behind the first ones of an answer: its role, and then its text in pieces."""
    return len(list(chat.events({}, reply_of("chat", turn, 0)))) - count


def line_to(told: Told, end: str) -> list[str]:
    """What the messages from the first one to that with this line say."""
    lines = dict(zip([row.id for row in told.messages[0]], told.lines(), strict=True))
    parents = {row.id: row.parent_id for row in told.messages[0]}
    (place,) = [id for id, line in lines.items() if line == end]
    found: list[str] = []
    at: str | None = place
    while at is not None:
        found.insert(0, lines[at])
        at = parents[at]
    return found


def assert_calls_are_told_once(told: Told) -> None:
    assert len(told.sessions) == 1
    parts = [part for row in told.messages[0] for part in row.parts]
    for id in ("id", "tool_use_id"):
        counts = Counter(part[id] for part in parts if id in part)
        assert [id for id, count in counts.items() if count > 1] == []


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


# --- Qwen Code goes on from what came, and leaves out that it asked for it


@BEGINNINGS
async def test_an_answer_that_was_resumed_is_told_where_it_came(stage: Stage, begun: list[Json]) -> None:
    stage.play(QWEN, begun)
    calls, rest = calls_of(1), TALK[20:]  # the model says four letters again, which the client takes away
    stage.call(QWEN, begun, assistant(TALK), without=all_but(assistant(TALK), 2))
    resumed = [*begun, assistant(PIECE), RESUME]
    stage.call(QWEN, resumed, assistant(rest, *calls))
    history = [*begun, assistant(TALK, *calls), user(*results_of(calls, *QWEN_SAYS))]
    stage.call(QWEN, history, assistant("Done."))
    stage.call(QWEN, [*history, assistant("Done."), user("And now?")], assistant("Nothing."))
    told = await stage.told()
    assert_calls_are_told_once(told)
    ids = " + ".join(call["id"] for call in calls)
    expected = [f"a: {PIECE}", f"u: {RESUME['content'][0]['text']}", f"a: {rest} + {ids}", f"u: {ids}", "a: Done."]
    assert told.lines()[len(begun) :] == [*expected, "u: And now?", "a: Nothing."]
    assert is_a_line(told.messages[0])
    assert [event.status.value for event in told.events if event.tool_use_id != "call_0123456789abcdef"] == [
        "applied",
        "applied",
    ]


@BEGINNINGS
@pytest.mark.parametrize("without", [2, 3], ids=["whole calls", "a cut call"])
async def test_a_resumed_answer_whose_calls_were_dropped_is_the_one_that_broke(
    stage: Stage, begun: list[Json], without: int
) -> None:
    stage.play(QWEN, begun)
    broken, calls = calls_of(0), calls_of(1)
    stage.call(QWEN, begun, assistant(TALK, *broken), without=without)
    stage.call(QWEN, [*begun, assistant(TALK), RESUME], assistant(TALK, *calls))
    history = [*begun, assistant(TALK, *calls), user(*results_of(calls))]
    stage.call(QWEN, history, assistant("Done."))
    told = await stage.told()
    assert_calls_are_told_once(told)
    assert is_a_line(told.messages[0])
    assert len(told.messages[0]) == len(begun) + 5
    assert told.messages[0][len(begun)].parts[-1]["id"] == broken[1]["id"]


async def test_an_answer_that_broke_off_twice_is_told_in_three_messages(stage: Stage) -> None:
    calls = calls_of(2)
    stage.call(QWEN, ASKED, assistant(TALK), without=all_but(assistant(TALK), 2))
    stage.call(QWEN, [*ASKED, assistant(PIECE), RESUME], assistant(TALK[24:]), without=all_but(assistant(TALK[24:]), 2))
    begun = [*ASKED, assistant(PIECE), RESUME, assistant(TALK[24:48]), RESUME]
    stage.call(QWEN, begun, assistant(TALK[48:], *calls))
    stage.call(QWEN, [*ASKED, assistant(TALK, *calls), user(*results_of(calls))], assistant("Done."))
    told = await stage.told()
    assert_calls_are_told_once(told)
    assert is_a_line(told.messages[0])
    assert len(told.messages[0]) == 8


async def test_a_retry_that_says_the_text_alone_is_an_answer_of_its_own(stage: Stage) -> None:
    """What comes as an answer is no other one that was sent again without its calls."""
    stage.call(QWEN, ASKED, assistant(TALK, *calls_of(0)), without=2)
    stage.call(QWEN, ASKED, assistant(TALK))
    stage.call(QWEN, [*ASKED, assistant(TALK), user("And now?")], assistant("Nothing."))
    told = await stage.told()
    assert line_to(told, "a: Nothing.") == ["u: Do it.", f"a: {TALK}", "u: And now?", "a: Nothing."]
    assert len(told.messages[0]) == 5


# --- Qwen Code makes one text of answers without calls


@BEGINNINGS
@pytest.mark.parametrize("again", [0, 4, 24], ids=["on", "four letters again", "all again"])
async def test_answers_without_calls_that_were_joined_are_told_once(
    stage: Stage, begun: list[Json], again: int
) -> None:
    stage.play(QWEN, begun)
    rest, end = TALK[24 - again :], "And the end."
    stage.call(QWEN, begun, assistant(TALK), without=all_but(assistant(TALK), 2))
    stage.call(QWEN, [*begun, assistant(PIECE), RESUME], assistant(rest))
    history = [*begun, assistant(TALK), user("And now?")]
    stage.call(QWEN, history, assistant("Nothing."))
    stage.call(QWEN, [*history, assistant("Nothing."), user("Bye.")], assistant(end))
    told = await stage.told()
    assert len(told.sessions) == 1
    assert is_a_line(told.messages[0])
    expected = [f"a: {PIECE}", f"u: {RESUME['content'][0]['text']}", f"a: {rest}", "u: And now?", "a: Nothing."]
    assert told.lines()[len(begun) :] == [*expected, "u: Bye.", f"a: {end}"]


@BEGINNINGS
@pytest.mark.parametrize("joined", [True, False], ids=["as one", "as they came"])
async def test_a_text_that_broke_off_twice_is_told_in_three_messages(
    stage: Stage, begun: list[Json], joined: bool
) -> None:
    """The second request to go on has both pieces as one message, or each as it came."""
    stage.play(QWEN, begun)
    middle = [assistant(TALK[:48])] if joined else [assistant(PIECE), RESUME, assistant(TALK[24:48])]
    stage.call(QWEN, begun, assistant(TALK), without=all_but(assistant(TALK), 2))
    stage.call(QWEN, [*begun, assistant(PIECE), RESUME], assistant(TALK[24:]), without=all_but(assistant(TALK[24:]), 2))
    stage.call(QWEN, [*begun, *middle, RESUME], assistant(TALK[48:]))
    stage.call(QWEN, [*begun, assistant(TALK), user("And now?")], assistant("Nothing."))
    told = await stage.told()
    assert len(told.sessions) == 1
    assert is_a_line(told.messages[0])
    assert [line for line in told.lines()[len(begun) :] if line.startswith("a: ")] == [
        f"a: {PIECE}",
        f"a: {TALK[24:48]}",
        f"a: {TALK[48:]}",
        "a: Nothing.",
    ]


async def test_texts_of_two_tries_that_were_joined_stand_beside_each_other(stage: Stage) -> None:
    stage.call(CLINE, ASKED, assistant(TALK), without=all_but(assistant(TALK), 2))
    stage.call(CLINE, ASKED, assistant(TALK))
    stage.call(CLINE, [*ASKED, assistant(PIECE + TALK), user("And now?")], assistant("Nothing."))
    told = await stage.told()
    assert len(told.sessions) == 1
    assert line_to(told, "a: Nothing.") == ["u: Do it.", f"a: {TALK}", "u: And now?", "a: Nothing."]
    assert len(told.messages[0]) == 5


async def test_a_text_that_is_not_both_answers_to_the_letter_is_another_one(stage: Stage) -> None:
    stage.call(QWEN, ASKED, assistant(TALK), without=all_but(assistant(TALK), 2))
    stage.call(QWEN, [*ASKED, assistant(PIECE), RESUME], assistant(TALK[24:]))
    stage.call(QWEN, [*ASKED, assistant(TALK + "!"), user("And now?")], assistant("Nothing."))
    told = await stage.told()
    assert [len(messages) for messages in told.messages] == [4, 4]


async def test_an_answer_that_came_as_one_is_not_two_others_that_say_the_same(stage: Stage) -> None:
    stage.call(OPENCODE, ASKED, assistant(TALK), without=all_but(assistant(TALK), 2))
    stage.call(OPENCODE, [*ASKED, assistant(PIECE), RESUME], assistant(TALK[24:]))
    stage.call(OPENCODE, ASKED, assistant(TALK))
    stage.call(OPENCODE, [*ASKED, assistant(TALK), user("And now?")], assistant("Nothing."))
    told = await stage.told()
    assert line_to(told, "a: Nothing.") == ["u: Do it.", f"a: {TALK}", "u: And now?", "a: Nothing."]


# --- Cline runs the calls of both tries


@BEGINNINGS
async def test_answers_of_two_tries_that_were_joined_stand_beside_each_other(stage: Stage, begun: list[Json]) -> None:
    names = ("editor", "run_commands")
    stage.play(CLINE, begun)
    first, second = calls_of(0, names), calls_of(1, names)
    done = results_of(first, '{"result":"File created successfully at: /w/a.txt","success":true}', "built")
    failed = results_of(second, '{"result":"","error":"it exists","success":false}', "built")
    stage.call(CLINE, begun, assistant(TALK, *first), without=2)
    stage.call(CLINE, begun, assistant(TALK, *second))
    history = [*begun, assistant(TALK + TALK, *first, *second), user(*done, *failed)]
    stage.call(CLINE, history, assistant("Done."))
    stage.call(CLINE, [*history, assistant("Done."), user("And now?")], assistant("Nothing."))
    told = await stage.told()
    assert_calls_are_told_once(told)
    assert len(told.messages[0]) == len(begun) + 7
    one, two = (" + ".join(call["id"] for call in calls) for calls in (first, second))
    assert line_to(told, f"u: {one}")[len(begun) :] == [f"a: {TALK} + {one}", f"u: {one}"]
    end = [f"a: {TALK} + {two}", f"u: {two}", "a: Done.", "u: And now?", "a: Nothing."]
    assert line_to(told, "a: Nothing.")[len(begun) :] == end
    writes = [(event.tool_use_id, event.status.value) for event in told.events if event.event_type == "write"]
    assert writes == [(first[0]["id"], "applied"), (second[0]["id"], "failed")]
    asked = [call.request_message_id for call in told.calls]
    assert len(set(asked)) == len(asked) - 1, "both tries ask with the same message"


async def test_a_text_that_broke_off_before_its_calls_stands_beside_the_whole_answer(stage: Stage) -> None:
    calls = calls_of(1, ("editor", "run_commands"))
    stage.call(CLINE, ASKED, assistant(TALK), without=all_but(assistant(TALK), 2))
    stage.call(CLINE, ASKED, assistant(TALK, *calls))
    stage.call(CLINE, [*ASKED, assistant(PIECE + TALK, *calls), user(*results_of(calls))], assistant("Done."))
    told = await stage.told()
    assert_calls_are_told_once(told)
    ids = " + ".join(call["id"] for call in calls)
    assert line_to(told, "a: Done.") == ["u: Do it.", f"a: {TALK} + {ids}", f"u: {ids}", "a: Done."]
    assert told.lines()[1] == f"a: {PIECE}" and len(told.messages[0]) == 5


async def test_joined_answers_go_on_behind_the_one_that_has_results(stage: Stage) -> None:
    first, second = calls_of(0), calls_of(1)
    stage.call(CLINE, ASKED, assistant(TALK, *first), without=2)
    stage.call(CLINE, ASKED, assistant(TALK, *second))
    history = [*ASKED, assistant(TALK + TALK, *first, *second), user(*results_of(first))]
    for _ in range(2):
        stage.call(CLINE, history, assistant("Done."))
    told = await stage.told()
    assert_calls_are_told_once(told)
    ids = " + ".join(call["id"] for call in first)
    assert line_to(told, "a: Done.") == ["u: Do it.", f"a: {TALK} + {ids}", f"u: {ids}", "a: Done."]
    assert len(told.messages[0]) == 5


async def test_results_of_joined_answers_on_one_line_stay_together(stage: Stage) -> None:
    first, second = calls_of(0), calls_of(1)
    stage.call(QWEN, ASKED, assistant(TALK, *first), without=2)
    stage.call(QWEN, [*ASKED, assistant(TALK), RESUME], assistant("And on.", *second))
    joined = [*ASKED, assistant(f"{TALK} And on.", *first, *second), user(*results_of(first), *results_of(second))]
    stage.call(QWEN, joined, assistant("Done."))
    told = await stage.told()
    assert_calls_are_told_once(told)
    assert is_a_line(told.messages[0])
    assert len(told.messages[0]) == 6


# --- opencode sends the calls of the broken try without its text


@BEGINNINGS
@pytest.mark.parametrize("count", [1, 2], ids=["a cut call", "whole calls"])
async def test_calls_that_are_sent_without_their_text_are_those_of_the_broken_answer(
    stage: Stage, begun: list[Json], count: int
) -> None:
    names = ("write", "bash")
    stage.play(OPENCODE, begun)
    first, second = calls_of(0, names)[:count], calls_of(1, names)
    stage.call(OPENCODE, begun, assistant("Writing.", *first), without=3 if count == 1 else 2)
    stage.call(OPENCODE, begun, assistant("Writing.", *second))
    before = results_of(first, *("Tool execution aborted",) if count == 1 else ("Wrote file successfully.", "built"))
    history = [*begun, assistant(*first), user(*before), assistant("Writing.", *second), user(*results_of(second))]
    stage.call(OPENCODE, history, assistant("Done."))
    stage.call(OPENCODE, [*history, assistant("Done."), user("And now?")], assistant("Nothing."))
    told = await stage.told()
    assert_calls_are_told_once(told)
    assert len(told.messages[0]) == len(begun) + 7
    ids = " + ".join(call["id"] for call in second)
    end = [f"a: Writing. + {ids}", f"u: {ids}", "a: Done.", "u: And now?", "a: Nothing."]
    assert line_to(told, "a: Nothing.")[len(begun) :] == end


# --- what is no joined answer


async def test_a_message_with_a_call_that_is_not_known_is_new(stage: Stage) -> None:
    known, other = calls_of(0)[0], calls_of(7)[1]
    stage.call(CLINE, ASKED, assistant(TALK, known))
    stage.call(CLINE, [*ASKED, assistant("Otherwise.", known, other), user(*results_of([known, other]))], None)
    told = await stage.told()
    assert told.lines()[-2:] == [f"a: Otherwise. + {known['id']} + {other['id']}", f"u: {known['id']} + {other['id']}"]
    assert len(told.messages[0]) == 4


async def test_a_twin_that_goes_on_from_another_answer_is_another_session(stage: Stage) -> None:
    stage.call(QWEN, ASKED, assistant(TALK, *calls_of(0)), without=2)
    stage.call(QWEN, [*ASKED, assistant("Otherwise."), RESUME], assistant("Done."))
    told = await stage.told()
    assert [len(messages) for messages in told.messages] == [2, 4]


async def test_ids_that_small_servers_count_up_join_nothing(stage: Stage) -> None:
    client = Client("chat")
    first, second = use("call_0", "bash", command="make"), use("call_1", "bash", command="make test")
    stage.call(client, ASKED, assistant("Working.", first))
    stage.call(client, ASKED, assistant("Working.", second))
    stage.call(client, [*ASKED, assistant("Elsewhere.", first, second), user("Go on.")], assistant("Done."))
    told = await stage.told()
    assert "a: Elsewhere. + call_0 + call_1" in [line for n in range(len(told.sessions)) for line in told.lines(n)]


async def test_the_same_calls_behind_another_beginning_are_told_there_too(stage: Stage) -> None:
    """As agents do that keep the end of a conversation and put a summary before it."""
    calls = calls_of(0)
    tagged = {"x-ocproxy-session": "s"}
    turn = [assistant(TALK, *calls), user(*results_of(calls))]
    stage.play(QWEN, [*ASKED, *turn, assistant("Done.")], headers=tagged)
    stage.call(
        QWEN, [user("It went so.", "On!"), assistant("Well.", *calls), turn[1]], assistant("So."), headers=tagged
    )
    told = await stage.told()
    assert len(told.sessions) == 1
    assert len(line_to(told, "a: So.")) == 4
