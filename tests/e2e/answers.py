"""The commands run in this process: what a child process would write, without its start."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from ocproxy.cli import app


class Answers:
    """What the commands answer about one data folder. No setting of the user's counts."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._settings = data.parent / "settings.toml"
        self._settings.touch()

    def run(self, *arguments: str, code: int = 0) -> str:
        """Standard output. Asserts the exit code."""
        raw = io.BytesIO()
        written = io.TextIOWrapper(raw, "utf-8", newline="\n", write_through=True)
        with redirect_stdout(written):
            ended = app.main(["--config", str(self._settings), "--data-dir", str(self.data), *arguments])
        assert ended == code, f"ocproxy {arguments} ended with {ended}"
        return raw.getvalue().decode()

    def ask(self, *arguments: str) -> Any:
        """The answer of an `ocproxy … --json` command."""
        return json.loads(self.run(*arguments, "--json"))
