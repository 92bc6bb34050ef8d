"""Takes out of recorded exchanges what tells who and where, and most of what only fills, and nothing else.

Kept as it came: the order, case and spelling of headers, the order of fields and the spelling of JSON, the framing of
events, the places where chunks were cut, the length of pieces of a text. Replaced: ids of sessions, devices and
accounts, hosts and ports, folders, dates and times, counts of tokens. Shortened: long texts (prompts) and what tools
say of themselves. The same run on another day and machine gives the same bytes, as far as the agent itself does (Codex
shuffles its metadata), so that a newer version of an agent can be compared.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.support.coding import CannotClean, chunked, cut_at, dechunked, with_length
from tests.support.deltas import rewrite

Json = Any

LONGEST = 300  # characters of a text that is left alone
_LONGEST_ABOUT_TOOLS = 30  # of a tool's description, and of a grammar
_HOST = "127.0.0.1:4141"
_KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3

# How agents write the day, and what stands there instead.
_DAYS = (
    ("%Y-%m-%d", "2026-01-01"),
    ("{0.month}/{0.day}/%Y", "1/1/2026"),
    ("%A, %B {0.day}, %Y", "Thursday, January 1, 2026"),
    ("%B {0.day}, %Y", "January 1, 2026"),
    ("%a %b %d %Y", "Thu Jan 01 2026"),
)
_SECONDS_A_DAY = 86_400
_SECONDS = re.compile(r"\b(1\d{9})(\d{3})?\b")
_NOW = 1_767_225_600  # 2026-01-01, in seconds
# What agents write beside a result that is another at every run.
_NOISE: tuple[tuple[str, str], ...] = (
    (r"\b(?:127\.0\.0\.1|localhost|\[::1\]):\d{2,5}\b", _HOST),
    (r"\bredacted:[0-9a-f]{12}\b", "redacted:000000000000"),
    (r"\b(Wall time:?) [\d.]+ ", r"\g<1> 0.1 "),
    (r'(\bwall_time_seconds\\*": ?)[\d.e-]+', r"\g<1>0.1"),
    (r"\bChunk ID: [0-9a-f]+", "Chunk ID: 000000"),
    (r'(\bchunk_id\\*": ?\\*")[0-9a-f]+', r"\g<1>000000"),
    (r"\bgit hash [0-9a-f]{7,}", "git hash 0000000"),
    (r"<total_tokens>\d+", "<total_tokens>100000"),
    (r"\b(Process Group PGID|PIDs?): \d+", r"\g<1>: 1000"),
)
_REPLACED = [(re.compile(pattern), by) for pattern, by in _NOISE]
# Ids of sessions, devices, requests: a UUID; digits of a digest; opencode's, whose first twelve digits are the time.
_ID = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"(?P<uuid>[0-9a-f]{8}-[0-9a-f]{4}-(?P<version>[0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"|(?P<kind>(?:ses|msg|prt|call|tool)_)(?P<dated>[0-9a-f]{12}[0-9A-Za-z]{14})"
    r"|(?P<digest>[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32}))(?![0-9A-Za-z])"
)
# Counts of tokens, which follow from the length of what was cleaned. Small ones say more than how much there was.
_COUNTS = {
    **dict.fromkeys(("input_tokens", "prompt_tokens", "promptTokenCount"), 100),
    **dict.fromkeys(("output_tokens", "completion_tokens", "candidatesTokenCount"), 20),
    **dict.fromkeys(("total_tokens", "totalTokenCount"), 120),
    **dict.fromkeys(("cached_tokens", "cache_read_input_tokens", "cachedContentTokenCount"), 60),
    **dict.fromkeys(("cache_creation_input_tokens", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"), 30),
    **dict.fromkeys(("reasoning_tokens", "thoughtsTokenCount"), 5),
}
_ABOUT_TOOLS = ("tools", "functionDeclarations")
_OF_SCHEMA = ("type", "properties", "required")
# Of a long text: lines that name folders, and tags that stand alone, by which plug-ins find their way.
_TELLING = re.compile(r"/home/user|^\s*</?[\w-]+>\s*$")
_CUT = "[…]"
_CUT_AT = 80  # characters of a long line that are left at its beginning, and at its end
_FIRST_LINES = 3
# In the path of a value: it is in a system prompt, in an answer.
_SYSTEM, _REPLY = "a system prompt", "an answer"
_DATA = re.compile(r"^(data: ?)(\{.*\})", re.M)


class Cleaner:
    """Cleans the exchanges of one run, in their order. `names` say what stands for folders and names of the machine,
    `day` is when it was.

    `marks` are words by which the agent's plug-in knows a text: lines of a long one that hold one of them stay. What
    holds one of `whole` stays whole, but for system prompts.
    """

    def __init__(
        self, names: dict[str, str], day: date, marks: tuple[str, ...] = (), whole: tuple[str, ...] = ()
    ) -> None:
        slugs = {re.sub(r"[^0-9A-Za-z]", "-", real): re.sub("[^0-9A-Za-z]", "-", by) for real, by in names.items()}
        self._names = sorted({**slugs, **names}.items(), key=lambda pair: -len(pair[0]))
        self._times = list(_times(day))
        self._day = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        self._marks, self._whole = marks, whole
        self._ids: dict[str, str] = {}

    def text(self, text: str) -> str:
        """A text of any length, with everything replaced and nothing shortened."""
        for real, by in self._names:
            text = text.replace(real, by)
        for pattern, by in (*_REPLACED, *self._times):
            text = pattern.sub(by, text)
        return _ID.sub(self._id, _SECONDS.sub(self._second, text))

    def _second(self, found: re.Match[str]) -> str:
        """A Unix time of that day, in seconds or milliseconds."""
        is_near = abs(int(found[1]) - self._day) < 2 * _SECONDS_A_DAY
        return f"{_NOW}{'000' if found[2] else ''}" if is_near else found[0]

    def _id(self, found: re.Match[str]) -> str:
        if found[0] in self._ids.values():
            return found[0]
        if found[0] not in self._ids:
            number = len(self._ids) + 1
            if found["uuid"]:
                self._ids[found[0]] = f"00000000-0000-{found['version']}000-8000-{number:012x}"
            elif found["dated"]:
                self._ids[found[0]] = f"{found['kind']}{number:012x}{'0' * 14}"
            else:
                self._ids[found[0]] = f"{number:0{len(found['digest'])}x}"
        return self._ids[found[0]]

    def head(self, head: bytes, body: bytes) -> bytes:
        """A head, with the length of the cleaned `body`."""
        text = with_length(self.text(head.decode("latin-1")).encode("latin-1"), len(body)).decode("latin-1")
        text = re.sub(r"(?i)(\r\nsec-websocket-key: *)\S+", rf"\g<1>{_KEY.decode()}", text)
        accepts = base64.b64encode(hashlib.sha1(_KEY + _GUID).digest()).decode()
        return re.sub(r"(?i)(\r\nsec-websocket-accept: *)\S+", rf"\g<1>{accepts}", text).encode("latin-1")

    def body(self, data: bytes, content_type: str, *, sent: bool) -> bytes:
        """A body without its framing; `sent` by the agent. Raises CannotClean."""
        return b"".join(new for _, new in self._pieces(data, content_type, () if sent else (_REPLY,)))

    def chunks(self, data: bytes, content_type: str) -> bytes:
        """A chunked answer, cut where it was: at the end of an event, or so many bytes into it. Raises CannotClean."""
        cuts, body, rest = dechunked(data)
        pieces = list(self._pieces(body, content_type, (_REPLY,)))
        new = b"".join(piece for _, piece in pieces)
        return chunked(cut_at(new, [_moved(cut, pieces) for cut in cuts])) + rest

    def messages(self, texts: list[str], *, sent: bool) -> list[str | None]:
        """The messages of one end of a WebSocket, all JSON; None: it only carried a piece of a text that is shorter
        now. Raises CannotClean."""
        spellings = [_spelling(text) for text in texts]
        values = rewrite([json.loads(text) for text in texts], self.text)
        path = () if sent else (_REPLY,)
        return [
            spell(self._value(value, path)) if value is not None else None
            for spell, value in zip(spellings, values, strict=True)
        ]

    def _pieces(self, data: bytes, content_type: str, path: tuple[str, ...]) -> Iterator[tuple[bytes, bytes]]:
        """What can be cleaned alone, before and after."""
        if not content_type.startswith("text/event-stream"):
            is_json = data.lstrip()[:1] in (b"{", b"[")
            text = _decoded(data)
            yield data, (self._json(text, path) if is_json else self.text(text)).encode()
            return
        events = [_decoded(event) for event in re.findall(rb".*?(?:\r\n\r\n|\n\n|\Z)", data, re.S)]
        cleaned = iter(self.messages([found[2] for event in events if (found := _DATA.search(event))], sent=False))
        for event in events:
            found = _DATA.search(event)
            said = next(cleaned) if found else None
            if found and said is None:
                yield event.encode(), b""
            elif found and said:
                before, after = event[: found.start()], event[found.end() :]
                yield event.encode(), (self.text(before) + found[1] + said + self.text(after)).encode()
            else:
                yield event.encode(), self.text(event).encode()

    def _json(self, text: str, path: tuple[str, ...]) -> str:
        spell = _spelling(text)
        return spell(self._value(json.loads(text), path))

    def _value(self, value: Json, path: tuple[str, ...]) -> Json:
        if isinstance(value, dict):
            if any(name in _ABOUT_TOOLS for name in path) and path[-1] not in _ABOUT_TOOLS and _is_schema(value):
                return _bare(value)
            path = (*path, _SYSTEM) if value.get("role") in ("system", "developer") else path
            return {self.text(name): self._value(inner, (*path, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._value(inner, path) for inner in value]
        name = path[-1] if path else ""
        if isinstance(value, str):
            return self._string(value, path)
        if isinstance(value, int) and not isinstance(value, bool):
            return _COUNTS[name] if name in _COUNTS and value > 1 else int(self.text(str(value)))
        return float(_NOW) if isinstance(value, float) and abs(value - self._day) < 2 * _SECONDS_A_DAY else value

    def _string(self, text: str, path: tuple[str, ...]) -> str:
        if text[:1] == "{" and text[-1:] == "}":
            try:
                return self._json(text, path)
            except ValueError:  # not JSON after all
                pass
        text = self.text(text)
        if _REPLY in path:
            return text
        if any(name in _ABOUT_TOOLS for name in path):
            return text if len(text) <= _LONGEST_ABOUT_TOOLS else f"{text[:_LONGEST_ABOUT_TOOLS]}{_CUT}"
        if len(text) <= LONGEST or (_SYSTEM not in path and any(sign in text for sign in self._whole)):
            return text
        return self._shortened(text)

    def _shortened(self, text: str) -> str:
        """How it begins and ends, and the lines in between that tell something."""
        lines = text.split("\n")
        kept: list[str] = []
        for place, line in enumerate(lines):
            short = line if len(line) <= LONGEST else f"{line[:_CUT_AT]}{_CUT}{line[-_CUT_AT:]}"
            is_new = short not in kept
            if place < _FIRST_LINES or place == len(lines) - 1 or (is_new and self._tells(short)):
                kept.append(short)
            elif kept[-1] != _CUT:
                kept.append(_CUT)
        return "\n".join(kept)

    def _tells(self, line: str) -> bool:
        return _TELLING.search(line) is not None or any(mark in line for mark in self._marks)


def _times(day: date) -> Iterator[tuple[re.Pattern[str], str]]:
    """How a time of that day is written, and of the days beside it: there are time zones."""
    for near in (day - timedelta(1), day, day + timedelta(1)):
        yield re.compile(rf"\b{near}([T ])\d\d:\d\d:\d\d(?:\.\d+)?"), r"2026-01-01\g<1>00:00:00"
        for form, by in _DAYS:
            yield re.compile(re.escape(near.strftime(form.format(near)))), by


def _is_schema(value: Json) -> bool:
    """Whether that is the JSON schema of what a tool takes."""
    return isinstance(value.get("properties"), dict) and str(value.get("type", "")).lower() == "object"


def _bare(schema: Json) -> Json:
    """A schema with the names and types of the fields alone."""
    fields = {name: _type(field) for name, field in schema["properties"].items()}
    return {name: fields if name == "properties" else inner for name, inner in schema.items() if name in _OF_SCHEMA}


def _type(field: Json) -> Json:
    return {"type": field["type"]} if isinstance(field, dict) and "type" in field else {}


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CannotClean(f"the body is no text: {error}") from None


def _spelling(text: str) -> Callable[[Json], str]:
    """How `text` spells what it says. Raises CannotClean."""
    value = json.loads(text)
    for separators in ((",", ":"), (", ", ": ")):
        for ascii_only in (False, True):

            def spell(value: Json, separators: Any = separators, ascii_only: bool = ascii_only) -> str:
                return json.dumps(value, separators=separators, ensure_ascii=ascii_only)

            if spell(value) == text:
                return spell
    raise CannotClean(f"JSON in a spelling that is not known: {text[:200]}")


def _moved(cut: int, pieces: list[tuple[bytes, bytes]]) -> int:
    """The place of a cut after the cleaning."""
    new = 0
    for before, after in pieces:
        if cut < len(before):
            return new + min(cut, len(after))
        cut, new = cut - len(before), new + len(after)
    return new
