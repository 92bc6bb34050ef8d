"""Subagents of agents that do not say whose they are, and tries of one turn: what links them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocproxy.exchange import Outcome
from tests.ingest.test_linking import told
from tests.support.conversations import Relay, assistant, result, text, use, user

pytestmark = pytest.mark.anyio
PROMPT = "Find every caller of parse().\nSay where they are."


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(tmp_path / "journal" / "worker-0")
    yield relay
    relay.close()


async def test_a_conversation_that_begins_with_a_delegated_prompt_is_a_subagents(tmp_path: Path, relay: Relay) -> None:
    asks = assistant(use("t1", "task", description="callers", prompt=PROMPT))
    relay.call([user("clean up")], asks)
    relay.call([user(text("You are in /w."), text(PROMPT + "\n"))], assistant(use("t2", "grep", pattern="parse")))
    relay.call([user("something else")], assistant("ok"))
    relay.call([user("clean up"), asks, user(result("t1", "two callers"))], assistant("done"))
    found = await told(tmp_path)
    parent, child, other = found["sessions"]
    assert (child.parent_id, child.parent_certainty) == (parent.id, "inferred")
    assert (parent.parent_id, other.parent_id) == (None, None)
    assert (parent.parent_certainty, other.parent_certainty) == (None, None)


async def test_a_delegated_prompt_of_another_run_says_nothing(tmp_path: Path, relay: Relay) -> None:
    relay.call([user("clean up")], assistant(use("t1", "task", prompt=PROMPT)), run="a")
    relay.call([user(PROMPT)], assistant("ok"), run="b")
    found = await told(tmp_path)
    assert [row.parent_id for row in found["sessions"]] == [None, None]


async def test_with_several_parents_the_one_that_asked_last_is_meant(tmp_path: Path, relay: Relay) -> None:
    for number in (1, 2):
        relay.call([user(f"clean up {number}")], assistant(use(f"t{number}", "task", prompt=PROMPT)))
    relay.call([user(PROMPT)], assistant("ok"))
    found = await told(tmp_path)
    assert found["sessions"][2].parent_id == found["sessions"][1].id


async def test_a_subagents_later_calls_stay_in_its_session(tmp_path: Path, relay: Relay) -> None:
    relay.call([user("clean up")], assistant(use("t1", "task", prompt=PROMPT)))
    looks = assistant(use("t2", "grep", pattern="parse"))
    relay.call([user(PROMPT)], looks)
    relay.call([user(PROMPT), looks, user(result("t2", "a.py:1"))], assistant("one"))
    found = await told(tmp_path)
    assert [len(messages) for messages in found["messages"]] == [2, 4]
    assert found["sessions"][1].parent_id == found["sessions"][0].id


async def test_tries_of_one_turn_ask_with_the_same_message(tmp_path: Path, relay: Relay) -> None:
    relay.call([user("hi")], None, session="s")
    relay.call([user("hi")], assistant("hello"), session="s")
    relay.call([user("hi"), assistant("hello"), user("more")], assistant("ok"), session="s")
    found = await told(tmp_path)
    asked = [call.request_message_id for call in found["calls"]]
    assert asked[0] == asked[1] != asked[2]
    assert asked[0] == found["messages"][0][0].id


async def test_another_try_of_a_first_turn_that_broke_off_is_the_same_session(tmp_path: Path, relay: Relay) -> None:
    for _ in range(2):
        number = relay.begin([user("hi")])
        relay.finish(number, assistant("hel"), outcome=Outcome.UPSTREAM_DISCONNECTED)
    relay.call([user("hi")], assistant("hello"))
    relay.call([user("hi"), assistant("hello"), user("more")], assistant("ok"))
    found = await told(tmp_path)
    assert len(found["sessions"]) == 1
    assert [call.session_id for call in found["calls"]] == [found["sessions"][0].id] * 4


async def test_twins_of_which_one_broke_off_stay_apart(tmp_path: Path, relay: Relay) -> None:
    first, second = relay.begin([user("hi")]), relay.begin([user("hi")])
    relay.finish(first, assistant("hel"), outcome=Outcome.UPSTREAM_DISCONNECTED)
    relay.finish(second, assistant("hello"))  # it was asked for before the other one broke off
    relay.call([user("hi")], assistant("again"))  # and this could be a try of the first
    found = await told(tmp_path)
    assert len(found["sessions"]) == 2
    assert len({call.session_id for call in found["calls"][:2]}) == 2
