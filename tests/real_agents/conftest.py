"""What all tests of real agents share: the installed agents, once a run, with their versions in the summary."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.provider import Provider
from ocproxy.demo.script import Script
from tests.real_agents.client import Client, Variant
from tests.real_agents.clients import variants
from tests.real_agents.clients.claude_code import ClaudeCode
from tests.real_agents.installation import AGENTS, Installation, NotDelivered, install
from tests.real_agents.scenarios import OTHER, keep, place_of, tables, worst
from tests.real_agents.stage import Stage, staged

Installed = Callable[[type[Client]], Installation]
Manners = Callable[..., Provider]
Scripts = Callable[[Path, Variant], Iterable[Script]]
Opened = Callable[..., AbstractContextManager[Stage[Client]]]

_BEGAN = time.time()
_VERSIONS: dict[str, str] = {}
_NAMES = [variant.name for variant in variants()]
# (agent and variant, scenario) -> how its tests ended
_ENDS: dict[tuple[str, str], list[str]] = {}
# (agent and variant, test) of those that stand in no column of their own
_OTHERS: dict[tuple[str, str], list[str]] = {}


@pytest.fixture(scope="session")
def installed() -> Installed:
    """Installs an agent when it is first asked for. One that the registry does not deliver is skipped, if it may be."""
    found: dict[str, Installation | NotDelivered] = {}

    def get(client: type[Client]) -> Installation:
        package = client.package
        if package.name not in found:
            try:
                found[package.name] = one = install(package)
                _VERSIONS[package.name] = f"| {package.name} | {one.version} | {one.runtime} |"
            except NotDelivered as error:
                found[package.name] = error
                _VERSIONS[package.name] = f"| {package.name} | not run | {str(error).splitlines()[0]} |"
        installation = found[package.name]
        if isinstance(installation, NotDelivered):
            if package.required:
                raise AssertionError(f"{package.name} must be tested: {installation}")
            pytest.skip(f"{package.registry} does not deliver {package.name}: {installation}")
        return installation

    return get


@pytest.fixture
def opened(installed: Installed, tmp_path: Path) -> Opened:
    """Opens a stage for a variant of an agent, by its name, with more options of its client and other manners."""

    @contextmanager
    def open_(
        name: str, scripts: Scripts, options: dict[str, str] | None = None, kind: Manners | None = None, **manners: Any
    ) -> Iterator[Stage[Client]]:
        (variant,) = [variant for variant in variants() if variant.name == name]
        provider = partial(kind or variant.manners, **manners)
        installation = installed(variant.client)
        with staged(tmp_path, variant.client, installation, lambda w: scripts(w, variant), provider) as stage:
            stage.agent.options = {**variant.options, **(options or {})}
            yield stage

    return open_


@pytest.fixture(scope="session")
def installation(installed: Installed) -> Installation:
    """The latest Claude Code of the day."""
    return installed(ClaudeCode)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under xdist the process that prints gets the reports of all workers; those of other folders are none of it."""
    if not report.nodeid.startswith("tests/real_agents/"):
        return
    if report.when == "call" or report.outcome != "passed":
        place = place_of(report.nodeid, _NAMES)
        _ENDS.setdefault(place, []).append(report.outcome)
        if place[1] == OTHER:
            words = report.nodeid.partition("::test_")[2].partition("[")[0].replace("_", " ")
            _OTHERS.setdefault((place[0], words), []).append(report.outcome)


def _versions() -> list[str]:
    """The agents of this run; the processes that installed them left word of it in their folder."""
    told = dict(_VERSIONS)
    for file in sorted(AGENTS.glob("*.json")):
        if file.stat().st_mtime >= _BEGAN:
            found = json.loads(file.read_text("utf-8"))
            told.setdefault(found["agent"], f"| {found['agent']} | {found['version']} | {found['runtime']} |")
    return [told[name] for name in sorted(told)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What ran, how each scenario ended with each agent, and with which versions; `AGENTS_TABLE` names a document that
    keeps it."""
    if not _ENDS:
        return
    versions = ["| agent | version | runs on |", "| --- | --- | --- |", *_versions()]
    others = [f"- {agent}: {words}{_mark(ends)}" for (agent, words), ends in sorted(_OTHERS.items())]
    lines = [*tables(_ENDS), "", "**Other scenarios**", "", *others, "", "Tested with:", "", *versions]
    for line in lines:
        terminalreporter.write_line(line)
    if document := os.environ.get("AGENTS_TABLE"):
        keep(Path(document), lines)


def _mark(ends: list[str]) -> str:
    return "" if worst(ends) == "passed" else f" ({worst(ends)})"
