"""What a user installs: the wheel holds everything and runs without a checkout; Alembic runs in a checkout."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MIGRATIONS = sorted(path.name for path in (ROOT / "migrations" / "versions").glob("*.py"))
BASE = "20260413_add_opencode_tables"


def run(*command: str, cwd: Path, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OCPROXY_", "PYTHON"))}
    done = subprocess.run(
        (sys.executable, "-m", *command), cwd=cwd, env=kept | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tables(database: Path) -> set[str]:
    connection = sqlite3.connect(database)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(
        "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT, OCPROXY_PURE="1"
    )  # compiled: make test-compiled
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as it lies in site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_module_the_migrations_and_the_mark_of_a_typed_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ocproxy").rglob("*.py")}
    assert modules <= names
    assert {f"ocproxy/_migrations/versions/{name}" for name in MIGRATIONS} <= names
    assert {"ocproxy/_migrations/env.py", "ocproxy/_migrations/script.py.mako", "ocproxy/py.typed"} <= names
    assert {"ocproxy/pricing/prices.json", "ocproxy/pricing/prices.LICENSE"} <= names


def test_the_wheel_holds_nothing_but_the_package(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert len(tops) == 2 and "ocproxy" in tops
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "__pycache__" in name or "test" in name]


def test_the_installed_wheel_migrates_a_database_from_anywhere(installed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    run("ocproxy", "--data-dir", str(data), "db", "upgrade", cwd=tmp_path, PYTHONPATH=str(installed))
    assert {"opencode_sessions", "opencode_messages", "opencode_file_events"} <= tables(data / "ocproxy.db")
    said = run("ocproxy", "--data-dir", str(data), "db", "current", cwd=tmp_path, PYTHONPATH=str(installed))
    assert said.strip().endswith("(newest)")


def test_plain_alembic_works_in_a_checkout_on_the_configured_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    run("alembic", "upgrade", "head", cwd=ROOT, OCPROXY_DATABASE_URL=url)
    assert "opencode_sessions" in tables(tmp_path / "plain.db")
    assert stat.S_IMODE((tmp_path / "plain.db").stat().st_mode) == 0o600
    newest = run("alembic", "heads", cwd=ROOT, OCPROXY_DATABASE_URL=url)
    assert newest.count("(head)") == 1
    assert run("alembic", "current", cwd=ROOT, OCPROXY_DATABASE_URL=url) == newest
    run("alembic", "downgrade", "base", cwd=ROOT, OCPROXY_DATABASE_URL=url)
    assert not {name for name in tables(tmp_path / "plain.db") if name.startswith("opencode_")}


def test_the_given_revision_is_the_first(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'base.db'}"
    run("alembic", "upgrade", "+1", cwd=ROOT, OCPROXY_DATABASE_URL=url)
    assert BASE in run("alembic", "current", cwd=ROOT, OCPROXY_DATABASE_URL=url)
