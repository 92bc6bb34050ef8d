"""What happens in the demonstration: a small project with a failing check, and a model that repairs it."""

from __future__ import annotations

from pathlib import Path

from ocproxy.demo.script import Call, Script, Step

PROMPT = "The check in check.py fails. Find out why, fix it, and note the change in CHANGES.md."

FILES = {
    "temperature.py": '''"""Celsius and Fahrenheit."""


def to_fahrenheit(celsius: float) -> float:
    return celsius * 9 / 5 - 32


def to_celsius(fahrenheit: float) -> float:
    return (fahrenheit - 32) * 5 / 9
''',
    "check.py": """from temperature import to_celsius, to_fahrenheit

assert to_celsius(212) == 100
assert to_fahrenheit(100) == 212, f"100 degrees Celsius are 212 Fahrenheit, not {to_fahrenheit(100):g}"
print("all temperatures are right")
""",
}


def prepare(workdir: Path) -> None:
    """Writes the project as it is when the session begins."""
    for name, text in FILES.items():
        (workdir / name).write_text(text, "utf-8")


def tell_story(workdir: Path) -> Script:
    """The model's part: read and run, an edit that fails, the edit that works, a new file, the check again."""
    module = str(workdir / "temperature.py")
    edit = {
        "file_path": module,
        "old_string": "return celsius * 9 / 5 - 32",
        "new_string": "return celsius * 9 / 5 + 32",
    }
    wrong = {**edit, "old_string": "return celsius * 1.8 - 32", "new_string": "return celsius * 1.8 + 32"}
    note = {
        "file_path": str(workdir / "CHANGES.md"),
        "content": "# Changes\n\n- `to_fahrenheit` adds the 32 degrees.\n",
    }
    check = Call("Bash", {"command": "python check.py"})
    return Script(
        "demo",
        (
            Step(
                thinking="The check imports temperature.py. I read that file and run the check side by side.",
                text="I look at the module and run the check.",
                calls=(Call("Read", {"file_path": module}), check),
            ),
            Step(text="The sign in `to_fahrenheit` is wrong.", calls=(Call("Edit", wrong),)),
            Step(text="That line is written as 9 / 5. Once more.", calls=(Call("Edit", edit),)),
            Step(text="Now the note, and the check again.", calls=(Call("Write", note), check)),
            Step(text="Fixed: `to_fahrenheit` subtracted the 32 degrees instead of adding them. The check passes."),
        ),
    )
