"""pi: what its calls are for, its tools and their results. Recorded from 0.87.1 and 0.73.1.

Only over Responses it says its session; else calls are linked by their histories and call ids. Over Chat Completions
results have no error flag: a command that failed says so in its last line, and a read or edit that failed says nothing
else.
"""

from __future__ import annotations

import re
import unicodedata

from ocproxy.agents import pi_program, shapes, transcripts
from ocproxy.agents.base import Action, Answer, CallFacts, Flattened, Replacement
from ocproxy.agents.fields import number_of
from ocproxy.agents.generic import Generic, first_line
from ocproxy.agents.offered import system_text
from ocproxy.agents.shapes import Shape
from ocproxy.model import CallKind, EventType, Identity, ModelRequest, Status, Text, ToolResult, ToolUse

_USER_AGENT = re.compile(r"\Api(?:/(\d[\w.+-]*))? \(")
_PROMPT = "operating inside pi, a coding agent harness"
_SUMMARIZE = "You are a context summarization assistant"
_FLATTENED = re.compile(
    r"\A(?:<conversation>\n(?P<old>.*)\n</conversation>|# Conversation\n(?P<new>.*)\n\n# Instructions\n)", re.S
)
_BEFORE = re.compile(r"\A\n\n<previous-summary>\n(.*)\n</previous-summary>\n", re.S)
_CUT = r"\n\n\[\.\.\. \d+ more characters truncated\]\Z"
_WORKDIR = re.compile(r"<cwd>\s*(?P<new>[^\n<]+?)\s*</cwd>|^Current working directory: (?P<old>[^\n]+?)[ \t]*$", re.M)

_EXIT = re.compile(r"(?:\A|\n\n)Command exited with code (-?\d{1,10})\s*\Z")
_STOPPED = re.compile(r"(?:\A|\n\n)Command (?:timed out after [\d.]+ seconds|aborted)\s*\Z")
_READ_FAILED = re.compile(
    r"\A(?:ENOENT|EISDIR|EACCES|ENOTDIR|EPERM)[:,] [^\n]*\Z|\AOffset \d+ is beyond end of file[^\n]*\Z"
)
_PART = re.compile(
    r"\n\n\[(?:\d+ more lines in file|Showing lines \d+-\d+ of \d+[^\n]*)\. Use offset=\d+ to continue\.\]\Z"
)
_NO_LINES = re.compile(r"\A\[Line \d+ is [^\n]* exceeds [^\n]*\]\Z|\ARead image file \[")
_DONE = re.compile(r"\ASuccessfully (?:wrote |replaced )")

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
    }
)


_SHAPES = {
    "read": Shape(EventType.READ, {"path": "path"}, {"offset": "number", "limit": "number"}),
    "bash": Shape(EventType.BASH, {"command": "text"}),
    "edit": Shape(EventType.EDIT, {"path": "path"}),
    "write": Shape(EventType.WRITE, {"path": "path", "content": "text"}),
}


