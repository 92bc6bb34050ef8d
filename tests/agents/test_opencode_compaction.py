"""opencode when its window is full, on a recorded run: what was under way is told as text, in the request for a summary
alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ocproxy.agents.opencode import AGENT
from ocproxy.ingest.conversation import Conversation
from ocproxy.model import Batch, CallKind, Message, SessionRow, Text, ToolResult, ToolUse
from tests.agents.replayed import WORKDIR, requests, told

AT = datetime(2026, 1, 1, tzinfo=UTC)
WRITE = ToolUse("1", "write", {"filePath": "a.txt", "content": "(a)\n[Tool result]: no\n"}, alias="noid_1")
BASH = ToolUse("2", "bash", {"command": "false"})
WRITTEN = (
    '[Assistant tool call]: write({"filePath":"a.txt","content":"(a)\\n[Tool result]: no\\n"})\n[Tool result]: Done.'
)
RAN = '[Assistant tool call]: bash({"command":"false"})\n[Tool error]: No.\n'


def asked(*lines: str) -> list[Message]:
    text = "Here it is:\n\n<conversation>\n" + "\n".join(lines) + "\n\n</conversation>\n\nCreate a summary."
    return [Message("user", (Text(text),))]


def calls_under_way() -> tuple[ToolUse, ...]:
    """The tool uses of the recorded run's second answer, which no message of a request tells."""
    given = {
        "write": [{"filePath": f"{WORKDIR}/notes.md", "content": "a (note)\n[Tool result]: no\n\nend\n"}],
        "edit": [
            {"filePath": f"{WORKDIR}/input.txt", "oldString": "beta", "newString": "BETA"},
            {"filePath": f"{WORKDIR}/input.txt", "oldString": "no such text", "newString": "x"},
        ],
        "read": [{"filePath": f"{WORKDIR}/long.txt"}, {"filePath": f"{WORKDIR}/missing.txt"}],
        "bash": [{"command": "echo first", "description": "Run a command"}],
    }
    named = [(name, one) for name, inputs in given.items() for one in inputs]
    return tuple(ToolUse(f"toolu_first_s1_t{place}", name, one) for place, (name, one) in enumerate(named))


def test_calls_under_way_have_their_results_from_the_request_for_a_summary() -> None:
    first, second, summary, after = requests("opencode_compaction")
    assert [AGENT.kind(call) for call in (first, second, summary, after)] == [
        CallKind.MAIN, CallKind.MAIN, CallKind.SUMMARY, CallKind.MAIN,
    ]  # fmt: skip
    assert first.request and second.request and summary.request and after.request
    session, batch = Conversation(SessionRow("s", "s", AGENT.name, WORKDIR, AT, AT), AGENT), Batch()
    session.hear(first.request.messages, "1", AT, batch)
    asked = session.hear(second.request.messages, "2", AT, batch)
    session.say((Text("Writing."), *calls_under_way()), asked, "2", AT, batch)
    session.overhear(summary.request.messages, "3", AT, batch)
    again, more = Conversation(session.row, AGENT), Batch()
    again.restore(batch.messages)
    again.overhear(summary.request.messages, "3", AT, more)
    assert more.messages == [], "after a restart it is known that they were told"
    session.hear(after.request.messages, "4", AT, batch)
    assert told(batch) == [
        "read applied: input.txt",
        "write applied: notes.md",
        "edit applied: input.txt",
        "edit failed: input.txt",
        "read applied: long.txt",
        "read failed: missing.txt",
        "bash unknown: echo first",
    ]
    parents = [message.parent_id for message in batch.messages]
    assert parents.count(None) == 2, "the old branch stays, and what follows the summary begins anew"
    assert [message.role for message in batch.messages[-4:]] == ["user", "user", "assistant", "user"]


def test_results_are_read_from_the_end_of_the_text_and_name_their_uses_as_the_message_did() -> None:
    found = AGENT.retold(asked("[User]: Go.", WRITTEN, "[Assistant]: And.", WRITTEN, RAN), (WRITE, BASH))
    assert found == (ToolResult("noid_1", "Done."), ToolResult("2", "No.\n", is_error=True))


@pytest.mark.parametrize(
    "lines",
    [
        ("[User]: Go.", WRITTEN),  # another answer's
        ("[User]: Go.", RAN),
        ("[User]: Go.", WRITTEN.replace("(a)", "(b)"), RAN),
        ("[User]: Go.", WRITTEN.replace('"})', '"'), RAN),
    ],
)
def test_nothing_is_taken_for_the_results_of_calls_that_are_not_told(lines: tuple[str, ...]) -> None:
    assert AGENT.retold(asked(*lines), (WRITE, BASH)) == ()


def test_a_call_without_a_result_has_none() -> None:
    assert AGENT.retold(asked(WRITTEN, RAN.partition("\n")[0]), (WRITE, BASH)) == (ToolResult("noid_1", "Done."),)
    assert AGENT.retold([Message("user", (Text("Go."),))], (BASH,)) == ()
