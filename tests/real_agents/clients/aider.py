"""A real aider, over Chat Completions and Messages. It offers no tools: its model writes edits into its answers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ocproxy.demo.provider import Served
from ocproxy.demo.script import Script, Step
from tests.real_agents.client import Client, Variant, litellm_settings
from tests.real_agents.in_text import COMMIT, InText, block
from tests.real_agents.installation import Package
from tests.real_agents.work import FieldTools, Tools
from tests.support.scripted import dialect_of

_QUIET = (
    "--yes-always --no-check-update --no-analytics --no-show-model-warnings --no-show-release-notes --no-gitignore"
    " --map-tokens 0"
)
# All that are edited: an answer that names another file is not taken before that file is in the chat.
FILES = ("input.txt", "src/app.py", "README.md", "no_newline.txt", "docs/with space.txt")

# In each answer one block fails: aider asks again only then (three times), and only what it says next settles the
# others.
EDITS = (
    "Editing — zażółć.\n\n"
    + block("input.txt", "beta\n", "BETA\nand one more\n")
    + block("notes.md", "", "# Notes\n\nünïcødé 🚀\nsecond\n")
    + block("input.txt", "no such text\n", "x\n")
    + block("src/app.py", "    return 1\n", "    return 11\n"),
    "Once more.\n\n"
    + block("src/app.py", "return 2\n", "    return 22\n")
    + block("src/app.py", "no such text\n", "x\n")
    + block("README.md", "With two lines.\n", "")
    + block("no_newline.txt", "last without a newline\n", "the end\n")
    + block("docs/with space.txt", "\tgęślą\n  jaźń 🚀\n", "\tgęślą\n\tand more\n  jaźń 🚀\n")
    + "```bash\nls\n```\n",
    "And what I wrote.\n\n"
    + block("notes.md", "second\n", "2nd\n")
    + block("new/naïve name.txt", "", "\tone\n\n")
    + block("notes.md", "no such text\n", "x\n")
    + block("input.txt", "", "at the end\n")
    + block("src/app.py", "def one():\n...\ndef two():\n", "def first():\n...\ndef second():\n"),
    "All done. Ünïcødé 🚀.",
)
TOLD = (
    ("edit", "input.txt", "applied"),
    ("edit", "notes.md", "applied"),
    ("edit", "input.txt", "failed"),
    ("edit", "src/app.py", "applied"),
    ("edit", "src/app.py", "applied"),
    ("edit", "src/app.py", "failed"),
    ("edit", "README.md", "applied"),
    ("edit", "no_newline.txt", "applied"),
    ("edit", "docs/with space.txt", "applied"),
    ("edit", "notes.md", "applied"),
    ("edit", "new/naïve name.txt", "applied"),
    ("edit", "notes.md", "failed"),
    ("edit", "input.txt", "applied"),
    ("edit", "src/app.py", "applied"),
)


def work(name: str, folder: Path, tools: Tools) -> Script:
    return Script(name, tuple(Step(text=text) for text in EDITS))


class Aider(Client):
    """Options: `model`, with the protocol's name before it."""

    package = Package("aider", "PyPI", "aider-chat", "aider")

    def command(self, prompt: str, *arguments: str) -> list[str]:
        program = str(self.installation.program)
        histories = ["--chat-history-file", str(self.home / "chat.md")]
        histories += ["--input-history-file", str(self.home / "input")]
        model = ["--model", self.options.get("model", _CHAT)]
        return [program, *model, *_QUIET.split(), *histories, *arguments, "--message", prompt]

    def converse(self, prompts: Sequence[str], *arguments: str) -> str:
        """Types one prompt after the other, each when the one before is done; what it showed."""
        *command, _, _ = self.command("", "--no-fancy-input", "--no-pretty", *arguments)
        said = "".join(f"{prompt}\n" for prompt in prompts)
        done = subprocess.run(
            command, cwd=self.workdir, env=self.environment(), input=said, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"aider failed with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def continued(self) -> tuple[str, ...]:
        return ("--restore-chat-history",)

    def settings(self) -> dict[str, str]:
        return litellm_settings(self.base_url)

    def is_turn(self, served: Served) -> bool:
        """All but its requests for the message of a commit and for a summary."""
        is_side = COMMIT.encode() in served.body or b"*Briefly* summarize" in served.body
        return dialect_of(served) is not None and not is_side

    def counts(self, served: Served) -> bool:
        """Whose message of a commit it asks for is not told."""
        return COMMIT.encode() not in served.body


_CHAT = "openai/a-model"


def _variant(name: str, protocol: str, model: str) -> Variant:
    return Variant(
        name,
        Aider,
        FieldTools(),
        "aider",
        protocol,
        {"model": model},
        ("--edit-format", "diff", *FILES),
        InText,
        says_workdir=False,
        commands=False,
        script=work,
        in_text=True,
        told=TOLD,
    )


VARIANTS = [
    _variant("aider", "openai-chat", _CHAT),
    _variant("aider, Messages", "anthropic-messages", "anthropic/claude-sonnet-4-5"),
]
