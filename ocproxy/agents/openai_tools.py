"""OpenAI's own tool types of the Responses API, which any agent may offer: patches of one file, and shells.

    apply_patch_call    operation: {type: create_file | update_file | delete_file, path, diff, move_to?}; `diff` is the
                        inside of a file's section of the `*** Begin Patch` form
    shell_call          action: {commands: […], timeout_ms, max_output_length}; its result has one output a command

Source: the API reference, "Apply patch" and "Shell" of the tools guide, and the types of OpenAI's own libraries.
"""

from __future__ import annotations

from ocproxy.agents import patches
from ocproxy.agents.base import Action, Answer
from ocproxy.model import EventType, Json, Status, ToolResult, ToolUse

_HEADS = {"create_file": "Add", "update_file": "Update", "delete_file": "Delete"}


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What a use of these tools asks for; None when it is none of them."""
    given = use.input
    if use.name == "apply_patch" and given.get("type") in _HEADS and isinstance(given.get("path"), str):
        return _of_operation(given)
    if (commands := _commands(use)) is not None:
        return tuple(Action(EventType.BASH, command=command) for command in commands)
    return None


def answer(use: ToolUse, result: ToolResult) -> Answer | None:
    """What the outputs of a shell's commands say, each by itself; None where there is not one for each."""
    commands, outputs = _commands(use), result.content
    if commands is None or not isinstance(outputs, list) or len(outputs) != len(commands):
        return None
    each = tuple(_of_output(output) for output in outputs)
    status = Status.FAILED if any(one.status is Status.FAILED for one in each) else Status.APPLIED
    return Answer(status, each=each)


def _commands(use: ToolUse) -> list[str] | None:
    commands = use.input.get("commands") if use.name == "shell" else None
    is_list = isinstance(commands, list) and all(isinstance(command, str) for command in commands)
    return commands if is_list and commands else None


def _of_operation(given: dict[str, Json]) -> tuple[Action, ...] | None:
    diff, move = given.get("diff") or "", given.get("move_to")
    if not isinstance(diff, str):
        return None
    head = f"*** {_HEADS[given['type']]} File: {given['path']}"
    lines = [head, *([f"*** Move to: {move}"] if isinstance(move, str) and move else []), diff]
    found = patches.parse_patch("\n".join(["*** Begin Patch", *lines, "*** End Patch"]))
    return found or None


def _of_output(output: Json) -> Answer:
    fields = output if isinstance(output, dict) else {}
    outcome = fields.get("outcome")
    code = outcome.get("exit_code") if isinstance(outcome, dict) else None
    texts = [text for name in ("stdout", "stderr") if isinstance(text := fields.get(name), str)]
    size = len("".join(texts).encode("utf-8", "replace"))
    if type(code) is int:
        return Answer(Status.FAILED if code else Status.APPLIED, exit_code=code, output_bytes=size)
    if isinstance(outcome, dict) and outcome.get("type") == "timeout":
        return Answer(Status.FAILED, output_bytes=size, note="it was ended when its time was over")
    return Answer(Status.UNKNOWN, output_bytes=size)
