"""A real Qwen Code (`qwen -p`)."""

from __future__ import annotations

import json
from typing import Any

from tests.real_agents.client import KEY, Client, Variant
from tests.real_agents.installation import Package
from tests.real_agents.work import FieldTools

_SETTINGS = {
    "security": {"auth": {"selectedType": "openai"}},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
}


class QwenTools(FieldTools):
    def __init__(self) -> None:
        super().__init__(
            read=("read_file", "file_path"),
            write=("write_file", "file_path", "content"),
            edit=("edit", "file_path", "old_string", "new_string", "replace_all"),
            bash=("run_shell_command", "command"),
            delegate=("agent", "prompt"),
        )

    def more(self, does: str) -> dict[str, Any]:
        more: dict[str, dict[str, Any]] = {
            "bash": {"description": "Run a command", "is_background": False},
            "delegate": {"description": "A subtask", "subagent_type": "general-purpose"},
        }
        return more.get(does, {})


class QwenCode(Client):
    """Options: `mcp`, a JSON text of its MCP servers; `approvals`, its approval mode."""

    package = Package("qwen-code", "npm", "@qwen-code/qwen-code", "qwen")

    def command(self, prompt: str, *arguments: str) -> list[str]:
        return [*self._begin(self.options.get("approvals", "yolo")), *arguments, "--prompt", prompt]

    def asking(self, prompt: str) -> list[str]:
        """Its terminal program at work on `prompt`, which asks before it changes anything."""
        return [*self._begin("default"), "--prompt-interactive", prompt]

    def _begin(self, approvals: str) -> list[str]:
        folder = self.home / ".qwen"
        folder.mkdir(parents=True, exist_ok=True)
        settings = {**_SETTINGS, "mcpServers": json.loads(self.options.get("mcp", "{}"))}
        (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
        return [str(self.installation.program), "--approval-mode", approvals, "--auth-type", "openai"]

    def continued(self) -> tuple[str, ...]:
        return ("--continue",)

    def settings(self) -> dict[str, str]:
        return {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{self.base_url}/v1",
            "OPENAI_MODEL": "a-model",
            "QWEN_CODE_SUPPRESS_YOLO_WARNING": "1",
        }


VARIANTS = [Variant("Qwen Code", QwenCode, QwenTools(), "qwen-code", "openai-chat")]
