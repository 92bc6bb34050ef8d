"""The tools of a small agent, as plain functions. They say what they did, and raise where they could not."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ONE = threading.Lock()  # some frameworks run the calls of an answer at once


def read_file(path: str) -> str:
    """Return the text of a file.

    Args:
        path: The file.
    """
    return Path(path).read_bytes().decode()


def write_file(path: str, content: str) -> str:
    """Write a file, whatever was in it; makes the folders above it.

    Args:
        path: The file.
        content: All that is to be in it.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content.encode())
    return f"Wrote {len(content)} characters to {path}."


def edit_file(path: str, old_string: str, new_string: str, replace_all: bool = False) -> str:
    """Replace a text in a file, which must be there once.

    Args:
        path: The file.
        old_string: What is to be replaced.
        new_string: What is to be there instead.
        replace_all: Whether to replace it wherever it is.
    """
    with _ONE:
        text = Path(path).read_bytes().decode()
        count = text.count(old_string)
        if not count or (count > 1 and not replace_all):
            raise ValueError(f"old_string is {count} times in {path}")
        Path(path).write_bytes(text.replace(old_string, new_string).encode())
    return f"Edited {path}."


def bash(command: str) -> str:
    """Run a command and return its exit code and what it printed.

    Args:
        command: The command line.
    """
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    return f"Exit code: {done.returncode}\n{done.stdout}{done.stderr}"


TOOLS: dict[str, Callable[..., str]] = {tool.__name__: tool for tool in (read_file, write_file, edit_file, bash)}

_TEXT = {"type": "string"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "read_file": {"path": _TEXT},
    "write_file": {"path": _TEXT, "content": _TEXT},
    "edit_file": {"path": _TEXT, "old_string": _TEXT, "new_string": _TEXT, "replace_all": {"type": "boolean"}},
    "bash": {"command": _TEXT},
}


def parameters(name: str) -> dict[str, Any]:
    """The JSON schema of a tool's arguments."""
    fields = SCHEMAS[name]
    return {"type": "object", "properties": fields, "required": [field for field in fields if field != "replace_all"]}


def attempt(name: str, given: dict[str, Any]) -> tuple[str, bool]:
    """What a tool says, and whether it failed."""
    try:
        return TOOLS[name](**given), False
    except Exception as error:  # whatever goes wrong, the model is told
        return f"Error: {error}", True
