"""`ocproxy demo`, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocproxy.demo.story import prepare


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `ocproxy demo` with a home and a temporary folder of its own, and with settings that it must not use."""
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OCPROXY_", "XDG_"))}
    environment = {
        **own,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "OCPROXY_DATA_DIR": str(folder / "home" / "recordings"),
        "OCPROXY_DATABASE_URL": f"sqlite:///{folder}/home/mine.db",
        "OCPROXY_SERVER_PORT": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "ocproxy", "demo", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(what `ocproxy demo` printed, its folder)."""
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder


def test_the_demo_shows_the_session_its_events_and_its_diff(shown: tuple[str, Path]) -> None:
    output, _ = shown
    assert "-    return celsius * 9 / 5 - 32" in output
    assert "+    return celsius * 9 / 5 + 32" in output
    assert "+++ b/CHANGES.md" in output
    assert "exit 1" in output
    assert "exit 0" in output
    assert "failed" in output


def test_the_demo_says_what_to_type_next(shown: tuple[str, Path]) -> None:
    output, _ = shown
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:4141 claude" in output
    assert "ocproxy sessions" in output


def test_the_demo_leaves_nothing_behind(shown: tuple[str, Path]) -> None:
    _, folder = shown
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert list((folder / "tmp").iterdir()) == []


def test_the_demo_leaves_nothing_running(shown: tuple[str, Path]) -> None:
    _, folder = shown
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [line for line in lines if os.fsencode(folder) in line]


def test_a_kept_demo_can_be_asked_later(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert demo(tmp_path, "--keep", str(kept)).returncode == 0
    events = json.loads(ask(kept, "files", "--json"))
    assert [(event["event_type"], event["status"], event["exit_code"]) for event in events] == [
        ("read", "applied", None),
        ("bash", "failed", 1),
        ("edit", "failed", None),
        ("edit", "applied", None),
        ("write", "applied", None),
        ("bash", "applied", 0),
    ]
    start = tmp_path / "start"
    start.mkdir()
    prepare(start)
    patch = ask(kept, "diff", events[0]["session_id"])
    subprocess.run(["git", "apply", "-"], cwd=start, input=patch, check=True, timeout=50)
    assert files_of(start) == files_of(kept / "project")


def ask(kept: Path, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "ocproxy", "--data-dir", str(kept / "recording"), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=50).stdout


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_with_something_in_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", "utf-8")
    done = demo(tmp_path, "--keep", str(tmp_path / "mine"))
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
