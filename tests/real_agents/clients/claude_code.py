"""A real Claude Code, headless (`claude -p`) or on a terminal of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ocproxy.demo.provider import Served
from tests.real_agents.client import KEY, Client, Finished, Variant
from tests.real_agents.installation import Package
from tests.real_agents.terminal import Screen, in_terminal
from tests.real_agents.work import FieldTools
from tests.support.provider import Awkward
from tests.support.scripted import Scripted

SESSION, AGENT = "x-claude-code-session-id", "x-claude-code-agent-id"


class ClaudeTools(FieldTools):
    """As the newest Claude Code offers them."""

    def __init__(self) -> None:
        super().__init__(
            read=("Read", "file_path"),
            write=("Write", "file_path", "content"),
            edit=("Edit", "file_path", "old_string", "new_string", "replace_all"),
            bash=("Bash", "command"),
            delegate=("Agent", "prompt"),
        )

    def more(self, does: str) -> dict[str, Any]:
        if does == "delegate":
            return {"description": "A subtask", "subagent_type": "general-purpose", "run_in_background": False}
        return {"description": "Run a command"} if does == "bash" else {}


TOOLS = ClaudeTools()


class ClaudeCode(Client):
    """Sessions live in `home`, so `--continue` finds them again. `Finished.session` is Claude Code's own id."""

    package = Package("claude-code", "npm", "@anthropic-ai/claude-code", "claude", required=True)

    def command(self, prompt: str, *arguments: str) -> list[str]:
        """With the option `asks` it needs permissions, which nobody can give it here."""
        free = () if "asks" in self.options else ("--dangerously-skip-permissions",)
        return [str(self.installation.program), "-p", prompt, *free, "--output-format", "json", *arguments]

    def write_settings(self, settings: dict[str, Any]) -> None:
        """The user's own settings of Claude Code."""
        folder = self.home / ".claude"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(settings), "utf-8")

    def continued(self) -> tuple[str, ...]:
        return ("--continue",)

    def read_result(self, output: str) -> Finished:
        result: dict[str, Any] = json.loads(output)
        assert not result["is_error"], output
        return Finished(result["session_id"], result["result"])

    def whose(self, served: Served) -> tuple[str | None, str | None]:
        return served.headers.get(SESSION), served.headers.get(AGENT)

    @contextmanager
    def on_screen(self, prompt: str, *arguments: str) -> Iterator[Screen]:
        """The interactive program at work on `prompt`, with the side calls that `-p` does not make. It is killed at the
        end of the block. Its questions (theme, trust, key) are answered beforehand in its own settings; permissions are
        not asked for, unless `arguments` name a mode."""
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
        command = [str(self.installation.program), prompt, *(arguments or ("--dangerously-skip-permissions",))]
        with in_terminal(command, self.workdir, variables) as written:
            yield written

    def settings(self) -> dict[str, str]:
        """IS_SANDBOX allows root to skip permissions."""
        return {
            "IS_SANDBOX": "1",
            "ANTHROPIC_BASE_URL": self.base_url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_ERROR_REPORTING": "1",
        }


class Awkwardly(Awkward, Scripted):
    """Gzipped and cut at odd places."""


# New models get environment and reminders as system messages in the middle, older ones as text of user messages.
VARIANTS = [
    Variant("Claude Code, newest model", ClaudeCode, TOOLS, "claude-code", "anthropic-messages"),
    Variant(
        "Claude Code, older model",
        ClaudeCode,
        TOOLS,
        "claude-code",
        "anthropic-messages",
        arguments=("--model", "claude-sonnet-4-5"),
    ),
    Variant(
        "Claude Code, gzip cut at odd places",
        ClaudeCode,
        TOOLS,
        "claude-code",
        "anthropic-messages",
        manners=Awkwardly,
    ),
]
