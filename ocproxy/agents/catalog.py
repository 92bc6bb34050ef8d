"""All agents there are, and which of them made a call."""

from __future__ import annotations

from functools import cache

from ocproxy import registry
from ocproxy.agents.base import Agent, CallFacts
from ocproxy.agents.generic import AGENT as GENERIC


@cache
def agents() -> tuple[Agent, ...]:
    """All agents, the generic one, which recognises every call, last."""
    found: list[Agent] = [agent for agent in registry.load("ocproxy.agents", "AGENT").values() if agent is not GENERIC]
    return (*found, GENERIC)


def agent_of(facts: CallFacts) -> Agent:
    """The agent that made the call."""
    return next(agent for agent in agents() if agent.recognises(facts))


def agent_named(name: str) -> Agent:
    """The agent that calls itself `name` in identities; the generic one for names that nobody here has."""
    return next((agent for agent in agents() if agent.name == name), GENERIC)
