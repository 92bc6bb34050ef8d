"""A real mini-swe-agent, over Chat Completions, Messages and Responses, and with its commands written into texts. It
has one tool, a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocproxy.demo.provider import Served
from ocproxy.demo.script import Script, Step
from tests.real_agents.client import Client, Variant, litellm_settings
from tests.real_agents.in_text import InText
from tests.real_agents.installation import Package
from tests.real_agents.work import COMMANDS, FieldTools, Tools
from tests.support.scripted import dialect_of

# Ends a run, where it stands at the beginning of a command's output; its result is told to nobody.
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && echo done"


def commands(name: str, folder: Path, tools: Tools) -> Script:
    """One command an answer, several, one that fails, one that says more than the agent shows its model."""
    del folder
    one, many = [tools.bash(command) for command, _ in COMMANDS], tools.bash("seq 1 4000; echo zażółć 🚀")
    steps = (
        Step(text="Looking — zażółć.", calls=(one[0],)),
        Step(text="Making.", calls=(one[1],)),
        Step(text="Both fail.", calls=(one[2], one[3])),
        Step(text="Much.", calls=(many, one[4])),
        Step(text="All done. Ünïcødé 🚀.", calls=(tools.bash(SUBMIT),)),
    )
    return Script(name, steps)


def one_by_one(name: str, folder: Path, tools: Tools) -> Script:
    """The same commands, one an answer."""
    steps = [(step.text, call) for step in commands(name, folder, tools).steps for call in step.calls]
    return Script(name, tuple(Step(text=f"{at}. {text}", calls=(call,)) for at, (text, call) in enumerate(steps)))


class CommandsInText(InText):
    """The model writes the one command of a step into its answer."""

    def __init__(self, scripts: Any, **more: Any) -> None:
        written = [Script(script.name, tuple(map(_written, script.steps))) for script in scripts]
        super().__init__(written, **more)


def _written(step: Step) -> Step:
    blocks = "".join(f"\n\n```mswea_bash_command\n{call.input['command']}\n```\n" for call in step.calls)
    return Step(text=step.text + blocks)


class MiniSweAgent(Client):
    """Options: `model`, with the protocol's name before it; `class` of its model and `config`, one of its files."""

    package = Package("mini-swe-agent", "PyPI", "mini-swe-agent", "mini")

    def command(self, prompt: str, *arguments: str) -> list[str]:
        words = ["--yolo", "--exit-immediately", "--model", self.options.get("model", _CHAT)]
        words += ["--model-class", self.options["class"]] if "class" in self.options else []
        words += ["--config", self.options["config"]] if "config" in self.options else []
        return [str(self.installation.program), *words, *arguments, "--task", prompt]

    def continued(self) -> tuple[str, ...]:
        return ()

    def settings(self) -> dict[str, str]:
        return {
            "MSWEA_CONFIGURED": "1",
            "MSWEA_COST_TRACKING": "ignore_errors",
            "MSWEA_GLOBAL_CONFIG_DIR": str(self.home),
            **litellm_settings(self.base_url),
        }

    def is_turn(self, served: Served) -> bool:
        """All that it asks; with commands in texts it offers no tools."""
        return dialect_of(served) is not None


_CHAT = "openai/a-model"


def _variant(name: str, protocol: str, model: str, **more: Any) -> Variant:
    return Variant(
        name,
        MiniSweAgent,
        FieldTools(bash=("bash", "command")),
        "mini-swe-agent",
        protocol,
        {"model": model, **more.pop("options", {})},
        says_workdir=False,
        files=False,
        last_command=SUBMIT,
        script=more.pop("script", commands),
        **more,
    )


VARIANTS = [
    _variant("mini-swe-agent", "openai-chat", _CHAT),
    _variant("mini-swe-agent, Messages", "anthropic-messages", "anthropic/claude-sonnet-4-5"),
    _variant("mini-swe-agent, Responses", "openai-responses", _CHAT, options={"class": "litellm_response"}),
    _variant(
        "mini-swe-agent, commands in text",
        "openai-chat",
        _CHAT,
        options={"class": "litellm_textbased", "config": "mini_textbased.yaml"},
        script=one_by_one,
        manners=CommandsInText,
        in_text=True,
    ),
]
