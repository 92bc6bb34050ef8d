"""Fixtures of the whole suite."""

from __future__ import annotations

import os

import pytest

from ocproxy.relay import client


def pytest_configure() -> None:
    """`make test-compiled` says that it tests compiled modules: then it must be so."""
    assert not os.environ.get("COMPILED") or not client.__file__.endswith(".py"), client.__file__


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