class Pi(Generic):
    """The minimal agent: read, bash, edit, write; no subagents."""

    name = "pi"

    def recognises(self, facts: CallFacts) -> bool:
        if _USER_AGENT.match(facts.headers.get("user-agent", "")):
            return True
        return facts.request is not None and _PROMPT in system_text(facts.request)[:500]

    def identity(self, facts: CallFacts) -> Identity:
        version = _USER_AGENT.match(facts.headers.get("user-agent", ""))
        identity = Identity(
            self.name,
            session=facts.headers.get("session_id") or None,
            workdir=_workdir(facts.request),
            version=version[1] if version else None,
        )
        return self.tagged(identity, facts.tags)

    def kind(self, facts: CallFacts) -> CallKind:
        kind = super().kind(facts)
        if kind is not CallKind.MAIN or facts.request is None or facts.request.tools:
            return kind
        return CallKind.SUMMARY if _SUMMARIZE in system_text(facts.request) else kind

    def flattened(self, facts: CallFacts) -> Flattened | None:
        """One user message: the conversation, the summary before it, and what is wanted."""
        if facts.request is None or self.kind(facts) is not CallKind.SUMMARY:
            return None
        asked = "\n".join(part.text for m in facts.request.messages for part in m.parts if isinstance(part, Text))
        if (told := _FLATTENED.match(asked)) is None:
            return None
        before = _BEFORE.match(asked[told.end() :])
        said = transcripts.texts(told["old"] or told["new"] or "", "User|Assistant|Tool result", _CUT)
        return Flattened(said, before[1] if before else None)

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        if use.name == pi_program.NAME:
            return pi_program.actions(use, self._of_tool)
        return self._of_tool(use)

    def _of_tool(self, use: ToolUse) -> tuple[Action, ...]:
        return shapes.fitted(use, _SHAPES, self._actions)

    def _actions(self, use: ToolUse) -> tuple[Action, ...]:
        return shapes.plain(use, _SHAPES) if use.name in _SHAPES else super().actions(use)

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        text, size = result.text, len(result.text.encode("utf-8", "replace"))
        if use.name == pi_program.NAME:
            return pi_program.answer(use, result, self._of_tool)
        if use.name == "bash":
            return _ran(text, size, result.is_error)
        if use.name == "read":
            if result.is_error or (result.is_error is None and _READ_FAILED.match(text)):
                missing = text.startswith("ENOENT")
                return Answer(Status.FAILED, output_bytes=size, note=first_line(text), missing=missing)
            return _read(use, text, size)
        if use.name in ("write", "edit"):
            if _DONE.match(text) and not result.is_error:
                return Answer(Status.APPLIED, output_bytes=size)
            missing = "ENOENT" in text or text.startswith("File not found")
            return Answer(Status.FAILED, output_bytes=size, note=first_line(text), missing=missing)
        return super().answer(use, result)

    def replace(self, text: str, replacement: Replacement) -> str | None:
        """Exactly, else with typographic signs and spaces at line ends taken for plain ones: then the lines that it
        touches are written in their plain form. The place must be the only one in the plain form. Line ends are
        compared as newlines and written as the first one of the file is."""
        if replacement.whole_lines or replacement.first or replacement.cell is not None:
            return super().replace(text, replacement)
        before, old, new = (part.replace("\r\n", "\n") for part in (text, replacement.old, replacement.new))
        plain, sought = _plain(before), _plain(old)
        if not old or plain.count(sought) != 1:
            return None
        after = before.replace(old, new, 1) if old in before else _touched(before, plain, sought, new)
        if after == before:
            return None
        head = text.find("\n")
        return after.replace("\n", "\r\n") if head > 0 and text[head - 1] == "\r" else after


def _touched(before: str, plain: str, sought: str, new: str) -> str:
    """`before` with the lines of the place taken from the plain form, and the new text in them."""
    start = plain.index(sought)
    end = start + len(sought)
    first, last = plain.count("\n", 0, start), plain.count("\n", 0, max(end - 1, start))
    lines, plain_lines = before.split("\n"), plain.split("\n")
    offset = len("\n".join(plain_lines[:first])) + (1 if first else 0)
    block = "\n".join(plain_lines[first : last + 1]) + "\n"
    put = block[: start - offset] + new + block[end - offset :]
    rest = "\n".join(lines[last + 1 :])
    is_last = last + 1 >= len(lines)
    head = "".join(line + "\n" for line in lines[:first])
    return head + (put.removesuffix("\n") if is_last else put + rest)


def _plain(text: str) -> str:
    lines = unicodedata.normalize("NFKC", text).split("\n")
    return "\n".join(line.rstrip() for line in lines).translate(_PLAIN)


def _workdir(request: ModelRequest | None) -> str | None:
    found = _WORKDIR.search(system_text(request)) if request else None
    return (found["new"] or found["old"]) if found else None


def _ran(text: str, size: int, is_error: bool | None) -> Answer:
    """Every code but 0 is told."""
    if is_error is not False and (code := _EXIT.search(text)):
        return Answer(Status.FAILED, exit_code=int(code[1]), output_bytes=size)
    if is_error or (is_error is None and _STOPPED.search(text)):
        return Answer(Status.FAILED, output_bytes=size, note=text.strip().rpartition("\n")[2][:300])
    return Answer(Status.APPLIED, exit_code=0, output_bytes=size)


def _read(use: ToolUse, text: str, size: int) -> Answer:
    if _NO_LINES.match(text):
        return Answer(Status.APPLIED, output_bytes=size)
    first = number_of(use.input, "offset") or 1
    part = _PART.search(text)
    lines = (text[: part.start()] if part else text).split("\n")
    is_ended = part is None and lines[-1] == ""
    if is_ended:
        lines.pop()
    whole = True if part is None and first == 1 else None
    final = is_ended if part is None else None
    return Answer(
        Status.APPLIED, output_bytes=size, lines=tuple(enumerate(lines, first)), whole=whole, final_newline=final
    )


AGENT = Pi()
