"""`ocproxy stats` adds up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocproxy.cli import app
from ocproxy.journal import compress_sealed
from tests.support.ageing import Folder
from tests.support.conversations import Relay


def run(data: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    settings = data.parent / "settings.toml"
    settings.touch()
    capsys.readouterr()
    assert app.main(["--config", str(settings), "--data-dir", str(data), *arguments]) == 0
    return capsys.readouterr().out


def test_stats_say_where_the_bytes_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Folder(tmp_path / "data")
    folder.work("small", "words", turns=2)
    folder.work("large", "many words " * 50, turns=8)
    folder.relay.close()
    folder.relay = Relay(folder.root / "worker-0")
    folder.work("later", "words", turns=1)
    folder.relay.close()
    compress_sealed(folder.root / "worker-0")
    run(folder.data, capsys, "flush")
    found = json.loads(run(folder.data, capsys, "stats", "--json", "--biggest", "2"))
    (journal,) = found["journals"]
    sizes = {path.name: path.stat().st_size for path in (folder.root / "worker-0").glob("*.seg*")}
    assert (journal["compressed"], journal["live"]) == (sizes["0000000001.seg.zst"], sizes["0000000002.seg"])
    assert journal["finished"] == 0 and journal["plain"] > 10 * journal["compressed"]
    database = found["database"]
    told = sum(table["bytes"] + table["index_bytes"] for table in database["tables"]) + database["free"]
    assert 0 < database["bytes"] - told < 40_000, "what is left is the list of tables"
    assert [session["calls"] for session in found["sessions"]] == [9, 3]
    (agent,) = found["agents"]
    assert (agent["key"], agent["sessions"], agent["calls"]) == ("claude-code", 3, 14)
    assert sum(month["content"] for month in found["months"]) == agent["content"]
    assert 0 < agent["content"] < agent["wire"] < journal["plain"]
    said = run(folder.data, capsys, "stats")
    assert "opencode_messages" in said and "claude-code" in said and "TEXTS" in said
