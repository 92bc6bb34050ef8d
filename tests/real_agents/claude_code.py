"""Drives a real Claude Code, headless, in a home folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.real_agents.installation import Installation
from tests.real_agents.terminal import in_terminal

# A run of a dozen turns takes 10 s on a busy machine with two cores.
_RUN_SECONDS = 120
KEY = "a-key-that-opens-nothing-at-all"


@dataclass
class Finished:
    """One run that ended well. `session` is Claude Code's own id."""

    session: str
    result: str


@dataclass
class ClaudeCode:
    """`claude -p` in `workdir` against `base_url`. Sessions live in `home`, so `--continue` finds them again."""

    installation: Installation
    home: Path
    workdir: Path
    base_url: str
    variables: dict[str, str] = field(default_factory=dict)

    def start(self, prompt: str, *arguments: str) -> subprocess.Popen[str]:
        command = [str(self.installation.program), "-p", prompt, "--dangerously-skip-permissions"]
        return subprocess.Popen(
            [*command, "--output-format", "json", *arguments],
            cwd=self.workdir,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, prompt: str, *arguments: str) -> Finished:
        return self.finish(self.start(prompt, *arguments))

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        try:
            output, errors = process.communicate(timeout=_RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            raise AssertionError(f"claude did not end in {_RUN_SECONDS} s:\n{output}\n{errors}") from None
        assert process.returncode == 0, f"claude failed with {process.returncode}:\n{output}\n{errors}"
        result: dict[str, Any] = json.loads(output)
        assert not result["is_error"], output
        return Finished(result["session_id"], result["result"])

    @contextmanager
    def on_screen(self, prompt: str) -> Iterator[list[bytes]]:
        """The interactive program at work on `prompt`, with the side calls that `-p` does not make. It is killed at the
        end of the block. Its questions (theme, trust, key, permissions) are answered beforehand in its own settings."""
        variables = self.environment() | {"TERM": "xterm-256color", "DISABLE_TELEMETRY": "1"}
        for name in ("CI", "NO_COLOR", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"):
            del variables[name]
        answers = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "bypassPermissionsModeAccepted": True,
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(self.workdir): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
        }
        (self.home / ".claude.json").write_text(json.dumps(answers), "utf-8")
        command = [str(self.installation.program), prompt, "--dangerously-skip-permissions"]
        with in_terminal(command, self.workdir, variables) as written:
            yield written

    def environment(self) -> dict[str, str]:
        """Nothing of the user's own Claude Code; loopback only. IS_SANDBOX allows root to skip permissions."""
        self.home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": self.installation.path,
            "HOME": str(self.home),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            "LANG": "C.UTF-8",
            "CI": "1",
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "IS_SANDBOX": "1",
            "ANTHROPIC_BASE_URL": self.base_url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_ERROR_REPORTING": "1",
            **self.variables,
        }
