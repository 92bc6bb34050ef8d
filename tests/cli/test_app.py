"""The root: which commands there are, exit codes, what an error looks like, what starts without the heavy parts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ocproxy import __version__, registry
from ocproxy.cli import app

# The fixed names; a new one is added here on purpose.
COMMANDS = (
    "blame calls changes db delete demo diff doctor files flush inbox journal prune rebuild reprice search serve"
    " sessions show stats tail tasks usage"
).split()


@pytest.fixture(autouse=True)
def nothing_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").touch()
    monkeypatch.setenv("OCPROXY_CONFIG", str(tmp_path / "settings.toml"))
    monkeypatch.setenv("OCPROXY_DATA_DIR", str(tmp_path / "data"))


def test_all_commands_are_there_and_each_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        assert app.main([name, "--help"]) == 0
        assert "--help" in capsys.readouterr().out
    found = {n for n in registry.names("ocproxy.cli") if registry.find("ocproxy.cli", "COMMAND", n) is not None}
    assert found == set(COMMANDS)


def test_every_command_keeps_the_contract() -> None:
    assert all(isinstance(command, typer.Typer) for command in registry.load("ocproxy.cli", "COMMAND").values())


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ocproxy {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["sessions", "--nothing"],
        ["show"],
        ["sessions", "--limit", "0"],
        ["sessions", "--limit", "x"],
        ["serve", "--port", "70000"],
        ["serve", "--journal-mode", "fast"],
        ["serve", "--upstream", "anthropic"],
        ["serve", "--upstream", "anthropic=ftp://x"],
        ["serve", "--host", "0.0.0.0"],
        ["--config", "/does/not/exist.toml", "sessions"],
    ],
)
def test_wrong_usage_and_bad_settings_are_2_with_words_and_nothing_on_standard_output(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(arguments) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.strip() and "Traceback" not in written.err


def test_a_bad_variable_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPROXY_SERVER_PORT", "many")
    assert app.main(["sessions"]) == 2
    assert "OCPROXY_SERVER_PORT" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["sessions"], ["show", "a"], ["files"], ["diff", "a"], ["calls"], ["tail"]])
def test_without_a_recording_asking_fails_with_a_hint_and_makes_nothing(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(command) == 1
    written = capsys.readouterr()
    assert "nothing is recorded here yet" in written.err and "--data-dir" in written.err and written.out == ""
    assert not (tmp_path / "data").exists(), "a mistyped folder is not made"


def test_a_kind_of_database_that_is_not_known_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--database-url", "mongodb://x", "sessions"]) == 2
    said = capsys.readouterr().err
    assert "the command line" in said and "'database_url'" in said and "sqlite:///" in said


def test_the_flag_beats_the_variable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--data-dir", str(tmp_path / "flag"), "db", "upgrade"]) == 0
    assert (tmp_path / "flag" / "ocproxy.db").exists() and not (tmp_path / "data").exists()


def test_the_database_moves_between_revisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def current() -> str:
        capsys.readouterr()
        assert app.main(["db", "current"]) == 0
        return capsys.readouterr().out.strip()

    assert current() == "none: there are no tables yet"
    assert app.main(["db", "upgrade"]) == 0
    newest = current()
    assert newest.endswith("(newest)")
    assert app.main(["db", "downgrade", "-1"]) == 0
    assert current() not in ("20260413_add_opencode_tables", "none: there are no tables yet", newest)
    assert app.main(["db", "downgrade", "20260413_add_opencode_tables"]) == 0
    assert current() == "20260413_add_opencode_tables"
    assert app.main(["db", "downgrade", "base"]) == 0
    assert app.main(["db", "upgrade", "nowhere"]) == 1
    assert app.main(["db", "upgrade"]) == 0
    assert current() == newest


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    code = f"""
import os, sys
from ocproxy.cli import app
read, write = os.pipe()
os.close(read)
os.dup2(write, 1)
sys.exit(app.main(["--data-dir", {str(tmp_path)!r}, "db", "current"]))
"""
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--version"], ["sqlalchemy", "alembic", "httpx", "asyncio"]),
        (["serve", "--help"], ["sqlalchemy", "alembic", "httpx", "uvicorn", "httptools", "zstandard"]),
        (["sessions", "--help"], ["httpx", "uvicorn", "starlette", "httptools"]),
    ],
)
def test_a_command_does_not_load_what_it_does_not_need(arguments: list[str], heavy: list[str]) -> None:
    code = f"""
import sys
from ocproxy.cli import app
app.main({arguments!r})
loaded = [name for name in {heavy!r} if name in sys.modules]
sys.exit(f"loaded: {{loaded}}" if loaded else 0)
"""
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_without_a_command_it_serves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    assert app.main([]) == 1
    assert "the data folder" in capsys.readouterr().err
