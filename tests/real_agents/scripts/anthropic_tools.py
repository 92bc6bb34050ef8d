"""Anthropic's text editor and bash, carried out as the API's documentation describes them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def run_typed(name: str, given: dict) -> tuple[str, bool]:
    """What the tool says, and whether it failed."""
    try:
        return (_bash(given) if name == "bash" else _edit(given)), False
    except Exception as error:  # whatever goes wrong, the model is told
        return f"Error: {error}", True


def _bash(given: dict) -> str:
    done = subprocess.run(["bash", "-c", given["command"]], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _edit(given: dict) -> str:
    path = Path(given["path"])
    if given["command"] == "create":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(given["file_text"].encode())
        return f"File created successfully at: {path}"
    if not path.exists():
        raise FileNotFoundError("File not found")
    text = path.read_bytes().decode()
    if given["command"] == "view":
        return "\n".join(f"{number}: {line}" for number, line in enumerate(text.split("\n"), 1))
    if given["command"] == "insert":
        lines = text.splitlines(keepends=True)
        lines.insert(given["insert_line"], given["insert_text"])
        path.write_bytes("".join(lines).encode())
        return "Successfully inserted the text."
    count = text.count(given["old_str"])
    if count != 1:
        found = f"Found {count} matches for replacement text." if count else "No match found for replacement."
        raise ValueError(f"{found} Please check your text and try again.")
    path.write_bytes(text.replace(given["old_str"], given["new_str"]).encode())
    return "Successfully replaced text at exactly one location."
