"""The four tools of the demonstration's agent: they really read, write, edit and run, inside one folder."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_COMMAND_SECONDS = 30.0  # no command of the demonstration takes a second; a hanging one must not hang the tour


class ToolError(Exception):
    """The tool could not do what it was asked for; the text goes back to the model."""


def _tool(name: str, description: str, **properties: str) -> Json:
    schema = {key: {"type": "string", "description": text} for key, text in properties.items()}
    return {
        "name": name,
        "description": description,
        "input_schema": {"type": "object", "properties": schema, "required": list(schema)},
    }


TOOLS = [
    _tool("Read", "Read a text file.", file_path="absolute path"),
    _tool("Write", "Write a text file.", file_path="absolute path", content="the whole new content"),
    _tool("Edit", "Replace a text that occurs once.", file_path="absolute path", old_string="old", new_string="new"),
    _tool("Bash", "Run a shell command in the working directory.", command="the command"),
]


async def use_tool(name: str, arguments: Json, workdir: Path) -> str:
    """Runs one tool and returns its result. Raises ToolError when it fails."""
    if name == "Bash":
        return await _run_command(arguments["command"], workdir)
    return _use_file(name, arguments, workdir)


def _use_file(name: str, arguments: Json, workdir: Path) -> str:
    path = (workdir / arguments["file_path"]).resolve()
    if not path.is_relative_to(workdir.resolve()):
        raise ToolError(f"{path} is outside the working directory")
    try:
        return _FILE_TOOLS[name](path, arguments)
    except OSError as error:
        raise ToolError(f"{error.strerror}: {path}") from error


def _read(path: Path, arguments: Json) -> str:
    lines = path.read_text("utf-8").split("\n")
    return "\n".join(f"{number}\t{line}" for number, line in enumerate(lines, 1))


def _write(path: Path, arguments: Json) -> str:
    existed = path.exists()
    path.write_text(arguments["content"], "utf-8")
    return f"The file {path} has been updated successfully" if existed else f"File created successfully at: {path}"


def _edit(path: Path, arguments: Json) -> str:
    text = path.read_text("utf-8")
    found = text.count(arguments["old_string"])
    if found != 1:
        what = "String to replace not found in file" if not found else f"Found {found} matches of the string to replace"
        raise ToolError(f"{what}.\nString: {arguments['old_string']}")
    path.write_text(text.replace(arguments["old_string"], arguments["new_string"]), "utf-8")
    return f"The file {path} has been updated successfully"


_FILE_TOOLS = {"Read": _read, "Write": _write, "Edit": _edit}


async def _run_command(command: str, workdir: Path) -> str:
    """Exit code and output of the command, both streams. Its `python` is the one that runs ocproxy."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    process = await asyncio.create_subprocess_shell(
        command,
        cwd=workdir,
        env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _COMMAND_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ToolError(f"Command timed out after {_COMMAND_SECONDS:.0f} s") from None
    text = f"Exit code {process.returncode}\n{output.decode('utf-8', 'replace')}".rstrip("\n")
    if process.returncode:
        raise ToolError(text)
    return text
