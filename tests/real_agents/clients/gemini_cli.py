"""A real Gemini CLI (`gemini -p`)."""

from __future__ import annotations

import json
from typing import Any

from ocproxy.demo.provider import Served
from tests.real_agents.client import KEY, Client, Variant
from tests.real_agents.installation import Package
from tests.real_agents.work import FieldTools
from tests.support.scripted import dialect_of, request_of

_SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
    "telemetry": {"enabled": False},
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
}


class GeminiTools(FieldTools):
    def __init__(self) -> None:
        super().__init__(
            read=("read_file", "file_path"),
            write=("write_file", "file_path", "content"),
            edit=("replace", "file_path", "old_string", "new_string", "allow_multiple"),
            bash=("run_shell_command", "command"),
            delegate=("invoke_agent", "prompt"),
        )

    def more(self, does: str) -> dict[str, Any]:
        more = {"edit": {"instruction": "Change it."}, "delegate": {"agent_name": "generalist"}}
        return more.get(does, {"description": "Run a command"} if does == "bash" else {})


class GeminiCli(Client):
    """Options: `mcp`, a JSON text of its MCP servers; `policy`, the TOML text of a policy; `threshold`, which part of
    the context it fills before it makes the history shorter."""

    package = Package("gemini-cli", "npm", "@google/gemini-cli", "gemini")

    def command(self, prompt: str, *arguments: str) -> list[str]:
        return [*self._begin(), "--yolo", *arguments, "--prompt", prompt]

    def asking(self, prompt: str) -> list[str]:
        """Its terminal program at work on `prompt`, which asks before it changes anything."""
        return [*self._begin(), "--approval-mode", "default", "--prompt-interactive", prompt]

    def _begin(self) -> list[str]:
        folder = self.home / ".gemini"
        folder.mkdir(parents=True, exist_ok=True)
        threshold = self.options.get("threshold")
        model = {"model": {"compressionThreshold": float(threshold)}} if threshold else {}
        settings = {**_SETTINGS, **model, "mcpServers": json.loads(self.options.get("mcp", "{}"))}
        (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
        command = [str(self.installation.program), "--skip-trust", "--model", "gemini-2.5-pro"]
        if "policy" in self.options:
            (folder / "own.toml").write_text(self.options["policy"], "utf-8")
            command += ["--policy", str(folder / "own.toml")]
        return command

    def continued(self) -> tuple[str, ...]:
        return ("--resume", "latest")

    def settings(self) -> dict[str, str]:
        return {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": self.base_url}

    def is_turn(self, served: Served) -> bool:
        """Subagents are those that can complete a task."""
        dialect = dialect_of(served)
        return (
            dialect is not None
            and bool(tools := dialect.tools(request_of(served)))
            and ('"complete_task"' not in json.dumps(tools))
        )


VARIANTS = [Variant("Gemini CLI", GeminiCli, GeminiTools(), "gemini-cli", "gemini")]
