"""`ocproxy journal verify`: what is damage and what is only being written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocproxy.cli import app
from ocproxy.exchange import Kind
from ocproxy.journal import JournalWriter
from tests.support.segments import SETTINGS, plain, write

HALF = b"\xf5\x0chalf"


def check(data: Path, *options: str) -> int:
    (data / "settings.toml").touch()
    return app.main(["--config", str(data / "settings.toml"), "--data-dir", str(data), "journal", "verify", *options])


def test_the_torn_end_of_a_dead_writer_is_damage_until_the_next_start_repairs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "journal" / "worker-0"
    write(folder, b"one")
    assert check(tmp_path) == 0
    with open(plain(folder, 1), "ab") as file:
        file.write(HALF)
    capsys.readouterr()
    assert check(tmp_path) == 1
    said = capsys.readouterr().out
    assert "TORN at its end" in said and "segment 1: ends inside a record: 6 bytes" in said and "next start" in said
    assert check(tmp_path, "--json") == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["good"], report["torn_bytes"]) == (False, 6)
    write(folder, b"two")
    assert check(tmp_path) == 0
    assert ": good" in capsys.readouterr().out


def test_an_incomplete_record_of_a_living_writer_is_no_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "journal" / "worker-0"
    writer = JournalWriter.open(folder, SETTINGS)
    writer.append(Kind.OPENED, 1, b"x")
    assert writer.commit()
    with open(plain(folder, 1), "ab") as file:
        file.write(HALF)
    assert check(tmp_path, "--json") == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["good"], report["torn_bytes"], report["segments"][0]["torn_bytes"]) == (True, 0, 6)
    assert check(tmp_path) == 0
    assert "ends inside" not in capsys.readouterr().out
    writer.close()


def test_missing_segments_are_damage_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "journal" / "worker-0"
    for _ in range(5):
        write(folder, b"one")
    for number in (2, 3):
        plain(folder, number).unlink()
    assert check(tmp_path) == 1
    assert "missing: segments 2 to 3" in capsys.readouterr().out
