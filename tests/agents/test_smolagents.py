"""smolagents on recorded requests: calls that come again as text, results without ids, Python in the answers."""

from __future__ import annotations

from datetime import UTC, datetime

from ocproxy.agents.base import CallFacts
from ocproxy.agents.smolagents import AGENT
from ocproxy.ingest.conversation import Conversation
from ocproxy.model import Batch, Part, SessionRow, Status, Text, ToolResult, ToolUse
from tests.agents.replayed import WORKDIR, conversation, events, requests, told

CALLING, CODE = slice(0, 3), slice(3, 6)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def _live(calls: list[CallFacts], replies: list[tuple[Part, ...]]) -> Batch:
    """The calls with the replies that came to them."""
    session, batch = Conversation(SessionRow("s", "s", AGENT.name, WORKDIR, AT, AT), AGENT), Batch()
    for number, (call, reply) in enumerate(zip(calls, replies, strict=True)):
        assert call.request
        last = session.hear(call.request.messages, str(number), AT, batch)
        session.say(reply, last, str(number), AT, batch)
    return batch


def test_every_recorded_call_is_known_by_its_prompt() -> None:
    calls = requests("smolagents")
    assert len(calls) == 6
    assert all(AGENT.recognises(call) for call in calls)


def test_calls_that_come_again_as_text_are_told_once_and_settled_by_the_observation() -> None:
    notes = {"path": f"{WORKDIR}/notes.md", "content": "# Notes\n"}
    replies: list[tuple[Part, ...]] = [
        (Text("Read."), ToolUse("call_s0_0", "read_file", {"path": f"{WORKDIR}/input.txt"})),
        (Text("Write."), ToolUse("call_s1_0", "write_file", notes)),
        (Text("Fin."), ToolUse("call_s2_0", "final_answer", {"answer": "done"})),
    ]
    batch = _live(requests("smolagents")[CALLING], replies)
    assert told(batch) == ["read unknown: input.txt", "write applied: notes.md"]
    assert [message.role for message in batch.messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def test_a_run_whose_answers_were_not_seen_is_told_from_the_calls_that_came_again() -> None:
    batch = conversation(AGENT, requests("smolagents")[CALLING][-1])
    assert told(batch) == ["read unknown: input.txt", "write applied: notes.md"]


def test_python_is_told_like_a_command_and_marked_as_inferred() -> None:
    batch = conversation(AGENT, *requests("smolagents")[CODE])
    assert told(batch) == [
        f"bash applied: print(open('{WORKDIR}/input.txt').read())",
        f"bash failed: open('{WORKDIR}/missing.txt').read()",
    ]
    assert {event.certainty for event in events(batch)} == {"inferred"}


def test_an_answer_has_one_key_with_and_without_the_end_of_its_code() -> None:
    assert AGENT.spoken("Thought: x\n<code>\ny\n</code>") == AGENT.spoken("Thought: x\n<code>\ny\n")
    assert AGENT.spoken("Read.\nCalling tools:\n[{'id': '1'}]") == "Read."


def test_joined_results_of_several_calls_claim_nothing() -> None:
    uses = tuple(ToolUse(str(n), "write_file", {"path": f"/f{n}", "content": "x"}) for n in range(2))
    results = AGENT.results_in([Text("Observation:\nSuccessfully wrote\nerror\nmore")], uses)
    assert [AGENT.answer(use, result).status for use, result in zip(uses, results, strict=True)] == [
        Status.UNKNOWN,
        Status.UNKNOWN,
    ]


def test_what_is_no_result_settles_nothing() -> None:
    assert AGENT.results_in([Text("New task:\nGo on.")], (ToolUse("1", "x", {}),)) == ()
    assert isinstance(AGENT.results_in([Text("Observation:\nx")], (ToolUse("1", "x", {}),))[0], ToolResult)


def test_joined_results_of_one_line_each_stand_in_the_order_of_the_ids() -> None:
    uses = tuple(ToolUse(id, "write_file", {"path": f"/{id}", "content": "x"}) for id in ("b", "a"))
    results = AGENT.results_in([Text("Observation:\nWrote a.\nError: no b")], uses)
    assert [(result.tool_use_id, result.text) for result in results] == [("a", "Wrote a."), ("b", "Error: no b")]
    failed = AGENT.results_in([Text("Call id: b\nError:\nno b\nno a")], uses)
    assert [result.text for result in failed] == ["", ""]
