"""What all tests of real agents share: the installed agents, once a run, with their versions in the summary."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.real_agents.client import Client
from tests.real_agents.clients.claude_code import ClaudeCode
from tests.real_agents.installation import AGENTS, Installation, NotDelivered, install

Installed = Callable[[type[Client]], Installation]

_BEGAN = time.time()
_VERSIONS: dict[str, str] = {}
# (agent and variant, scenario) -> how its tests ended
_ENDS: dict[tuple[str, str], set[str]] = {}


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


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under xdist the process that prints gets the reports of all workers."""
    if report.when == "call" or report.outcome != "passed":
        _ENDS.setdefault(_place(report.nodeid), set()).add(report.outcome)


def _place(nodeid: str) -> tuple[str, str]:
    """Agent and scenario of a test: the whole script is one scenario, other tests are one each."""
    path, _, name = nodeid.partition("::")
    test, _, parameters = name.removesuffix("]").partition("[")
    words = test.removeprefix("test_").replace("_", " ")
    file = path.rpartition("/")[2]
    if file == "test_everything.py":
        return parameters, "everything once"
    if file.startswith("test_claude_code"):
        return "Claude Code" + (f", {parameters}" if parameters else ""), words
    return parameters or "one agent", words


def _versions() -> list[str]:
    """The agents of this run; the processes that installed them left word of it in their folder."""
    told = dict(_VERSIONS)
    for file in sorted(AGENTS.glob("*.json")):
        if file.stat().st_mtime >= _BEGAN:
            found = json.loads(file.read_text("utf-8"))
            told.setdefault(found["agent"], f"{found['agent']} {found['version']} on {found['runtime']}")
    return [told[name] for name in sorted(told)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What ran, and how each scenario ended with each agent."""
    width = max((len(agent) for agent, _ in _ENDS), default=0)
    for (agent, scenario), ends in sorted(_ENDS.items()):
        worst = next(end for end in ("failed", "skipped", "passed") if end in ends)
        terminalreporter.write_line(f"{agent:<{width}}  {worst:<7}  {scenario}")
    for line in _versions():
        terminalreporter.write_line(f"tested with {line}")
