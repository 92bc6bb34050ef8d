"""What the corpus keeps of each agent: the short session that it plays over each of its protocols, which ways of
running it need no session of their own, and the tests whose longer sessions are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ocproxy.demo.provider import Provider
from ocproxy.demo.script import Call, Script, Step
from tests.real_agents.client import Client, Variant
from tests.real_agents.clients import variants
from tests.real_agents.clients.aider import Aider
from tests.real_agents.clients.mini_swe_agent import MiniSweAgent
from tests.real_agents.clients.smolagents import SmolAgents
from tests.real_agents.in_text import block
from tests.real_agents.library import OWN_TOOLS
from tests.real_agents.test_libraries import Ending
from tests.real_agents.work import Tools
from tests.support.record_corpus import name_of_test
from tests.support.scripted import Scripted

PROMPT = "Do the work."

# The bytes of these differ from those of another way in nothing that is told.
STANDS_FOR = {
    "Claude Agent SDK, client": "Claude Agent SDK, query",
    "Codex, WebSocket, functions": "Codex, WebSocket, code mode",
    "google-genai, automatic calls": "google-genai, generate_content",
}


@dataclass(frozen=True)
class Short:
    """One short session: who plays what."""

    name: str
    client: type[Client]
    script: Callable[[Path], Script]
    options: dict[str, str]
    arguments: tuple[str, ...] = ()
    manners: Callable[..., Provider] = Scripted
    ordered: bool = True  # the files that the program attaches come in the same order at every run

    def __str__(self) -> str:
        return self.name


def case_of(name: str) -> str:
    """The case of the corpus with the short session of that name."""
    return name_of_test(f"test_a_short_session[{name}] (call)")


def work(folder: Path, tools: Tools) -> Script:
    """Parallel calls; a read, a write, an edit, an edit and a command that fail."""
    source = folder / "input.txt"
    steps = (
        Step("Reading.", "I read first.", (tools.read(source), tools.bash("ls"))),
        Step("Writing.", calls=(tools.write(folder / "notes.md", "# Notes\n"), tools.edit(source, "beta", "BETA"))),
        Step("Both fail.", calls=(tools.edit(source, "no such text", "x"), tools.bash("echo out; exit 3"))),
        Step("All done. Zażółć 🚀."),
    )
    return Script("short", steps)


def _ended_by_a_tool(folder: Path) -> Script:
    last = Step("Ending now.", calls=(Call("final_answer", {"answer": "All done."}),))
    return Script("short", (*work(folder, OWN_TOOLS).steps[:-1], last))


def _programs(_: Path) -> Script:
    programs = ("print(read_file('input.txt'))", "print(edit_file('input.txt', 'none', 'x'))", "final_answer('Done.')")
    return Script("short", tuple(Step(f"Thought: {n}\n<code>\n{code}\n</code>") for n, code in enumerate(programs)))


def _commands(_: Path) -> Script:
    commands = ("cat input.txt", "echo out; exit 3", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && echo done")
    return Script("short", tuple(Step("A step.", calls=(Call("bash", {"command": one}),)) for one in commands))


def _edits(_: Path) -> Script:
    first = block("input.txt", "beta\n", "BETA\n") + block("notes.md", "", "# Notes\n")
    texts = (
        "Editing.\n\n" + first + block("input.txt", "no such text\n", "x\n"),
        "Once more.\n\n" + block("README.md", "With two lines.\n", "With lines.\n"),
    )
    return Script("short", tuple(Step(text) for text in texts))


def _of(variant: Variant) -> Short:
    if variant.client is Aider:
        edited = ("--edit-format", "diff", "input.txt", "README.md")
        return Short(variant.name, Aider, _edits, variant.options, edited, variant.manners, ordered=False)
    if variant.client is MiniSweAgent:
        return Short(variant.name, MiniSweAgent, _commands, variant.options, variant.arguments, variant.manners)

    def script(folder: Path) -> Script:
        return work(folder, variant.tools)

    return Short(variant.name, variant.client, script, variant.options, variant.arguments, variant.manners)


# Those that do not play the script of all others.
OWN = [
    Short("smolagents, tools", SmolAgents, _ended_by_a_tool, {"way": "tools"}, manners=Ending),
    Short("smolagents, code", SmolAgents, _programs, {"way": "code"}, manners=Ending),
]
SHORT = [*(_of(one) for one in variants() if one.name not in STANDS_FOR), *OWN]
