"""The history as opencode tells it when it asks for a summary: as one text (seen: 1.18.33).

    <conversation>
    [Assistant]: Writing.
    [Assistant tool call]: write({"filePath":"a.txt","content":"a\\n"})
    [Tool result]: Wrote file successfully.
    [Assistant tool call]: bash({"command":"false"})
    [Tool error]: …

    </conversation>

Calls that were under way when the window was full have their results here and nowhere else. A result of more than 2000
characters is cut, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ocproxy.model import Json, Message, Text, ToolResult, ToolUse

_CALL = "[Assistant tool call]: "
_RESULTS = {"[Tool result]: ": False, "[Tool error]: ": True}
_BEGIN, _END = "<conversation>\n", "\n\n</conversation>"


def results(messages: Sequence[Message], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
    """The results of `uses` at the end of the text. Read from its end, since files that were read may hold anything."""
    texts = [part.text for message in messages for part in message.parts if isinstance(part, Text)]
    text = next((text for text in texts if _BEGIN in text and _END in text), "")
    text = text[text.find(_BEGIN) + len(_BEGIN) - 1 : text.rfind(_END)]
    found: list[ToolResult] = []
    for use in reversed(uses):
        at = _call_at(text, use)
        if at is None:
            return ()
        if (result := _result(text, at, use)) is not None:
            found.append(result)
        text = text[: at[0]]
    return tuple(reversed(found))


def _call_at(text: str, use: ToolUse) -> tuple[int, int] | None:
    """Where the last telling of this call begins and ends, a line: the same tool with the same input."""
    head = f"\n{_CALL}{use.name}("
    begin = text.rfind(head)
    while begin >= 0:
        line = text[begin + 1 :].partition("\n")[0]
        if line.endswith(")") and _decoded(line[len(head) - 1 : -1]) == use.input:
            return begin, begin + 1 + len(line) + 1
        begin = text.rfind(head, 0, begin)
    return None


def _result(text: str, at: tuple[int, int], use: ToolUse) -> ToolResult | None:
    for head, is_error in _RESULTS.items():
        if text.startswith(head, at[1]):
            return ToolResult(use.alias or use.id, text[at[1] + len(head) :], is_error=is_error or None)
    return None


def _decoded(text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
