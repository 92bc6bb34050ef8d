"""A real Cline, the command line program."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import KEY, Client, Variant
from tests.real_agents.clients.codex import added, patch, updated
from tests.real_agents.installation import Package
from tests.real_agents.work import COMMANDS, Tools


class ClineTools:
    """One call for many files or commands."""

    def read(self, path: Path) -> Call:
        return self.read_all(path)

    def read_all(self, *paths: Path) -> Call:
        return Call("read_files", {"files": [{"path": str(path)} for path in paths]})

    def write(self, path: Path, content: str) -> Call:
        return Call("editor", {"path": str(path), "new_text": content})

    def edit(self, path: Path, old: str, new: str, everywhere: bool = False) -> Call:
        return Call("editor", {"path": str(path), "old_text": old, "new_text": new})

    def insert(self, path: Path, line: int, text: str) -> Call:
        return Call("editor", {"path": str(path), "new_text": text, "insert_line": line})

    def bash(self, command: str) -> Call:
        return self.bash_all(command)

    def bash_all(self, *commands: str) -> Call:
        return Call("run_commands", {"commands": list(commands)})

    def delegate(self, prompt: str) -> Call:
        return Call("spawn_agent", {"systemPrompt": "You do subtasks.", "task": prompt})

    def command_of(self, call: Call) -> str | None:
        commands: Any = call.input.get("commands")
        return commands[0] if commands else None


class PatchingTools(ClineTools):
    """With OpenAI as its provider it offers `apply_patch` in the place of its editor."""

    def write(self, path: Path, content: str) -> Call:
        return self.patch(patch(*added(path, content)))

    def edit(self, path: Path, old: str, new: str, everywhere: bool = False) -> Call:
        return self.patch(patch(*updated(path, old, new)))

    def patch(self, text: str) -> Call:
        return Call("apply_patch", {"input": text})


def work(name: str, folder: Path, tools: Tools) -> Script:
    """As `work.everything`, for tools that do not overwrite, and whose reads do not show whether the last line ends in
    a newline: edits are in the middle."""
    assert isinstance(tools, ClineTools)
    app, notes, readme = folder / "src" / "app.py", folder / "notes.md", folder / "README.md"
    spaced, ending = folder / "docs" / "with space.txt", folder / "no_newline.txt"
    commands = [tools.bash(command) for command, _ in COMMANDS]
    edit, write = tools.edit, tools.write
    steps = [
        ("Reading.", (tools.read(folder / "input.txt"), commands[0])),
        ("A new file.", (write(notes, "# Notes\n\nfirst — ünïcødé 🚀\nsecond\n"),)),
        ("This must fail.", (edit(folder / "input.txt", "no such text", "x"),)),
        ("A command.", (commands[1],)),
        ("A failing one.", (commands[2],)),
        ("Many reads.", (tools.read_all(app, spaced, ending, readme),)),
        ("Two edits of one file at once, and a command that says nothing.", (
            edit(app, "    return 1\n", "    return 11\n"),
            tools.insert(app, 2, "    # one"),
            commands[3],
        )),
        ("New files.", (
            write(folder / "new" / "deep.txt", "one\n\n"),
            write(folder / "new" / "naïve name.txt", "\tone\n"),
            write(folder / "new" / "__init__.py", ""),
        )),
        ("Editing what I wrote.", (edit(notes, "second\n", ""), edit(app, "def two", "def second"))),
        ("A read that must fail.", (tools.read(folder / "missing.txt"), commands[4])),
        ("All done. Ünïcødé 🚀.", ()),
    ]  # fmt: skip
    return Script(name, tuple(Step(text=text, calls=calls) for text, calls in steps))


def patching(name: str, folder: Path, tools: Tools) -> Script:
    """As `work`, in patches: of whole lines, and files that they make have no newline at their end."""
    assert isinstance(tools, PatchingTools)
    app, notes, readme = folder / "src" / "app.py", folder / "notes.md", folder / "README.md"
    spaced, ending, gone = folder / "docs" / "with space.txt", folder / "no_newline.txt", folder / "gone.txt"
    commands = [tools.bash(command) for command, _ in COMMANDS]
    edit, write = tools.edit, tools.write
    several = patch(
        *added(folder / "new" / "deep.txt", "one\n\n"),
        *updated(app, "    return 1", "    return 11"),
        *(f"*** Update File: {notes}", f"*** Move to: {folder / 'docs' / 'notes.md'}", "@@"),
        *(" # Notes", "+Moved.", " "),
        f"*** Delete File: {gone}",
    )
    steps = [
        ("Reading.", (tools.read(folder / "input.txt"), commands[0])),
        ("New files.", (write(notes, "# Notes\n\nfirst — ünïcødé 🚀\nsecond"), write(gone, "soon"))),
        ("This must fail.", (edit(folder / "input.txt", "no such text", "x"),)),
        ("A command.", (commands[1],)),
        ("A failing one.", (commands[2],)),
        ("Many reads.", (tools.read_all(app, spaced, ending, readme),)),
        ("Several files in one patch, and a command that says nothing.", (tools.patch(several), commands[3])),
        ("Editing what I wrote.", (edit(folder / "docs" / "notes.md", "second", "2nd"),)),
        ("A read that must fail.", (tools.read(folder / "missing.txt"), commands[4])),
        ("All done. Ünïcødé 🚀.", ()),
    ]  # fmt: skip
    return Script(name, tuple(Step(text=text, calls=calls) for text, calls in steps))


class Cline(Client):
    """Options: `provider`, and the `path` of its base URL; `mcp`, a JSON text of its MCP servers; `window`, how many
    tokens it takes the model to hold. What continues a session is typed into its terminal."""

    package = Package("cline", "npm", "cline", "cline", scripts=("protobufjs",))

    def command(self, prompt: str, *arguments: str) -> list[str]:
        self.log_in()
        return [str(self.installation.program), *arguments, prompt]

    def continued(self) -> tuple[str, ...]:
        """It wants a terminal then, and takes no prompt."""
        return ("--id", self.newest())

    def newest(self) -> str:
        """The id of its newest session."""
        return max(folder.name for folder in (self.home / ".cline" / "data" / "sessions").iterdir())

    def log_in(self) -> None:
        """Its own command writes the provider's settings; the base URL of some stands in its file only."""
        provider = self.options["provider"]
        words = {"-p": provider, "-k": KEY, "-m": self.options["model"]}
        command = [str(self.installation.program), "auth", *(word for pair in words.items() for word in pair)]
        subprocess.run(command, cwd=self.workdir, env=self.environment(), check=True, capture_output=True, timeout=60)
        file = self.home / ".cline" / "data" / "settings" / "providers.json"
        told = json.loads(file.read_text("utf-8"))
        settings = told["providers"][provider]["settings"]
        settings["baseUrl"] = self.base_url + self.options["path"]
        if window := self.options.get("window"):
            settings["contextWindow"] = int(window)
        file.write_text(json.dumps(told), "utf-8")
        servers = self.home / ".cline" / "data" / "settings" / "cline_mcp_settings.json"
        servers.write_text(json.dumps({"mcpServers": json.loads(self.options.get("mcp", "{}"))}), "utf-8")


def _variant(name: str, protocol: str, provider: str, model: str, path: str, **more: Any) -> Variant:
    options = {"provider": provider, "model": model, "path": path}
    fields: dict[str, Any] = {"tools": ClineTools(), "script": work, **more}
    return Variant(name, Cline, agent="cline", protocol=protocol, options=options, **fields)


VARIANTS = [
    _variant("Cline", "openai-chat", "openai-compatible", "a-model", "/v1"),
    _variant("Cline, Messages", "anthropic-messages", "anthropic", "claude-sonnet-4-6", "/v1"),
    _variant(
        "Cline, Responses",
        "openai-responses",
        "openai-native",
        "gpt-5.4",
        "/v1",
        tools=PatchingTools(),
        script=patching,
    ),
    _variant("Cline, Gemini", "gemini", "gemini", "gemini-3-pro-preview", "/v1beta"),
]
