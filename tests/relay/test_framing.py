"""Where a message ends, for every way in which its bytes can arrive."""

from __future__ import annotations

from itertools import combinations

import pytest

from ocproxy.relay.framing import Body, ChunkedBody, CountedBody, FramingError, Judge
from ocproxy.relay.head import read_request, read_response

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
BODIES = [
    b"0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"4;x=y\r\n\r\n\r\n\r\n0\r\nX-T: 1\r\n\r\n",
    b"1\r\n\r\r\n1\r\n\n\r\n00;z\r\nA: b\r\nC:\r\n\r\n",
]
BEYOND = b"\r\n\r\nGET / HTTP/1.1\r\n"


def taken(body: Body, pieces: list[bytes]) -> int:
    """How many bytes the body took until it was done."""
    total = 0
    for piece in pieces:
        if piece and not body.done:
            total += body.take(piece)
    assert body.done
    return total


@pytest.mark.parametrize("body", BODIES)
def test_a_chunked_body_ends_at_the_same_byte_however_it_is_cut(body: bytes) -> None:
    data = body + BEYOND
    for first, second in combinations(range(len(data) + 1), 2):
        judge = Judge()
        judge.feed_head(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        assert taken(ChunkedBody(judge), [data[:first], data[first:second], data[second:]]) == len(body)


def test_a_counted_body_ends_at_the_same_byte_however_it_is_cut() -> None:
    data = b"12345\r\n" + BEYOND
    for first, second in combinations(range(len(data) + 1), 2):
        judge = Judge()
        judge.feed_head(HEAD + b"Content-Length: 7\r\n\r\n")
        assert taken(CountedBody(judge, 7), [data[:first], data[first:second], data[second:]]) == 7


def test_a_length_that_llhttp_does_not_share_is_an_error() -> None:
    judge = Judge()
    judge.feed_head(HEAD + b"Content-Length: 7\r\n\r\n")
    with pytest.raises(FramingError, match="in doubt"):
        CountedBody(judge, 5).take(b"12345")


def test_one_judge_takes_one_message_after_the_other() -> None:
    judge = Judge()
    for _ in range(3):
        judge.feed_head(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        assert taken(ChunkedBody(judge), [BODIES[2]]) == len(BODIES[2])
        judge.feed_head(HEAD + b"Content-Length: 2\r\n\r\nab")
        assert judge.complete


def test_a_whole_request_and_a_cut_one_are_read_alike() -> None:
    data = HEAD + b"Content-Length: 2\r\nX-Api-Key: k\r\n\r\nab"
    end = len(data) - 2
    whole, nothing_left = read_request(data, end, Judge())
    cut, body = read_request(data[:end], end, Judge())
    assert nothing_left is None and isinstance(body, CountedBody) and body.left == 2
    for name in ("raw", "method", "target", "version", "host", "length", "credentials", "cuts"):
        assert getattr(whole, name) == getattr(cut, name)


def test_a_response_of_unknown_length_lasts_as_long_as_the_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nabc"
    _, body = read_response(data, len(data) - 3, Judge(response=True), b"GET")
    assert type(body) is Body and body.take(b"abc") == 3 and not body.done
