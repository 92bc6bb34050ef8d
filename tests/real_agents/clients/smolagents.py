"""Agents made with smolagents. They end by a tool and send their calls as text: see `test_libraries`."""

from __future__ import annotations

from tests.real_agents.client import Variant
from tests.real_agents.installation import Package
from tests.real_agents.library import Library


class SmolAgents(Library):
    package = Package("smolagents", "PyPI", "smolagents[openai]", "python")
    script = "smolagents_script.py"


VARIANTS: list[Variant] = []
