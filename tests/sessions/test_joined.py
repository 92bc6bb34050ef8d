"""Histories in which several answers were made one: each piece meets the message that it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocproxy.agents.generic import AGENT as GENERIC
from ocproxy.model import Message, Part, Text, ToolResult, ToolUse
from ocproxy.sessions.call_ids import CallIds
from ocproxy.sessions.chain import Chain, message_key
from ocproxy.sessions.joined import Known, Sent, follow

ASK = Message("user", (Text("Do it."),))
RESUME = Message("user", (Text("Go on."),))


def said(*parts: Part) -> Message:
    return Message("assistant", parts)


def calls(attempt: int, count: int) -> list[ToolUse]:
    return [ToolUse(f"call_0123456789_{attempt}_{place}", "look", {}) for place in range(count)]


def results(uses: list[ToolUse]) -> Message:
    return Message("user", tuple(ToolResult(use.id, "seen") for use in uses))


class Session:
    """The tree and the calls of a session."""

    def __init__(self) -> None:
        self.known = Known(GENERIC, Chain("s"), CallIds())

    def hear(self, *messages: Message, after: str | None = None) -> list[tuple[Message, str, str | None, bool]]:
        """(message, its id, its parent's, is it new) for each of those that the history is made of."""
        keyed = [(message, message_key(GENERIC, message)) for message in messages]
        steps = follow([Sent(message, key) for message, key in keyed if key], self.known, after)
        for message, step in steps:
            if step.is_new:
                self.known.call_ids.settle(message.parts, step.node.id, step.node.parent)
        return [(message, step.node.id, step.node.parent, step.is_new) for message, step in steps]


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=4), st.booleans())
def test_answers_that_were_joined_add_nothing_but_results(tries: list[tuple[int, bool]], in_pieces: bool) -> None:
    """Each try has so many calls, and is asked for with the same request or with a prompt to go on."""
    session = Session()
    asked, made, places = [ASK], [calls(at, count) for at, (count, _) in enumerate(tries)], []
    for number, (uses, (_, resumes)) in enumerate(zip(made, tries, strict=True)):
        request = session.hear(*asked)[-1][1]
        answer = said(Text(f"Try {number}."), *uses)
        places.append(session.hear(answer, after=request)[0][1])
        if resumes:
            asked = [*asked, answer, RESUME]
    together = [use for uses in made for use in uses]
    joined = said(Text("".join(f"Try {n}." for n in range(len(tries)))), *together)
    answers = [results([use]) for use in together] if in_pieces else [results(together)]
    before = len(session.known.chain)
    first = session.hear(ASK, joined, *answers)
    assert [id for message, id, _, is_new in first if message.role == "assistant"] == places
    assert all(is_new == (message.parts != ASK.parts and message.role == "user") for message, _, _, is_new in first)
    told = [part.tool_use_id for message, *_ in first for part in message.parts if isinstance(part, ToolResult)]
    assert sorted(told) == sorted(use.id for use in together)
    _assert_that_results_stand_under_their_calls(session, first)
    count = len(session.known.chain)
    again = session.hear(ASK, joined, *answers, said(Text("Done.")))
    assert [(id, is_new) for _, id, _, is_new in again[:-1]] == [(id, False) for _, id, _, _ in first]
    assert (again[-1][2], again[-1][3]) == (first[-1][1], True)
    assert count > before


def _assert_that_results_stand_under_their_calls(
    session: Session, told: list[tuple[Message, str, str | None, bool]]
) -> None:
    for message, id, _, _ in told:
        for part in message.parts:
            if isinstance(part, ToolResult):
                line: list[str | None] = [id]
                while line[-1] is not None:
                    line.append(session.known.chain.step_to(line[-1]).node.parent)
                assert set(session.known.call_ids.asked_by(part.tool_use_id)) <= set(line)


def test_a_call_under_another_message_is_none_of_a_message_beside_it() -> None:
    session = Session()
    (use,) = calls(0, 1)
    session.hear(ASK, said(Text("A."), use), results([use]))
    found = session.hear(Message("user", (Text("Else."),)), said(Text("B."), use))
    assert [is_new for *_, is_new in found] == [True, True]
