"""Heads of requests and responses: judged by llhttp, read once, rebuilt with as few changes as a relay must make.

What changes between the sides: the target's prefix, the value of Host, hop-by-hop fields (RFC 9110 section 7.6.1) and
our own x-ocproxy-* fields. All other lines go on as the bytes they came as, in their order.
llhttp without leniencies refuses CL with TE, repeated or odd Content-Length, bare LF or CR, folded lines, white space
before a colon and control characters; refused here beyond that: HTTP/0.9, 2.0 and RTSP, repeated spaces in the request
line, a missing or repeated Host (RFC 9112 section 3.2), Transfer-Encoding in HTTP/1.0 (section 6.1) and a Connection
field that names framing fields.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from ocproxy.relay.fields import (
    CONNECTION,
    CREDENTIAL,
    ENCODING,
    HINT,
    HOP,
    HOST,
    LENGTH,
    TAG,
    TAG_PREFIX,
    UPGRADE,
    Note,
    read_lines,
)
from ocproxy.relay.framing import NO_BODY, Body, ChunkedBody, CountedBody, FramingError, Judge
from ocproxy.relay.redaction import Redactor, is_credential
from ocproxy.relay.repeats import Repeat, Repeats, cut, halves, is_length


class BadHead(Exception):
    """A head that must not be forwarded. `status` is what the client gets; `str()` is a sentence for the user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# Tokens of Connection that are no field names to remove.
_NOT_NAMES = frozenset({b"close", b"keep-alive", b"upgrade", b""})
_NOTHING: Final[frozenset[bytes]] = frozenset()
_NEVER_NAMED = {b"host", b"content-length", b"transfer-encoding"}
_REQUEST_LINE = re.compile(rb"([A-Z-]+) ([^ \r\n]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\0\r\n]*)?")

_repeats: Final = Repeats()


@lru_cache(maxsize=1024)  # agents ask for the same few targets again and again
def _request_line(line: bytes) -> tuple[bytes, bytes, int] | None:
    """Method, target and minor version."""
    found = _REQUEST_LINE.fullmatch(line)
    return (found[1], found[2], int(found[3])) if found else None


@lru_cache(maxsize=256)
def _status_line(line: bytes) -> tuple[int, int] | None:
    """Minor version and status."""
    found = _STATUS_LINE.fullmatch(line)
    return (int(found[1]), int(found[2])) if found else None


@lru_cache(maxsize=256)
def _tokens(value: bytes) -> frozenset[bytes]:
    """What a Connection field says, in lower case."""
    return frozenset(token.strip(b" \t") for token in value.lower().split(b","))


@lru_cache(maxsize=256)
def _swap(line: bytes, host: bytes) -> tuple[bytes, bytes]:
    """A Host line with its line ends, and what takes its place."""
    return b"\r\n%b\r\n" % line, b"\r\n%b: %b\r\n" % (line.partition(b":")[0], host)


def _length(value: bytes) -> int:
    """A Content-Length, or -1: then llhttp has its word to say."""
    return int(value) if value.isdigit() and len(value) < 20 else -1


class Head:
    """What requests and responses share. `raw` is the head as it came, with its final empty line.

    Made before llhttp has judged, so nothing may be believed before it has.
    """

    __slots__ = ("chunked", "credentials", "cuts", "length", "lines", "raw", "tokens", "upgrade_line", "version")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.lines = raw.split(b"\r\n")  # the last two are empty
        self.length: int | None = None
        self.chunked = False
        self.cuts: list[bytes] = []  # lines that are not forwarded
        self.credentials: list[bytes] = []  # lines that are not journalled as they are
        self.tokens: frozenset[bytes] = _NOTHING  # of Connection, in lower case
        self.upgrade_line: bytes | None = None

    def _connection(self, line: bytes, value: bytes) -> None:
        self.cuts.append(line)
        self.tokens = self.tokens | _tokens(value) if self.tokens else _tokens(value)

    def _cut_named(self) -> None:
        named = self.tokens - _NOT_NAMES
        if forbidden := named & _NEVER_NAMED:
            raise BadHead(400, f"the Connection header names {min(forbidden).decode()}, which no hop may remove")
        if named:
            for line in self.lines[1:-2]:
                if line.partition(b":")[0].lower() in named and line not in self.cuts:
                    self.cuts.append(line)

    def release(self) -> None:
        """Forget the bytes: a stream may last for long."""
        self.raw = b""
        self.lines = self.cuts = self.credentials = []

    def redacted(self, redactor: Redactor) -> bytes:
        """The head for the journal: credentials in fields and in the request's query are replaced."""
        first = self.lines[0]
        if not self.credentials and first.find(b"?") < 0 and first.find(b"@") < 0:  # `in` tries a number first
            return self.raw
        lines = self.lines.copy()
        lines[0] = redactor.target(first)
        for line in self.credentials:
            lines[lines.index(line)] = redactor.line(line)
        return b"\r\n".join(lines)


