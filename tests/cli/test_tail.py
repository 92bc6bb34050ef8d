"""Following what happens: what a follower is told when it fell behind."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.rows import fill


@pytest.mark.parametrize("form", [["--json"], []])
def test_tail_tells_what_it_can_no_longer_show(form: list[str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    asyncio.run(fill(data))
    (tmp_path / "settings.toml").touch()
    with closing(sqlite3.connect(data / "ocproxy.db")) as database, database:
        oldest, newest = database.execute("SELECT min(seq), max(seq) FROM changes").fetchone()
        database.execute("DELETE FROM changes WHERE seq < ?", (newest,))
    options = ("--config", str(tmp_path / "settings.toml"), "--data-dir", str(data))
    command = (sys.executable, "-m", "ocproxy", *options, "tail", "--all", *form)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        said = process.stderr.readline() + ("" if form else process.stderr.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert f"{newest - oldest} changes before this are not shown" in said
    assert not form or json.loads(line) == {"what": "missed", "changes": newest - oldest}
