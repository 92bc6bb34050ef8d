"""What all tests of real agents share: the installed agents, once a run, with their versions in the summary."""

from __future__ import annotations

import pytest

from tests.real_agents.installation import Installation, install

_VERSIONS: list[str] = []


@pytest.fixture(scope="session")
def installation() -> Installation:
    """The latest Claude Code of the day."""
    found = install("claude-code", "@anthropic-ai/claude-code", "claude")
    _VERSIONS.append(f"Claude Code {found.version} on Node {found.node}")
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _VERSIONS:
        terminalreporter.write_line(f"tested with {line}")
