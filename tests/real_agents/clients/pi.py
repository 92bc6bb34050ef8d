"""A real pi (`pi -p`), over Chat Completions, Messages, Responses and Gemini."""

from __future__ import annotations

import json
from pathlib import Path

from ocproxy.demo.provider import Served
from ocproxy.demo.script import Call
from tests.real_agents.client import KEY, Client, Variant
from tests.real_agents.installation import Package
from tests.real_agents.work import FieldTools

_MODEL = {
    "id": "a-model",
    "name": "A model",
    "reasoning": False,
    "input": ["text"],
    "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
    "contextWindow": 200000,
    "maxTokens": 8000,
}


class PiTools(FieldTools):
    """An edit is a list of changes, each of a place of its own: for all places the model names each with its lines."""

    def __init__(self) -> None:
        super().__init__(
            read=("read", "path"), write=("write", "path", "content"), edit=("edit",), bash=("bash", "command")
        )

    def edit(self, path: Path, old: str, new: str, everywhere: bool = False) -> Call:
        places = ("def two():\n    {}\n", "def three():\n    {}\n") if everywhere else ("{}",)
        edits = [{"oldText": place.format(old), "newText": place.format(new)} for place in places]
        return Call("edit", {"path": str(path), "edits": edits})


class Pi(Client):
    """Options: `api`, and the `path` of its base URL; `reserve` and `keep`, how many tokens of its 200,000 it leaves
    for an answer before it makes the history shorter, and how many it keeps then; `mcp`, a JSON text of its MCP
    servers."""

    package = Package(
        "pi",
        "npm",
        "@earendil-works/pi-coding-agent",
        "pi",
        before=("@earendil-works/pi-coding-agent@0.87.1", "@mariozechner/pi-coding-agent@0.73.1"),
    )

    def command(self, prompt: str, *arguments: str) -> list[str]:
        folder = self.home / ".pi" / "agent"
        folder.mkdir(parents=True, exist_ok=True)
        provider = {"baseUrl": self.base_url + self.options["path"], "api": self.options["api"], "apiKey": KEY}
        models = {"providers": {"own": {**provider, "models": [_MODEL]}}}
        (folder / "models.json").write_text(json.dumps(models), "utf-8")
        names = {"reserve": "reserveTokens", "keep": "keepRecentTokens"}
        compaction = {names[name]: int(self.options[name]) for name in names if name in self.options}
        (folder / "settings.json").write_text(json.dumps({"compaction": compaction}), "utf-8")
        (folder / "mcp.json").write_text(f'{{"mcpServers": {self.options.get("mcp", "{}")}}}', "utf-8")
        return [str(self.installation.program), "--provider", "own", "--model", "a-model", *arguments, "-p", prompt]

    def continued(self) -> tuple[str, ...]:
        return ("--continue",)

    def settings(self) -> dict[str, str]:
        return {"PI_OFFLINE": "1"}

    def whose(self, served: Served) -> tuple[str | None, str | None]:
        return served.headers.get("session_id"), None


def _variant(name: str, protocol: str, api: str, path: str) -> Variant:
    return Variant(f"pi, {name}", Pi, PiTools(), "pi", protocol, {"api": api, "path": path})


VARIANTS = [
    _variant("Chat Completions", "openai-chat", "openai-completions", "/v1"),
    _variant("Messages", "anthropic-messages", "anthropic-messages", ""),
    _variant("Responses", "openai-responses", "openai-responses", "/v1"),
    _variant("Gemini", "gemini", "google-generative-ai", "/v1beta"),
]
