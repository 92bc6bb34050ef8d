"""Heads and framed bodies are read back from their record, whole, odd or cut short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocproxy.protocols.http1 import (
    Framing,
    deframe,
    parse_request_head,
    parse_response_head,
    request_framing,
    response_framing,
)


def framing(fields: str, *, method: str = "POST", status: int = 200) -> Framing:
    head = parse_response_head(f"HTTP/1.1 {status} X\r\n{fields}\r\n".encode())
    return response_framing(head, method)


def test_a_request_head_keeps_order_case_and_duplicates() -> None:
    head = parse_request_head(b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Odd:  \tv \r\nx-odd: w\r\nEmpty:\r\n\r\n")
    assert (head.method, head.target, head.version) == ("POST", "/a?b=c", "1.1")
    assert head.headers == (("Host", "x"), ("X-Odd", "v"), ("x-odd", "w"), ("Empty", ""))
    assert head.fields == {"host": "x", "x-odd": "v, w", "empty": ""}
    assert head.problems == ()


def test_a_response_head_may_lack_its_reason() -> None:
    for line, reason in ((b"HTTP/1.1 200 Very OK", "Very OK"), (b"HTTP/1.1 200 ", ""), (b"HTTP/1.1 200", "")):
        head = parse_response_head(line + b"\r\nA: b\r\n\r\n")
        assert (head.status, head.reason, head.version, head.problems) == (200, reason, "1.1", ())


def test_bytes_beyond_ascii_are_latin_1_and_folded_lines_are_one() -> None:
    head = parse_request_head(b"GET /\xe9 HTTP/1.0\r\nA: \xff\r\n folded\r\n\tagain\r\n\r\n")
    assert (head.target, head.version, head.fields) == ("/\xe9", "1.0", {"a": "\xff folded again"})


def test_bare_line_feeds_are_read_too() -> None:
    assert parse_response_head(b"HTTP/1.1 204 No\nA: b\n\n").fields == {"a": "b"}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "truncated"),
        (b"GET / HTTP/1.1\r\nHost: x", "truncated"),
        (b"GET /\r\n\r\n", "bad_head"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "bad_head"),
    ],
)
def test_a_broken_head_is_told(data: bytes, code: str) -> None:
    assert code in [problem.code for problem in parse_request_head(data).problems]


@pytest.mark.parametrize("line", [b"", b"HTTP/1.1", b"HTTP/1.1 2000 X", b"HTTP/1.1 abc", b"ICY 200 OK", b"\xff\xfe"])
def test_a_broken_status_line_has_status_0(line: bytes) -> None:
    head = parse_response_head(line + b"\r\n\r\n")
    assert (head.status, [problem.code for problem in head.problems]) == (0, ["bad_head"])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (framing("Content-Length: 7\r\n"), Framing("length", 7)),
        (framing("Content-Length: 7, 7\r\n"), Framing("length", 7)),
        (framing("Content-Length: 0\r\n"), Framing("length", 0)),
        (framing("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n"), Framing("chunked")),
        (framing("Transfer-Encoding: GZip, Chunked\r\n"), Framing("chunked", 0, ("gzip",))),
        (framing("Transfer-Encoding: gzip\r\n"), Framing("close", 0, ("gzip",))),
        (framing(""), Framing("close")),
        (framing("Content-Length: 7, 8\r\n"), Framing("close")),
        (framing("Content-Length: -7\r\n"), Framing("close")),
        (framing("Content-Length: 7\r\n", method="HEAD"), Framing("none")),
        (framing("Content-Length: 7\r\n", status=204), Framing("none")),
        (framing("Content-Length: 7\r\n", status=304), Framing("none")),
        (framing("Transfer-Encoding: chunked\r\n", status=101), Framing("none")),
        (framing("", method="CONNECT"), Framing("none")),
        (framing("Content-Length: 7\r\n", method="CONNECT", status=407), Framing("length", 7)),
    ],
)
def test_the_framing_of_a_response(found: Framing, expected: Framing) -> None:
    assert found == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", Framing("none")),
        ("Content-Length: 5\r\n", Framing("length", 5)),
        ("Transfer-Encoding: chunked\r\n", Framing("chunked")),
    ],
)
def test_a_request_never_ends_with_the_connection(fields: str, expected: Framing) -> None:
    assert request_framing(parse_request_head(f"POST / HTTP/1.1\r\n{fields}\r\n".encode())) == expected


def test_a_body_of_known_length_is_complete_or_not() -> None:
    assert deframe(b"hello", Framing("length", 5)).complete
    short = deframe(b"hel", Framing("length", 5))
    assert (short.data, short.complete, [p.code for p in short.problems]) == (b"hel", False, ["truncated"])
    long = deframe(b"hello!!", Framing("length", 5))
    assert (long.data, long.complete, [p.code for p in long.problems]) == (b"hello", True, ["trailing_bytes"])


def test_no_body_and_a_body_to_the_end() -> None:
    assert deframe(b"", Framing("none")).complete
    assert [p.code for p in deframe(b"x", Framing("none")).problems] == ["trailing_bytes"]
    assert deframe(b"all of it", Framing("close")).data == b"all of it"


CHUNKED = b'5;name="v;x"\r\nhello\r\n00006 \r\n world\r\n0;last\r\nX-Sum: 1\r\nx-more:2\r\n\r\n'


def test_chunks_with_extensions_and_trailers() -> None:
    body = deframe(CHUNKED, Framing("chunked"))
    assert (body.data, body.complete, body.problems) == (b"hello world", True, ())
    assert body.trailers == (("X-Sum", "1"), ("x-more", "2"))


def test_chunks_cut_at_every_byte_give_what_came() -> None:
    for end in range(len(CHUNKED)):
        body = deframe(CHUNKED[:end], Framing("chunked"))
        assert b"hello world".startswith(body.data)
        assert body.complete == (end >= CHUNKED.index(b"last\r\n") + 6)
        assert [problem.code for problem in body.problems] == ["truncated"]
        if end < 14 or 19 <= end < 30:
            assert len(body.data) < 11


@pytest.mark.parametrize("line", [b"-5", b"0x5", b"5_0", b" 5", b"", b"zz", b"12345678901234567"])
def test_a_bad_chunk_size_costs_the_rest(line: bytes) -> None:
    body = deframe(b"3\r\nabc\r\n" + line + b"\r\nhello\r\n0\r\n\r\n", Framing("chunked"))
    assert (body.data, body.complete) == (b"abc", False)
    assert "bad_chunk" in [problem.code for problem in body.problems]


@given(pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=10))
def test_any_chunking_gives_the_same_body(pieces: list[bytes]) -> None:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    assert deframe(framed, Framing("chunked")).data == b"".join(pieces)


@given(data=st.binary(max_size=200))
def test_garbage_never_raises(data: bytes) -> None:
    for kind in (Framing("chunked"), Framing("length", 10), Framing("none")):
        deframe(data, kind)
    request_framing(parse_request_head(data))
    response_framing(parse_response_head(b"HTTP/1.1 200 OK\r\n" + data), "GET")
