"""What the scripted model makes a real Claude Code do: a starting tree, and the steps of several turns."""

from __future__ import annotations

import subprocess
from pathlib import Path

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


def read(path: Path) -> Call:
    return Call("Read", {"file_path": str(path)})


def write(path: Path, content: str) -> Call:
    return Call("Write", {"file_path": str(path), "content": content})


def edit(path: Path, old: str, new: str, **more: bool) -> Call:
    return Call("Edit", {"file_path": str(path), "old_string": old, "new_string": new, **more})


def bash(command: str) -> Call:
    return Call("Bash", {"command": command, "description": "Run a command"})


# Every command of `everything` in order, with its exit code.
COMMANDS = [
    ("ls", 0),
    ("mkdir -p scratch && printf 'made by bash\\n' > scratch/out.txt && wc -l input.txt", 0),
    ("echo to-stdout; echo to-stderr >&2; exit 3", 3),
    ("false", 1),
    ("cat scratch/out.txt", 0),
]


def everything(name: str, folder: Path) -> Script:
    """Thinking, parallel tools, new and overwritten files, edits of all sorts, a failing edit, read and command."""
    app, spaced = folder / "src" / "app.py", folder / "docs" / "with space.txt"
    unended, notes, readme = folder / "no_newline.txt", folder / "notes.md", folder / "README.md"
    commands = [bash(command) for command, _ in COMMANDS]
    steps = [
        ("I read the input — then I write. Zażółć.", "Reading.", (read(folder / "input.txt"), commands[0])),
        ("", "A new file.", (write(notes, "# Notes\n\nfirst — ünïcødé 🚀\nsecond\n"),)),
        ("Now edit.", "Editing.", (edit(folder / "input.txt", "beta", "BETA\nand one more"),)),
        ("", "This must fail.", (edit(folder / "input.txt", "no such text", "x"),)),
        ("", "A command.", (commands[1],)),
        ("", "A failing one.", (commands[2],)),
        ("", "Many reads.", tuple(map(read, (app, spaced, unended, readme)))),
        ("", "Two edits of one file at once, and a command that says nothing.", (
            edit(app, "    return 1\n", "    return 11\n"),
            edit(app, "return 2", "return 22", replace_all=True),
            commands[3],
        )),
        ("", "Other files.", (
            edit(spaced, "\tgęślą", "\tgęślą\n\tand more"),
            edit(unended, "last without a", "the end, still no"),
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


def short(name: str, folder: Path) -> Script:
    """Reads and writes one file, named after the script."""
    return Script(
        name,
        (
            Step(text="Reading.", thinking="Short.", calls=(read(folder / "input.txt"),)),
            Step(text="Writing.", calls=(write(folder / f"{name}.txt", f"by {name}\n"), bash(f"echo {name}"))),
            Step(text=f"{name} is done."),
        ),
    )


def delegating(name: str, folder: Path, child: str) -> Script:
    """Hands a task to a subagent that plays the script `child`, then writes a file itself."""
    task = {
        "description": "A subtask",
        "prompt": f"[[script:{child}]] Do the subtask.",
        "subagent_type": "general-purpose",
        "run_in_background": False,
    }
    return Script(
        name,
        (
            Step(text="Delegating.", calls=(Call("Agent", task),)),
            Step(text="After the subagent.", calls=(write(folder / f"{name}.txt", "after the subagent\n"),)),
            Step(text="Both are done."),
        ),
    )
