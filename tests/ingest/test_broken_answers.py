"""Answers that broke off in mid-stream, and what Claude Code makes of them: measured with 2.1.332 on both layouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conversations import assistant, result, use, user
from tests.support.playing import Client, Stage, is_a_line

pytestmark = pytest.mark.anyio

CLAUDE = Client("messages", {"user-agent": "claude-cli/2.1.332 (external, cli)", "x-claude-code-session-id": "s"})
RESUME = (
    "<system-reminder>\nYour response above was cut off mid-stream. Resume directly from where it stops — no apology,"
    " no recap. If none of it survived, answer the request from the start.\n</system-reminder>"
)
BEGUN = [user("Do it.")]
WRITE, RUN = use("t1", "Write", file_path="/w/a.txt", content="a\n"), use("t2", "Bash", command="make")
END = 2  # message_delta and message_stop


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


async def test_a_client_that_goes_on_with_the_first_call_of_a_broken_answer_says_nothing_new(stage: Stage) -> None:
    stage.call(CLAUDE, BEGUN, assistant("Working.", WRITE, RUN), without=END)
    history = [*BEGUN, assistant("Working.", WRITE), user(result("t1", "File created successfully at: /w/a.txt"))]
    stage.call(CLAUDE, history, assistant("Done."))
    told = await stage.told()
    assert told.lines() == ["u: Do it.", "a: Working. + t1 + t2", "u: t1", "a: Done."]
    assert is_a_line(told.messages[0])
    assert [(event.tool_use_id, event.status.value) for event in told.events] == [
        ("t1", "applied"),
        ("t2", "requested"),
    ]


async def test_a_client_that_resumes_a_broken_answer_keeps_its_text(stage: Stage) -> None:
    stage.call(CLAUDE, BEGUN, assistant("Working.", WRITE), without=END + 2)
    stage.call(CLAUDE, [*BEGUN, assistant("Working."), user(RESUME)], assistant("Working.", RUN))
    told = await stage.told()
    assert told.lines() == ["u: Do it.", "a: Working. + t1", f"u: {RESUME}", "a: Working. + t2"]
    assert is_a_line(told.messages[0])
    assert [event.tool_use_id for event in told.events] == ["t2"]


async def test_an_answer_that_broke_off_before_its_first_word_says_nothing(stage: Stage) -> None:
    stage.call(CLAUDE, BEGUN, assistant("Working."), without=END + 2)
    stage.call(CLAUDE, BEGUN, assistant("Working."))
    told = await stage.told()
    assert told.lines() == ["u: Do it.", "a: Working."]
    assert [call.message_id for call in told.calls] == [None, told.messages[0][1].id]
    assert len({call.request_message_id for call in told.calls}) == 1


async def test_another_try_with_the_same_call_ids_is_another_answer(stage: Stage) -> None:
    """Small servers name the first call of every answer `call_0`."""
    client = Client("chat")
    said = assistant("Working.", use("call_0", "bash", command="make"))
    stage.call(client, BEGUN, said, without=3)  # two events of the end, and a piece of the arguments
    stage.call(client, BEGUN, said)
    stage.call(client, [*BEGUN, said, user(result("call_0", "built"))], assistant("Done."))
    told = await stage.told()
    assert len(told.sessions) == 1
    assert told.lines() == ["u: Do it.", "a: Working. + call_0", "a: Working. + call_0", "u: call_0", "a: Done."]
    broken, whole, results = told.messages[0][1:4]
    assert (broken.parts[-1]["complete"], whole.parts[-1].get("complete", True)) == (False, True)
    assert results.parent_id == whole.id
    assert [call.message_id for call in told.calls] == [broken.id, whole.id, told.messages[0][-1].id]
    assert [(event.tool_use_id, event.command) for event in told.events] == [("call_0", "make")]


async def test_another_try_stands_once_when_the_client_puts_the_broken_answer_before_it(stage: Stage) -> None:
    """So does opencode 1.18.33 after an error in the stream: broken call, invented result, the answer of the retry."""
    broken, whole = (use(f"toolu_01abcdefghijk{n}", "write", filePath="/w/a.txt", content="a\n") for n in (1, 2))
    client = Client("messages", {"user-agent": "opencode/1.18.33 ai-sdk/provider-utils/4", "x-session-id": "s"})
    stage.call(client, BEGUN, assistant("Writing.", broken), without=END + 2)
    stage.call(client, BEGUN, assistant("Writing.", whole))
    sent = assistant("Writing.", {**broken, "input": {}})
    aborted, done = result(broken["id"], "Tool execution aborted"), result(whole["id"], "Wrote file successfully.")
    stage.call(client, [*BEGUN, sent, user(aborted), assistant("Writing.", whole), user(done)], assistant("Done."))
    told = await stage.told()
    assert sorted(told.lines()) == sorted([
        "u: Do it.", f"a: Writing. + {broken['id']}", f"a: Writing. + {whole['id']}", f"u: {broken['id']}",
        f"u: {whole['id']}", "a: Done.",
    ])  # fmt: skip
    assert [(event.tool_use_id, event.status.value) for event in told.events] == [(whole["id"], "applied")]
