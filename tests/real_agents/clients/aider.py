"""A real aider. It has no tools, so the common script is not for it; see `test_other_agents`."""

from __future__ import annotations

from tests.real_agents.client import KEY, Client, Variant
from tests.real_agents.installation import Package

_QUIET = (
    "--yes-always --no-check-update --no-analytics --no-show-model-warnings --no-show-release-notes --no-gitignore"
    " --map-tokens 0"
)


class Aider(Client):
    package = Package("aider", "PyPI", "aider-chat", "aider")

    def command(self, prompt: str, *arguments: str) -> list[str]:
        program = str(self.installation.program)
        histories = [
            "--chat-history-file",
            str(self.home / "chat.md"),
            "--input-history-file",
            str(self.home / "input"),
        ]
        return [program, "--model", "openai/a-model", *_QUIET.split(), *histories, *arguments, "--message", prompt]

    def continued(self) -> tuple[str, ...]:
        return ("--restore-chat-history",)

    def settings(self) -> dict[str, str]:
        return {"OPENAI_API_BASE": f"{self.base_url}/v1", "OPENAI_API_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


VARIANTS: list[Variant] = []