class RequestHead(Head):
    """A request. `upgrade` says whether its Upgrade is passed on, which is known once it was judged."""

    __slots__ = ("close", "digits", "hints", "host", "host_line", "method", "repeat", "tags", "target", "upgrade")

    def __init__(self, raw: bytes, repeat: Repeat | None = None, digits: bytes = b"") -> None:
        """`repeat`: what is known of such a head but for the `digits` of its Content-Length."""
        self.repeat = repeat
        self.digits = digits
        if repeat is not None:
            self._take_over(raw, repeat)
            return
        super().__init__(raw)
        lines = self.lines
        first = _request_line(lines[0])
        if first is None:
            self.method = b""  # llhttp says what is wrong; if it finds nothing, `read_request` does
            return
        self.method, self.target, self.version = first
        self.host: bytes | None = None
        self.host_line = b""
        self.tags: dict[str, str] = {}
        self.hints = ""
        self.upgrade = False
        for note in read_lines(lines):
            self._take(note)
        self.close = self.version == 0
        if self.tokens:
            self.close = self.close or b"close" in self.tokens
            self._cut_named()

    def _take(self, note: Note) -> None:
        field, line = note.field, note.line
        if field == CREDENTIAL:
            self.credentials.append(line)
        elif field == LENGTH:
            self.length = _length(note.value)
        elif field == HOST:
            if self.host is not None:
                raise BadHead(400, "the request has more than one Host header")
            self.host, self.host_line = note.value, line
        elif field == HINT:
            self.hints += " " + note.name.decode("ascii")
            if is_credential(note.name):
                self.credentials.append(line)
        elif field == CONNECTION:
            self._connection(line, note.value)
        elif field == TAG:
            self.tags[note.name[len(TAG_PREFIX) :].decode("latin-1")] = note.value.decode("utf-8", "replace")
            self.cuts.append(line)
        elif field == HOP:
            self.cuts.append(line)
        elif field == UPGRADE:
            self.upgrade_line = line
        elif self.version == 0:
            raise BadHead(400, "Transfer-Encoding does not exist in HTTP/1.0")
        else:
            self.chunked = True  # llhttp lets one pass in requests only when chunked is its last word

    def decide_upgrade(self, asked: bool) -> None:
        """`asked`: llhttp saw an upgrade. h2c is never passed on (a server may ignore it, RFC 9110 section 7.8), nor
        an upgrade with a body."""
        line = self.upgrade_line
        if line is None:
            return
        protocol = line.partition(b":")[2].strip(b" \t").lower()
        self.upgrade = asked and not protocol.startswith(b"h2c") and not self.length and not self.chunked
        if not self.upgrade:
            self.cuts.append(line)

    @classmethod
    def read(cls, raw: bytes) -> RequestHead:
        """The same as making one, and faster when its like was read before."""
        found = cut(raw)
        if found is None:
            return cls(raw)
        key, digits = found
        repeat = _repeats.get(key)
        if repeat is not None:
            return cls(raw, repeat, digits)
        head = cls(raw)
        if head.method and not head.chunked and head.upgrade_line is None and is_length(raw):
            head.repeat = _repeats.keep(key, Repeat(head._fields()))
            head.digits = digits
        return head

    def _take_over(self, raw: bytes, repeat: Repeat) -> None:
        self.raw, self.lines, self.length = raw, [], int(self.digits)
        self.chunked = self.upgrade = False
        self.upgrade_line = None
        (
            self.method, self.target, self.version, self.host, self.host_line, self.hints, self.tags, self.close,
            self.tokens, self.cuts, self.credentials,
        ) = repeat.fields  # fmt: skip

    def _fields(self) -> tuple[Any, ...]:
        return (
            self.method, self.target, self.version, self.host, self.host_line, self.hints, self.tags, self.close,
            self.tokens, self.cuts, self.credentials,
        )  # fmt: skip

    def redacted(self, redactor: Redactor) -> bytes:
        repeat = self.repeat
        if repeat is None:
            return super().redacted(redactor)
        if repeat.redactor is not redactor:
            self.lines = self.raw.split(b"\r\n")
            repeat.redactor, repeat.redacted = redactor, halves(super().redacted(redactor))
        front, back = repeat.redacted
        return front + self.digits + back

    def forwarded(self, target: bytes, host: bytes | None) -> bytes:
        """The head to send on. `host` None keeps the client's Host."""
        repeat = self.repeat
        if repeat is None:
            return self._changed(target, host)
        if repeat.asked != (target, host):
            self.lines = self.raw.split(b"\r\n")
            repeat.asked, repeat.forwarded = (target, host), halves(self._changed(target, host))
        front, back = repeat.forwarded
        return front + self.digits + back

    def _changed(self, target: bytes, host: bytes | None) -> bytes:
        if host is not None and self.host_line and target is self.target and not self.cuts:
            old, new = _swap(self.host_line, host)
            return self.raw.replace(old, new, 1)
        lines = self.lines.copy()
        if target is not self.target:
            lines[0] = b"%b %b HTTP/1.%d" % (self.method, target, self.version)
        if host is not None:
            if self.host_line:
                lines[lines.index(self.host_line)] = self.host_line.partition(b":")[0] + b": " + host
            else:
                lines.insert(1, b"Host: " + host)
        for line in self.cuts:
            lines.remove(line)
        if self.upgrade:
            lines.insert(len(lines) - 2, b"Connection: Upgrade")
        return b"\r\n".join(lines)


