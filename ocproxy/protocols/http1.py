"""Reads HTTP/1.1 heads and framed bodies back from their record (RFC 9110, RFC 9112).

The relay has judged the framing when it forwarded these bytes; this is reading a record. Nothing here raises: what is
cut short or odd gives what came, `complete=False` and a Problem.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from ocproxy.model import Problem
from ocproxy.protocols.problems import note

Headers = tuple[tuple[str, str], ...]


class RequestHead(msgspec.Struct, frozen=True):
    """A request head. Text is latin-1, as on the wire; `headers` in wire order and case."""

    method: str
    target: str
    version: str  # "1.1"
    headers: Headers
    fields: dict[str, str]  # by lower-case name; several of one name are joined by ", " (RFC 9110 section 5.3)
    problems: tuple[Problem, ...] = ()


class ResponseHead(msgspec.Struct, frozen=True):
    """A response head. Text is latin-1, as on the wire; `headers` in wire order and case. `status` 0: not readable."""

    status: int
    reason: str
    version: str
    headers: Headers
    fields: dict[str, str]  # by lower-case name; several of one name are joined by ", "
    problems: tuple[Problem, ...] = ()


class Framing(msgspec.Struct, frozen=True):
    """How a body is delimited. `codings` are transfer codings other than chunked, in the order they were applied."""

    kind: Literal["none", "length", "chunked", "close"]
    length: int = 0
    codings: tuple[str, ...] = ()


class Deframed(msgspec.Struct, frozen=True):
    """A body without its framing. `complete` is False when its own framing says that more should have come; a body
    that ends with the connection is always complete as far as the framing tells."""

    data: bytes
    complete: bool
    trailers: Headers = ()
    problems: tuple[Problem, ...] = ()


def parse_request_head(data: bytes) -> RequestHead:
    """Read a request head, with or without its final empty line."""
    first, headers, problems = _read_head(data)
    words = first.split(" ")
    if len(words) < 3 or not words[-1].startswith("HTTP/"):
        note(problems, "bad_head", f"not a request line: {first[:100]!r}")
        words = [words[0], *words[1:], "HTTP/"]
    target, version = " ".join(words[1:-1]), words[-1].removeprefix("HTTP/")
    return RequestHead(words[0], target, version, headers, _fields(headers), tuple(problems))


def parse_response_head(data: bytes) -> ResponseHead:
    """Read a response head, with or without its final empty line."""
    first, headers, problems = _read_head(data)
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    good = version.startswith("HTTP/") and re.fullmatch("[0-9]{3}", status) is not None
    if not good:
        note(problems, "bad_head", f"not a status line: {first[:100]!r}")
    number = int(status) if good else 0
    return ResponseHead(number, reason, version.removeprefix("HTTP/"), headers, _fields(headers), tuple(problems))


def request_framing(head: RequestHead) -> Framing:
    """How the body of this request is delimited (RFC 9112 section 6.3): never by the end of the connection."""
    framing = _framing(head.fields)
    return framing if framing.kind != "close" else Framing("none")


def response_framing(head: ResponseHead, method: str) -> Framing:
    """How the body of this response to `method` is delimited (RFC 9112 section 6.3)."""
    if method == "HEAD" or head.status in (204, 304) or 100 <= head.status < 200:
        return Framing("none")
    if method == "CONNECT" and 200 <= head.status < 300:
        return Framing("none")
    return _framing(head.fields)


def deframe(data: bytes, framing: Framing) -> Deframed:
    """Take the framing off a body."""
    if framing.kind == "chunked":
        return _dechunk(data)
    problems: list[Problem] = []
    if framing.kind == "close":
        return Deframed(data, True)
    length = framing.length if framing.kind == "length" else 0
    if len(data) < length:
        note(problems, "truncated", f"{len(data)} bytes of a body of {length} came")
    elif len(data) > length:
        note(problems, "trailing_bytes", f"{len(data) - length} bytes came after the end of the body")
    return Deframed(data[:length], len(data) >= length, (), tuple(problems))


def _read_head(data: bytes) -> tuple[str, Headers, list[Problem]]:
    problems: list[Problem] = []
    lines = data.decode("latin-1").replace("\r\n", "\n").split("\n")
    if len(lines) < 3 or lines[-1] or lines[-2]:
        note(problems, "truncated", "the head has no empty line at its end")
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and headers:  # a folded line, obsolete but allowed in a record (section 5.2)
            name, value = headers.pop()
            headers.append((name, value + " " + line.strip(" \t")))
            continue
        name, colon, value = line.partition(":")
        if colon:
            headers.append((name, value.strip(" \t")))
        elif line:
            note(problems, "bad_head", f"not a header line: {line[:100]!r}")
    return lines[0], tuple(headers), problems


def _fields(headers: Headers) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        fields[key] = f"{fields[key]}, {value}" if key in fields else value
    return fields


def _framing(fields: dict[str, str]) -> Framing:
    if "transfer-encoding" in fields:
        codings = tuple(word.strip().lower() for word in fields["transfer-encoding"].split(",") if word.strip())
        if codings and codings[-1] == "chunked":
            return Framing("chunked", 0, codings[:-1])
        return Framing("close", 0, tuple(coding for coding in codings if coding != "chunked"))
    lengths = {word.strip() for word in fields.get("content-length", "").split(",")}
    if len(lengths) == 1 and re.fullmatch("[0-9]{1,18}", text := lengths.pop()):
        return Framing("length", int(text))
    return Framing("close")


# The size of a chunk in hexadecimal, then extensions (RFC 9112 section 7.1.1), which mean nothing to anybody.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")


def _dechunk(data: bytes) -> Deframed:
    pieces: list[bytes] = []
    problems: list[Problem] = []
    at = 0
    while line := _CHUNK_LINE.match(data, at):
        size, at = int(line[1], 16), line.end()
        if size == 0:
            return _read_trailers(data, at, b"".join(pieces))
        pieces.append(data[at : at + size])
        at += size
        if len(data) < at:
            break
        if data.startswith(b"\r\n", at):
            at += 2
        elif data.startswith(b"\n", at):
            at += 1
    rest = data[at:]
    if rest and b"\n" in rest:
        note(problems, "bad_chunk", f"not a chunk size: {rest[:40]!r}; {len(rest)} bytes are left out")
    note(problems, "truncated", "the chunked body ends without its last chunk")
    return Deframed(b"".join(pieces), False, (), tuple(problems))


def _read_trailers(data: bytes, at: int, body: bytes) -> Deframed:
    problems: list[Problem] = []
    trailers: list[tuple[str, str]] = []
    while (end := data.find(b"\n", at)) >= 0:
        line = data[at:end].removesuffix(b"\r").decode("latin-1")
        at = end + 1
        if not line:
            if at < len(data):
                note(problems, "trailing_bytes", f"{len(data) - at} bytes came after the end of the body")
            return Deframed(body, True, tuple(trailers), tuple(problems))
        name, _, value = line.partition(":")
        trailers.append((name, value.strip(" \t")))
    # The last chunk came, so the content is whole; only the trailer section is not.
    note(problems, "truncated", "the trailers of the chunked body are cut short")
    return Deframed(body, True, tuple(trailers), tuple(problems))
