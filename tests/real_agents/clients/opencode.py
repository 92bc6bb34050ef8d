"""A real opencode (`opencode run`) with each of the four kinds of providers that it knows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, cast

from ocproxy.demo.provider import Served
from ocproxy.demo.script import Call, Script
from tests.real_agents.client import KEY, Client, Finished, Variant
from tests.real_agents.clients.codex import added, patch, updated
from tests.real_agents.clients.codex import work as patch_work
from tests.real_agents.installation import Package
from tests.real_agents.opencode_server import OpencodeServer, serving
from tests.real_agents.work import FieldTools, Tools, everything

Json = dict[str, Any]

# The provider's name in opencode's configuration, its model, what stands behind the base URL.
_PROVIDERS = {
    "anthropic": ("anthropic", "claude-sonnet-4-5", "/v1"),
    "openai": ("openai", "gpt-5.1-codex", "/v1"),
    "compatible": ("own", "own-model", "/v1"),
    "google": ("google", "gemini-2.5-pro", "/v1beta"),
}


class Opencode(Client):
    """Options: `provider`, one of anthropic, openai (Responses), compatible (Chat Completions), google; `permission`, a
    JSON text, everything allowed where it is left out; `mcp`, the same for its MCP servers."""

    package = Package("opencode", "npm", "opencode-ai", "opencode", required=True)

    def command(self, prompt: str, *arguments: str) -> list[str]:
        self.configure()
        return [str(self.installation.program), "run", *arguments, "-m", self.model, prompt]

    def continued(self) -> tuple[str, ...]:
        return ("--continue",)

    def forked(self, session: str) -> tuple[str, ...]:
        """The arguments with which the next run goes on with a copy of that session."""
        return ("--session", session, "--fork")

    @property
    def model(self) -> str:
        name, model, _ = _PROVIDERS[self.options.get("provider", "anthropic")]
        return f"{name}/{model}"

    def read_result(self, output: str) -> Finished:
        return Finished("", output)

    def whose(self, served: Served) -> tuple[str | None, str | None]:
        session = served.headers.get("x-session-id")
        parent = served.headers.get("x-parent-session-id")
        return (parent, session) if parent else (session, None)

    def settings(self) -> dict[str, str]:
        return {
            "OPENCODE_CONFIG": str(self.home / "opencode.json"),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
        }

    def served(self) -> AbstractContextManager[OpencodeServer]:
        """Its server, for what asks its user."""
        self.configure()
        return serving(self.installation.program, self.workdir, self.environment(), self.model)

    def prepare(self) -> None:
        """Let it make its database: two that start at once in a new home would both begin to, and one fails."""
        self.configure()
        command = [str(self.installation.program), "session", "list"]
        subprocess.run(command, cwd=self.workdir, env=self.environment(), check=True, capture_output=True, timeout=60)

    def configure(self) -> None:
        name, model, behind = _PROVIDERS[self.options.get("provider", "anthropic")]
        limits = {"context": 200_000, "output": 8_000}
        options = {"apiKey": KEY, "baseURL": self.base_url + behind}
        provider: Json = {"options": options, "models": {model: {"limit": limits}}}
        if name == "own":
            provider |= {"npm": "@ai-sdk/openai-compatible", "name": "Own"}
        settings = {
            "$schema": "https://opencode.ai/config.json",
            "autoupdate": False,
            "share": "disabled",
            "provider": {name: provider},
            "model": self.model,
            "small_model": self.model,
            "permission": json.loads(self.options.get("permission", '"allow"')),
            "mcp": json.loads(self.options.get("mcp", "{}")),
        }
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "opencode.json").write_text(json.dumps(settings), "utf-8")


class OpencodeTools(FieldTools):
    """For all models but OpenAI's, which get `apply_patch` instead of `edit` and `write`."""

    def __init__(self) -> None:
        super().__init__(
            read=("read", "filePath"),
            write=("write", "filePath", "content"),
            edit=("edit", "filePath", "oldString", "newString", "replaceAll"),
            bash=("bash", "command"),
            delegate=("task", "prompt"),
        )

    def more(self, does: str) -> Json:
        if does == "delegate":
            return {"description": "A subtask", "subagent_type": "general"}
        return {"description": "Run a command"} if does == "bash" else {}


class PatchingTools(OpencodeTools):
    """OpenAI's models get patches instead of `edit` and `write`."""

    def write(self, path: Path, content: str) -> Call:
        return self.patch(patch(*added(path, content)))

    def edit(self, path: Path, old: str, new: str, everywhere: bool = False) -> Call:
        return self.patch(patch(*updated(path, old, new)))

    def patch(self, text: str) -> Call:
        return Call("apply_patch", {"patchText": text})


# Reads do not show whether a file ends in a newline.
_WORK = partial(everything, unended=False)
_PATCH_WORK = cast("Callable[[str, Path, Tools], Script]", partial(patch_work, unended=False))


def _variant(provider: str, protocol: str) -> Variant:
    return Variant(
        f"opencode, {provider}",
        Opencode,
        TOOLS,
        "opencode",
        protocol,
        {"provider": provider},
        exit_codes=False,
        failures=False,
        script=_WORK,
    )


TOOLS = OpencodeTools()
VARIANTS = [
    _variant("anthropic", "anthropic-messages"),
    _variant("compatible", "openai-chat"),
    _variant("google", "gemini"),
    Variant(
        "opencode, openai",
        Opencode,
        PatchingTools(),
        "opencode",
        "openai-responses",
        {"provider": "openai"},
        exit_codes=False,
        failures=False,
        script=_PATCH_WORK,
    ),
]
