"""Agents made with frameworks, which have no tools of their own: who made the call, and generic events."""

from __future__ import annotations

import pytest

from ocproxy.agents.catalog import agent_of
from tests.agents.replayed import conversation, requests, told

MADE_BY = [("openai-agents", "0.24.0"), ("pydantic-ai", "2.62.0"), ("generic", None)]  # LangChain says nothing


@pytest.mark.parametrize("place", range(3), ids=["openai-agents", "pydantic-ai", "langchain"])
def test_a_recorded_call_says_its_framework_and_its_tools_are_known_by_their_names(place: int) -> None:
    call = requests("frameworks")[place]
    agent = agent_of(call)
    identity = agent.identity(call)
    assert (identity.agent, identity.version) == MADE_BY[place]
    assert identity.session is None
    assert told(conversation(agent, call)) == [
        "read unknown: input.txt",
        "bash applied 0: ls",
        "write applied: notes.md",
        "bash failed 3: exit 3",
    ]
