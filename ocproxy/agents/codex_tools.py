"""The tools of Codex in all their forms: functions, freeform tools, a shell, code mode (seen up to 0.169.0).

Shells: `exec_command{cmd, workdir}`, `shell{command: [words], workdir}`, `shell_command{command}`, `container.exec`,
the provider's type `local_shell` (command, working_directory). Patches: `apply_patch`, freeform or `{input}`, or inside
a shell command. Tools of MCP servers stand in a namespace of their own, `mcp__SERVER`.
"""

from __future__ import annotations

import msgspec

from ocproxy.agents import mcp_files, shapes
from ocproxy.agents.base import Action
from ocproxy.agents.codex_program import actions_of_program
from ocproxy.agents.codex_shell import actions_of, command_of, patch_actions
from ocproxy.agents.shapes import Shape
from ocproxy.model import EventType, Json, ToolUse

_SHELLS = frozenset(("exec_command", "shell", "shell_command", "container.exec", "local_shell"))
_FOLDERS: dict[str, shapes.Kind] = {"workdir": "text", "working_directory": "text"}
_SHAPES = {
    **dict.fromkeys(_SHELLS, Shape(EventType.BASH, {"cmd|command": "words"}, _FOLDERS)),
    "apply_patch": Shape(EventType.EDIT, {"input|patch": "text"}),
    "view_image": Shape(EventType.READ, {"path": "path"}),
}
_TOUCH_NOTHING = frozenset(
    """close_agent create_goal curr_time followup_task get_context_remaining get_goal interrupt_agent list_agents
    list_mcp_resource_templates list_mcp_resources new_context read_mcp_resource report_agent_job_result
    request_permissions request_plugin_install request_user_input request_user_input_async resume_agent send_input
    send_message sleep spawn_agent spawn_agents_on_csv tool_search update_goal update_plan wait wait_agent web_search
    write_stdin""".split()
)


def qualified(use: ToolUse) -> ToolUse:
    """A use with the name of its namespace before its own, where that is an MCP server's."""
    namespace = use.extra.get("namespace")
    if isinstance(namespace, str) and namespace.startswith("mcp__") and not use.name.startswith("mcp__"):
        return msgspec.structs.replace(use, name=f"{namespace.rstrip('_')}__{use.name}")
    return use


def is_program(use: ToolUse) -> bool:
    """Whether it is a program of code mode."""
    return use.name == "exec" and set(use.input) == {"input"} and isinstance(use.input["input"], str)


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What a use of one of Codex's own tools asks for; None when it is none of them."""
    given = use.input
    if is_program(use):
        return actions_of_program(given["input"])
    if use.name == "exec":
        return shapes.degraded(use, EventType.BASH, "the tool exec has no field input that is its program, alone")
    if use.name in _SHAPES:
        found = shapes.fitted(use, _SHAPES, _of_use)
        return tuple(msgspec.structs.replace(action, follows_shell=False) for action in found)
    if use.name in _TOUCH_NOTHING:
        return ()
    return mcp_files.actions(use) if use.name.startswith("mcp__") else None


def _of_use(use: ToolUse) -> tuple[Action, ...]:
    if use.name == "view_image":
        return (Action(EventType.READ, path=use.input["path"]),)
    return _patch(use.input) if use.name == "apply_patch" else _shell(use.input)


def _shell(given: dict[str, Json]) -> tuple[Action, ...]:
    words = next((given[name] for name in ("cmd", "command") if command_of(given.get(name)) is not None), None)
    command = command_of(words)
    if command is None:
        return ()
    folder = given.get("workdir", given.get("working_directory"))
    folder = folder if isinstance(folder, str) and folder else None
    if isinstance(words, list) and len(words) == 2 and words[0] in ("apply_patch", "applypatch"):
        return patch_actions(words[1], folder)
    return actions_of(command, folder)


def _patch(given: dict[str, Json]) -> tuple[Action, ...]:
    """Freeform, as a field, or as the operation of OpenAI's own tool type."""
    text = next((given[name] for name in ("input", "patch") if isinstance(given.get(name), str)), None)
    return patch_actions(text) if text is not None else ()