class ResponseHead(Head):
    """A response. Raises FramingError when its status line is none."""

    __slots__ = ("keep_alive", "status", "tunnel")

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        first = _status_line(self.lines[0])
        if first is None:
            raise FramingError("the status line is not HTTP/1.x NNN REASON")
        self.version, self.status = first
        self.tunnel = self.status == 101
        for note in read_lines(self.lines):
            field, line = note.field, note.line
            if field == LENGTH:
                self.length = _length(note.value)
            elif field == CREDENTIAL or field == HINT:  # a hint may be a key: the redactor knows which
                self.credentials.append(line)
            elif field == ENCODING:  # in responses llhttp lets anything pass
                self.chunked = note.value.lower().rpartition(b",")[2].strip(b" \t") == b"chunked"
            elif field == CONNECTION:
                self._connection(line, note.value)
            elif field == HOP or (field == UPGRADE and self.status != 426):
                self.cuts.append(line)  # 426 must say what it wants, RFC 9110 section 15.5.22
        self.keep_alive = self.version == 1
        if self.tokens:
            self.keep_alive = b"close" not in self.tokens if self.version else b"keep-alive" in self.tokens
            try:
                self._cut_named()
            except BadHead as error:
                raise FramingError(str(error)) from None

    def forwarded(self, *, close: bool) -> bytes:
        """The head to send on, the very object that came when nothing changes. `close` tells the client so."""
        if self.tunnel or (not self.cuts and not close):
            return self.raw
        if len(self.cuts) == 1 and not close:
            return self.raw.replace(b"\r\n%b\r\n" % self.cuts[0], b"\r\n", 1)
        lines = self.lines.copy()
        for line in self.cuts:
            lines.remove(line)
        if close:
            lines.insert(len(lines) - 2, b"Connection: close")
        return b"\r\n".join(lines)

    def bodyless(self, method: bytes) -> bool:
        """Whether no body follows whatever the fields say (RFC 9112 section 6.3)."""
        return method == b"HEAD" or self.status in (204, 304) or self.status < 200


def read_request(data: bytes, end: int, judge: Judge) -> tuple[RequestHead, Body | None]:
    """Judge and read the request whose head is `data[:end]`. The body is `NO_BODY` when none follows, None when it is
    exactly the rest of `data`. Raises BadHead with the status to answer."""
    raw = data[:end] if end < len(data) else data
    head = RequestHead.read(raw)
    whole = head.method and head.length and end + head.length == len(data) and head.upgrade_line is None
    try:
        judge.feed_head(data if whole and not head.chunked else raw)
    except FramingError as error:
        raise BadHead(400, f"this is not a valid HTTP/1.1 request: {error}") from None
    if not head.method:
        raise BadHead(400, "the request line is not METHOD SP TARGET SP HTTP/1.x; HTTP/2 is not spoken here")
    if head.method == b"CONNECT":
        raise BadHead(405, "ocproxy is no forward proxy: set the agent's base URL instead of HTTPS_PROXY")
    if head.host is None and head.version == 1:
        raise BadHead(400, "the request has no Host header")
    if whole and judge.complete:
        return head, None
    head.decide_upgrade(judge.upgrade)
    if judge.upgrade and not head.upgrade:  # llhttp skips the body of an upgrade: ask it again without
        judge = Judge()
        try:
            judge.feed_head(head.forwarded(head.target, None))
        except FramingError as error:
            raise BadHead(400, f"this is not a valid HTTP/1.1 request: {error}") from None
    if judge.complete == bool(head.chunked or head.length):
        raise BadHead(400, "the length of the request's body is in doubt")
    if head.chunked:
        return head, ChunkedBody(judge)
    return head, CountedBody(judge, head.length) if head.length else NO_BODY


def read_response(data: bytes, end: int, judge: Judge, method: bytes) -> tuple[ResponseHead, Body | None]:
    """The same for a response to a `method` request. Raises FramingError."""
    raw = data[:end] if end < len(data) else data
    head = ResponseHead(raw)
    bodyless = head.bodyless(method)
    length = head.length
    if length and not head.chunked and not bodyless and end + length == len(data):
        judge.feed_head(data)
        if judge.complete:
            return head, None
        raise FramingError("the body's length is in doubt")
    judge.feed_head(raw)
    if bodyless:
        return head, NO_BODY
    if head.chunked:
        return head, ChunkedBody(judge)
    if length is None:
        return head, Body()
    return head, CountedBody(judge, length) if length else NO_BODY
