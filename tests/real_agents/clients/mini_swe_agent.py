"""A real mini-swe-agent. It has one tool, so the common script is not for it; see `test_other_agents`."""

from __future__ import annotations

from tests.real_agents.client import KEY, Client, Variant
from tests.real_agents.installation import Package


class MiniSweAgent(Client):
    package = Package("mini-swe-agent", "PyPI", "mini-swe-agent", "mini")

    def command(self, prompt: str, *arguments: str) -> list[str]:
        program = str(self.installation.program)
        return [program, "--yolo", "--exit-immediately", "--model", "openai/a-model", *arguments, "--task", prompt]

    def continued(self) -> tuple[str, ...]:
        return ()

    def settings(self) -> dict[str, str]:
        return {
            "MSWEA_CONFIGURED": "1",
            "MSWEA_COST_TRACKING": "ignore_errors",
            "MSWEA_GLOBAL_CONFIG_DIR": str(self.home),
            "OPENAI_API_BASE": f"{self.base_url}/v1",
            "OPENAI_API_KEY": KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }


VARIANTS: list[Variant] = []
