"""The contents of a Gemini request as messages: the same ones however a client cut and numbered what it sends again.

Clients keep the pieces of a streamed reply as they came, or join them; drop thoughts; leave call ids out, or give ids
of their own to the results alone; and repeat results when they resume. So the pieces of one turn of the model are one
message, texts that only thoughts separate are one text, and results meet their calls by id, else by name and order.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ocproxy.model import UNNAMED, Json, Message, Part, Problem, Reasoning, Text, ToolResult, ToolUse, digest
from ocproxy.protocols.gemini_parts import (
    SIGNATURE,
    Block,
    camel,
    keep,
    number_calls,
    open_part,
    read_call,
    read_media,
    read_result,
    read_text,
)
from ocproxy.protocols.problems import note

_ROLES: dict[Json, Literal["user", "assistant", "system"]] = {
    **dict.fromkeys((None, "", "user", "function", "tool"), "user"),
    "model": "assistant",
    "system": "system",
}


def read_parts(parts: Json, problems: list[Problem]) -> list[Part]:
    """The parts of one content, one for one; a text stands for its only part. Calls are not numbered yet."""
    if isinstance(parts, str | dict):
        parts = [parts]
    if not isinstance(parts, list):
        if parts is not None:
            note(problems, "wrong_type", f"parts is not a list but {type(parts).__name__}")
        return []
    return [part for block in parts for part in read_part(block, problems)]


def read_part(block: Json, problems: list[Problem]) -> list[Part]:
    """One part of a content: what it holds, and before it the signature of media."""
    found = open_part(block, problems)
    match found.kind:
        case "text":
            return [read_text(found)]
        case "functionCall" | "executableCode" | "toolCall":
            return [read_call(found, problems) or keep(found, found.kind)]
        case "functionResponse" | "codeExecutionResult" | "toolResponse":
            return [read_result(found)]
        case "inlineData" | "fileData":
            return read_media(found)
        case _:
            return [keep(found)]


def join(parts: list[Part]) -> tuple[Part, ...]:
    """The parts of one turn of the model: neighbouring texts as one, though thoughts stand between them, since those
    are not sent again; neighbouring thoughts as one; results of the provider's tools with their calls; calls numbered.
    """
    joined: list[Part] = []
    pieces: list[list[str]] = []  # the texts of each of them: joined once, since a stream has thousands
    for part in parts:
        at = _place(joined, part)
        if at is None:
            joined.append(part)
            pieces.append([part.text] if isinstance(part, Text | Reasoning) else [])
        else:
            joined[at] = _with_more(joined[at], part)
            pieces[at] += [part.text] if isinstance(part, Text | Reasoning) else []
    joined = [
        msgspec.structs.replace(part, text="".join(texts)) if len(texts) > 1 else part
        for part, texts in zip(joined, pieces, strict=True)
    ]
    joined = number_calls([part for part in joined if part != Text("")])
    for at, part in enumerate(joined):
        if isinstance(part, ToolResult) and part.executor == "provider":
            calls = [use for use in joined[:at] if isinstance(use, ToolUse) and use.executor == "provider"]
            own = [use for use in calls if part.alias is not None and use.alias == part.alias]
            meant = own or [use for use in calls if use.name == part.name]
            joined[at] = msgspec.structs.replace(part, tool_use_id=meant[-1].id if meant else _unknown(part))
    return tuple(joined)


def _place(joined: list[Part], part: Part) -> int | None:
    """Which of the parts so far goes on in `part`."""
    if isinstance(part, Reasoning):
        return len(joined) - 1 if joined and isinstance(joined[-1], Reasoning) else None
    if isinstance(part, Text):
        at = len(joined) - 1
        while at >= 0 and isinstance(joined[at], Reasoning):
            at -= 1
        return at if at >= 0 and isinstance(joined[at], Text) else None
    return None


def _with_more(old: Part, new: Part) -> Part:
    """The first part with what the second says besides its text."""
    assert isinstance(old, Text | Reasoning) and isinstance(new, Text | Reasoning)
    extra = {**old.extra, **new.extra}
    if isinstance(old, Reasoning) and isinstance(new, Reasoning):
        return Reasoning(old.text, new.signature or old.signature, None, extra)
    before, after = old.extra.get(SIGNATURE), new.extra.get(SIGNATURE)
    if before is not None and after is not None and after != before:
        extra[SIGNATURE] = [*(before if isinstance(before, list) else [before]), after]
    return Text(old.text, extra)


def read_contents(contents: Json, problems: list[Problem]) -> tuple[Message, ...]:
    """The messages of `contents`: a list of contents, one content, or a text."""
    if isinstance(contents, str):
        contents = [{"parts": [contents]}]
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list):
        note(problems, "wrong_type", "contents is not a list")
        return ()
    reader = _History(problems)
    for content in contents:
        if isinstance(content, str):
            content = {"parts": [content]}
        if isinstance(content, dict):
            reader.take(camel(content))
        else:
            note(problems, "wrong_type", "a content is not an object; it is left out")
    return reader.close()


class _History:
    """Reads contents in their order."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._messages: list[Message] = []
        self._turn: list[Part] = []  # of the model, not yet ended
        self._turn_extra: Block = {}
        self._calls: list[ToolUse] = []  # of the model's last turn that has any
        self._answers: dict[str, ToolResult] = {}  # to these

    def take(self, content: Block) -> None:
        name = content.get("role")
        role = _ROLES.get(name) if isinstance(name, str | None) else None
        if role is None:
            note(
                self._problems,
                "unknown_role",
                f"a content has the role {str(name)[:100]!r}; it is taken for the user's",
            )
        parts = read_parts(content.get("parts"), self._problems)
        extra = {key: value for key, value in content.items() if key not in ("role", "parts")}
        if role == "assistant":
            self._turn += parts
            self._turn_extra |= extra
            return
        self._end_turn()
        answered = [self._match(part) if isinstance(part, ToolResult) else part for part in parts]
        kept = number_calls([part for part in answered if part is not None])
        if kept or not parts:  # nothing but results over again is nothing new
            self._messages.append(Message(role or "user", tuple(kept), extra))

    def close(self) -> tuple[Message, ...]:
        self._end_turn()
        return tuple(self._messages)

    def _end_turn(self) -> None:
        if not self._turn and not self._turn_extra:
            return
        parts = join(self._turn)
        if parts:  # an empty turn is what some clients keep of a reply that said nothing
            self._messages.append(Message("assistant", parts, self._turn_extra))
        self._turn, self._turn_extra = [], {}
        if calls := [part for part in parts if isinstance(part, ToolUse) and part.executor == "agent"]:
            self._calls, self._answers = calls, {}

    def _match(self, result: ToolResult) -> ToolResult | None:
        """The result with its call, or None where the call has it already."""
        use = self._call_of(result)
        if use is None:
            note(self._problems, "unmatched_result", f"a result of {result.name} has no call before it")
            return msgspec.structs.replace(result, tool_use_id=_unknown(result))
        if (first := self._answers.get(use.id)) is not None:
            if first.content != result.content:
                note(self._problems, "second_result", f"a call of {use.name} has a second result; the first one counts")
            return None
        self._answers[use.id] = result
        return msgspec.structs.replace(result, tool_use_id=use.id, alias=use.alias or result.alias)

    def _call_of(self, result: ToolResult) -> ToolUse | None:
        """By id where both have one. Some clients number the results alone, with ids of their own: those say which
        results are one and the same."""
        if result.alias is not None:
            for use in self._calls:
                if use.alias == result.alias:
                    return use
            for id, answer in self._answers.items():
                if answer.alias == result.alias:
                    return next(use for use in self._calls if use.id == id)
        named = [use for use in self._calls if use.name == result.name]
        waiting = [use for use in named if use.id not in self._answers]
        if waiting or not named:
            return waiting[0] if waiting else None
        same = [use for use in named if self._answers[use.id].content == result.content]
        return (same or named)[0]


def _unknown(result: ToolResult) -> str:
    return UNNAMED + digest("result", result.name or "", result.alias or "")
