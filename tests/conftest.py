"""Fixtures of the whole suite."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocproxy.relay import client
from tests.support import engines, postgres
from tests.support.engines import Engine

_session: list[Iterator[None]] = []


def pytest_configure(config: pytest.Config) -> None:
    """`make test-compiled` says that it tests compiled modules: then it must be so."""
    assert not os.environ.get("COMPILED") or not client.__file__.endswith(".py"), client.__file__
    if not hasattr(config, "workerinput"):  # the process that runs the session, not a worker of xdist
        _session.append(postgres.claim())
        next(_session[0])


def pytest_unconfigure() -> None:
    for claimed in _session:
        next(claimed, None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """On which databases the tests that are told on each of them ran."""
    ran: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                ran.update(str(value) for name, value in report.user_properties if name == "engine")
    if ran:
        counts = ", ".join(f"{name} ({count} tests)" for name, count in sorted(ran.items()))
        terminalreporter.write_line(f"databases tested: {counts}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """`serve` and control set their own. What later tests make (for a server of another user) must be readable."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(params=engines.names())
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, record_property: Callable[[str, object], None]
) -> Iterator[Engine]:
    """Each kind of database that there is, one after the other: makes as many fresh ones as a test wants."""
    with engines.engine(request.param, tmp_path) as engine:
        record_property("engine", engine.title)
        yield engine


@pytest.fixture
def url(engine: Engine) -> str:
    """A fresh database of each kind, with the newest tables."""
    return engine.fresh()
