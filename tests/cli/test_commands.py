"""What the commands print of rows that want to do harm, on a terminal, piped, and as JSON."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocproxy.cli import app
from tests.cli.rows import CHILD, HOSTILE, PARENT, fill
from tests.support.conversations import Relay, assistant

COMMANDS = [["sessions"], ["show", PARENT], ["files"], ["files", PARENT], ["calls"], ["doctor"]]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "data"
    asyncio.run(fill(folder))
    (folder.parent / "settings.toml").touch()
    return folder


@pytest.fixture
def run(data: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def one(*arguments: str, code: int | None = 0) -> str:
        capsys.readouterr()
        ended = app.main(["--config", str(data.parent / "settings.toml"), "--data-dir", str(data), *arguments])
        written = capsys.readouterr()
        assert code in (None, ended), written.err
        return written.out

    return one


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)


def active(text: str) -> list[str]:
    return [char for char in text if (ord(char) < 32 and char not in "\n\t") or char in "\x7f\x9b\u202e\udc80"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_hostile_gets_through_when_piped(run: Run, command: list[str]) -> None:
    written = run(*command, code=None)
    assert active(written) == []
    assert "[red]x[/red]" in written and ":skull:" in written, "markup and emoji codes stay text"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_hostile_gets_through_on_a_terminal(run: Run, on_terminal: None, command: list[str]) -> None:
    written = run(*command, code=None)
    assert _COLOUR.search(written), "it is coloured"
    assert active(_COLOUR.sub("", written)) == []


def test_no_color_is_obeyed(run: Run, on_terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for command in COMMANDS:
        found = {code for codes in _COLOUR.findall(run(*command, code=None)) for code in codes[2:-1].split(";")}
        assert not [code for code in found if code.isdecimal() and int(code) >= 30], "weight is no colour; 30… are"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_json_is_lossless_and_safe(run: Run, command: list[str]) -> None:
    written = run(*command, "--json", code=None)
    assert active(written) == [] and written.isascii()
    whole = HOSTILE.removesuffix("\udc80")  # a column of text in a database holds no lone surrogates
    assert [text for text in texts(json.loads(written)) if whole in text]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def test_a_subagent_stands_under_its_parent_though_it_is_newer(run: Run) -> None:
    lines = run("sessions").splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [PARENT, CHILD], "ids that differ late are not cut"
    assert "└ title of 2" in lines[2] and "└" not in lines[1]
    assert [row["id"] for row in json.loads(run("sessions", "--json"))] == [CHILD, PARENT]


def test_a_call_that_is_not_part_of_the_conversation_is_marked(run: Run) -> None:
    kinds = [line.split("\t")[2] for line in run("calls").splitlines()[1:]]
    assert kinds == ["main", "(title)", "(other)"]


def test_what_is_inferred_failed_or_rejected_is_said(run: Run) -> None:
    rows = [line.split("\t") for line in run("files").splitlines()[1:]]
    assert [row[3] for row in rows] == ["applied", "failed", "rejected", "requested"]
    assert rows[0][7].startswith("inferred; ") and rows[1][7] == "exit 3"
    assert rows[0][5] == "+1 -1"
    assert "→" in rows[2][4]


def test_an_ambiguous_id_is_told_and_a_whole_one_is_not(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("show", "aaaa", code=1)
    assert run("show", PARENT)


def test_a_long_result_is_cut_and_says_so(run: Run) -> None:
    assert "… 13 more lines" in run("show", PARENT)
    assert "more lines" not in run("show", PARENT, "--full")


def test_what_the_agents_program_attached_is_folded(tmp_path: Path, run: Run) -> None:
    reminder = "<system-reminder>\nline\nline\n</system-reminder>"
    said = {
        "role": "user",
        "content": [{"type": "text", "text": reminder}, {"type": "text", "text": "Mend the tests."}],
    }
    system = {"role": "system", "content": "# Environment\nfolder\nplatform\nshell"}
    relay = Relay(tmp_path / "journal" / "worker-0")
    relay.call([said, system], assistant("I begin."), session="one")
    relay.close()
    folder = ("--data-dir", str(tmp_path))
    run(*folder, "flush")
    assert "Mend the tests." in run(*folder, "sessions"), "a session without a title is known by how it began"
    shown = run(*folder, "show", "one")
    assert "Mend the tests.\n[4 lines that the agent's program attached; --full shows them]" in shown
    assert "# Environment\nfolder\n[2 lines that the agent's program attached; --full shows them]" in shown
    assert "I begin." in shown and "reminder" not in shown
    assert "<system-reminder>" in run(*folder, "show", "one", "--full")


def test_limits_are_the_newest(run: Run) -> None:
    assert [row["id"] for row in json.loads(run("calls", "--limit", "2", "--json"))] == ["c2", "c3"]
    assert [row["id"] for row in json.loads(run("sessions", "--limit", "1", "--json"))] == [CHILD]


def test_doctor_tells_of_lost_records_but_old_ones_are_history(run: Run) -> None:
    facts: dict[str, Any] = json.loads(run("doctor", "--json"))
    assert facts["gaps"][0]["bytes"] == 99 and facts["server"] is None
    assert [problem for problem in facts["problems"] if "99 bytes" in problem["what"]] == []
    assert "2 records, 99 B" in run("doctor")
