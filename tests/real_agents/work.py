"""What the scripted model makes a real agent do: a starting tree, and the steps of several turns."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Protocol

from ocproxy.demo.script import Call, Script, Step

TREE = {
    "input.txt": "alpha\nbeta\ngamma\n",
    "README.md": "# A small project\n\nWith two lines.\n",
    "no_newline.txt": "first\nsecond\nlast without a newline",
    "docs/with space.txt": "zażółć\n\tgęślą\n  jaźń 🚀\n",
    "src/app.py": "def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 2\n",
    ".gitignore": "scratch/\n",
}
# Commands write here only: what commands do to files is told by no file event, so it is no part of the oracle.
SCRATCH = "scratch"


def plant(folder: Path) -> Path:
    """The starting tree as a git repository with one commit."""
    for name, text in TREE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid"]
    for command in (["init", "-q", "."], ["add", "-A"], [*identity, "commit", "-q", "-m", "Start"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """All files with their bytes, without git's own and the scratch folder."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(path): (folder / path).read_bytes() for path in paths if path.parts[0] not in (".git", SCRATCH)}


class Tools(Protocol):
    """The tools of one agent, as its model calls them. What an agent has no tool for, it does as its model would."""

    def read(self, path: Path) -> Call: ...
    def write(self, path: Path, content: str) -> Call: ...
    def edit(self, path: Path, old: str, new: str, everywhere: bool = False) -> Call: ...
    def bash(self, command: str) -> Call: ...
    def delegate(self, prompt: str) -> Call: ...

    def command_of(self, call: Call) -> str | None:
        """The command line that a call runs; None when it runs none."""
        ...


class FieldTools:
    """Tools that differ in names and field names only: `tool(field=…)` for each."""

    def __init__(self, **names: tuple[str, ...]) -> None:
        """For each of read, write, edit, bash and delegate: the tool's name, then the names of its fields in the order
        of the methods' arguments; edit has one more for `everywhere`, which is left out when empty or false."""
        self._names = names

    def read(self, path: Path) -> Call:
        return self._call("read", str(path))

    def write(self, path: Path, content: str) -> Call:
        return self._call("write", str(path), content)

    def edit(self, path: Path, old: str, new: str, everywhere: bool = False) -> Call:
        return self._call("edit", str(path), old, new, *([True] if everywhere else []))

    def bash(self, command: str) -> Call:
        return self._call("bash", command)

    def delegate(self, prompt: str) -> Call:
        return self._call("delegate", prompt)

    def command_of(self, call: Call) -> str | None:
        name, field, *_ = self._names["bash"]
        return call.input[field] if call.name == name else None

    def more(self, does: str) -> dict[str, Any]:
        """Other fields that a tool requires."""
        return {}

    def _call(self, does: str, *values: str | bool) -> Call:
        name, *fields = self._names[does]
        given = {field: value for field, value in zip(fields, values, strict=False) if field}
        return Call(name, {**given, **self.more(does)})


# Every command of `everything` in order, with its exit code.
COMMANDS = [
    ("ls", 0),
    ("mkdir -p scratch && printf 'made by bash\\n' > scratch/out.txt && wc -l input.txt", 0),
    ("echo to-stdout; echo to-stderr >&2; exit 3", 3),
    ("false", 1),
    ("cat scratch/out.txt", 0),
]


def exit_code_of(command: str) -> int:
    """What any command of the scripts leaves with."""
    return dict(COMMANDS).get(command, 1 if "missing.txt" in command else 0)


def everything(name: str, folder: Path, tools: Tools, unended: bool = True) -> Script:
    """Thinking, parallel tools, new and overwritten files, edits of all sorts, a failing edit, read and command.

    `unended`: also an edit at the end of a file without a last newline, which not every agent's reads show.
    """
    app, spaced = folder / "src" / "app.py", folder / "docs" / "with space.txt"
    ending, notes, readme = folder / "no_newline.txt", folder / "notes.md", folder / "README.md"
    read, write, edit = tools.read, tools.write, tools.edit
    commands = [tools.bash(command) for command, _ in COMMANDS]
    steps = [
        ("I read the input — then I write. Zażółć.", "Reading.", (read(folder / "input.txt"), commands[0])),
        ("", "A new file.", (write(notes, "# Notes\n\nfirst — ünïcødé 🚀\nsecond\n"),)),
        ("Now edit.", "Editing.", (edit(folder / "input.txt", "beta", "BETA\nand one more"),)),
        ("", "This must fail.", (edit(folder / "input.txt", "no such text", "x"),)),
        ("", "A command.", (commands[1],)),
        ("", "A failing one.", (commands[2],)),
        ("", "Many reads.", tuple(map(read, (app, spaced, ending, readme)))),
        ("", "Two edits of one file at once, and a command that says nothing.", (
            edit(app, "    return 1\n", "    return 11\n"),
            edit(app, "return 2", "return 22", everywhere=True),
            commands[3],
        )),
        ("", "Other files.", (
            edit(spaced, "\tgęślą", "\tgęślą\n\tand more"),
            *([edit(ending, "last without a", "the end, still no")] if unended else []),
        )),
        ("", "Overwriting; a new folder; an empty line at the end.", (
            write(readme, "# Written again\nno newline at the end"),
            write(folder / "new" / "deep.txt", "one\n\n"),
            write(folder / "new" / "naïve name.txt", "\tone\r\n"),
            write(folder / "new" / "__init__.py", ""),
        )),
        ("", "Editing what I wrote.", (edit(notes, "second\n", ""), edit(readme, "again", "twice"))),
        ("", "A read that must fail.", (read(folder / "missing.txt"), commands[4])),
        ("All done.", "All done. Ünïcødé 🚀.", ()),
    ]  # fmt: skip
    return Script(name, tuple(Step(text=text, thinking=thinking, calls=calls) for thinking, text, calls in steps))


def short(name: str, folder: Path, tools: Tools) -> Script:
    """Reads and writes one file, named after the script."""
    return Script(
        name,
        (
            Step(text="Reading.", thinking="Short.", calls=(tools.read(folder / "input.txt"),)),
            Step(
                text="Writing.", calls=(tools.write(folder / f"{name}.txt", f"by {name}\n"), tools.bash(f"echo {name}"))
            ),
            Step(text=f"{name} is done."),
        ),
    )


def delegating(name: str, folder: Path, tools: Tools, *children: str) -> Script:
    """Hands a task to subagents that play the scripts `children`, all in one answer, then writes a file itself."""
    tasks = tuple(tools.delegate(f"[[script:{child}]] Do the subtask.") for child in children)
    return Script(
        name,
        (
            Step(text="Delegating.", calls=tasks),
            Step(text="After the subagent.", calls=(tools.write(folder / f"{name}.txt", "after the subagent\n"),)),
            Step(text="All are done."),
        ),
    )
