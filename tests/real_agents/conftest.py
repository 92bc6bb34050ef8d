"""What all tests of real agents share: the installed agents, once a run, with their versions in the summary."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.real_agents.client import Client
from tests.real_agents.clients.claude_code import ClaudeCode
from tests.real_agents.installation import Installation, NotDelivered, install

Installed = Callable[[type[Client]], Installation]

_VERSIONS: dict[str, str] = {}


@pytest.fixture(scope="session")
def installed() -> Installed:
    """Installs an agent when it is first asked for. One that the registry does not deliver is skipped, if it may be."""
    found: dict[str, Installation | NotDelivered] = {}

    def get(client: type[Client]) -> Installation:
        package = client.package
        if package.name not in found:
            try:
                found[package.name] = one = install(package)
                _VERSIONS[package.name] = f"{package.name} {one.version} on {one.runtime}"
            except NotDelivered as error:
                found[package.name] = error
                _VERSIONS[package.name] = f"NOT {package.name}: {str(error).splitlines()[0]}"
        installation = found[package.name]
        if isinstance(installation, NotDelivered):
            if package.required:
                raise AssertionError(f"{package.name} must be tested: {installation}")
            pytest.skip(f"{package.registry} does not deliver {package.name}: {installation}")
        return installation

    return get


@pytest.fixture(scope="session")
def installation(installed: Installed) -> Installation:
    """The latest Claude Code of the day."""
    return installed(ClaudeCode)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _VERSIONS.values():
        terminalreporter.write_line(f"tested with {line}")
