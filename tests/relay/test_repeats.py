"""Heads that come again: what is known of one gives just what reading it anew would give."""

from __future__ import annotations

import pytest

from ocproxy.relay import repeats
from ocproxy.relay.framing import Judge
from ocproxy.relay.head import BadHead, RequestHead, read_request
from ocproxy.relay.redaction import Redactor

LINES = [
    b"Host: me:4141\r\nContent-Length: %d\r\nx-api-key: sk-1\r\nConnection: keep-alive\r\n",
    b"content-length: %d\r\nhost: me\r\nAuthorization: Bearer t\r\nanthropic-version: 1\r\nx-goog-api-key: k\r\n",
    b"Host: me\r\nX-Strength: 7\r\nContent-Length: %d\r\n",
    b"Host: me\r\nx-api-key: strength: 7\r\nContent-Length: %d\r\n",
    b"Host: me\r\nX-Ocproxy-Session: s\r\nConnection: close, x-o\r\nX-O: 1\r\nContent-Length: %d\r\nX-Length: 3\r\n",
    b"Host: me\r\nContent-Length:%d\r\n",
    b"Host: me\r\nCONTENT-LENGTH: %d\r\n",
    b"Host: me\r\nContent-Length: %d \r\n",
    b"Host: me\r\nContent-Length: 0%d\r\nKeep-Alive: 1\r\n",
]
FIELDS = [
    "chunked", "close", "credentials", "cuts", "hints", "host", "host_line", "length", "method", "tags", "target",
    "tokens", "upgrade", "upgrade_line", "version",
]  # fmt: skip


def head(lines: bytes, length: int, target: bytes = b"/v1/messages?key=abc") -> bytes:
    return b"POST " + target + b" HTTP/1.1\r\n" + lines % length + b"\r\n"


@pytest.mark.parametrize("lines", LINES)
@pytest.mark.parametrize("host", [b"upstream:1", None])
def test_a_repeated_head_is_what_it_would_be_read_anew(lines: bytes, host: bytes | None) -> None:
    for redactor in (Redactor(bytes(32)), Redactor(b"k" * 32)):
        for length in (5, 5, 123456, 7):
            for target in (b"/v1/messages?key=abc", b"/base/v1/messages"):
                raw = head(lines, length)
                repeated, anew = RequestHead.read(raw), RequestHead(raw)
                assert repeated.length == length
                for name in FIELDS:
                    assert getattr(repeated, name) == getattr(anew, name), name
                assert repeated.redacted(redactor) == anew.redacted(redactor)
                assert repeated.forwarded(target, host) == anew.forwarded(target, host)
                repeated.release()


def test_what_one_exchange_does_with_its_head_is_nothing_to_the_next() -> None:
    raw = head(LINES[4], 5)
    first = RequestHead.read(raw)
    first.close = True
    first.release()
    second = RequestHead.read(head(LINES[0], 5))
    second.close = True
    second.release()
    assert RequestHead.read(head(LINES[0], 6)).close is False
    again = RequestHead.read(raw)
    assert again.repeat is first.repeat and again.cuts and again.raw == raw


def test_llhttp_judges_a_repeated_head_too() -> None:
    good = head(b"Host: me\r\nContent-Length: %d\r\n", 2)
    judge = Judge()
    assert read_request(good + b"ok", len(good), judge)[1] is None
    assert read_request(good + b"ok", len(good), judge)[1] is None
    for bad in (b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"a b: c\r\n"):
        raw = head(b"Host: me\r\nContent-Length: %d\r\n" + bad, 2)
        for _ in range(2):
            with pytest.raises(BadHead, match="not a valid HTTP/1.1 request"):
                read_request(raw + b"ok", len(raw), Judge())


@pytest.mark.parametrize("zeros", [18, 30, 5000])
def test_a_length_beyond_all_bounds_is_left_to_llhttp(zeros: int) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 1" + b"0" * zeros + b"\r\n\r\n"
    assert RequestHead.read(raw).repeat is None
    if zeros > 20:
        with pytest.raises(BadHead, match="not a valid HTTP/1.1 request"):
            read_request(raw, len(raw), Judge())


def test_only_so_many_are_kept() -> None:
    known = repeats.Repeats()
    for number in range(3 * repeats.HEADS):
        known.keep(b"%d" % number, repeats.Repeat(()))
        assert len(known) <= repeats.HEADS
    long = head(b"Host: me\r\nX: " + b"x" * repeats.HEAD_BYTES + b"\r\nContent-Length: %d\r\n", 5)
    assert repeats.cut(long) is None
