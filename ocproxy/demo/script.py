"""What a scripted model says, step by step, and at which step a conversation stands. Pure.

A provider keeps no state of a conversation: the step is found again from the ids of the tool calls in the history that
the agent sends, so retries, resumed sessions and agents in parallel cannot upset it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

# In a prompt: which of several scripts is to be played. The last one in the history counts.
_MARK = re.compile(r"\[\[script:([a-z0-9]+)\]\]")


class Call(msgspec.Struct, frozen=True):
    """One tool that the model asks for."""

    name: str
    input: dict[str, Any]


class Step(msgspec.Struct, frozen=True):
    """One answer of the model. Without calls it ends the turn."""

    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()


class Script(msgspec.Struct, frozen=True):
    """A whole turn. `name` is lower-case letters and digits; it is in the id of every call."""

    name: str
    steps: tuple[Step, ...]

    def call_id(self, step: int, place: int) -> str:
        return f"toolu_{self.name}_s{step}_t{place}"

    def next_step(self, messages: list[dict[str, Any]]) -> int:
        """The step after the last one whose calls are in the history."""
        known = re.compile(rf"toolu_{self.name}_s(\d+)_t\d+")
        done = [int(found[1]) for id_ in _call_ids(messages) if (found := known.fullmatch(id_))]
        return max(done, default=-1) + 1


# Whatever is asked after the end of a script.
END = Step(text="There is nothing more to do.")


def choose(scripts: dict[str, Script], messages: list[dict[str, Any]]) -> Script | None:
    """The script named by the last mark in a user's text; without any mark the only script there is."""
    for message in reversed(messages):
        if message.get("role") == "user" and (marks := _MARK.findall(text_of(message))):
            return scripts.get(marks[-1])
    return next(iter(scripts.values())) if len(scripts) == 1 else None


def text_of(message: dict[str, Any]) -> str:
    """All plain text of a message, newline-joined; tool results are not part of it."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or [] if block.get("type") == "text")


def _call_ids(messages: list[dict[str, Any]]) -> list[str]:
    blocks = [b for m in messages if isinstance(m.get("content"), list) for b in m["content"]]
    return [str(block.get("id") or block.get("tool_use_id") or "") for block in blocks]
