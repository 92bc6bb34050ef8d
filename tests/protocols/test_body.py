"""Bodies of an exchange: framing and codings off, and complete only when nothing is missing."""

from __future__ import annotations

import gzip

import msgspec
import zstandard

from ocproxy.exchange import Ended, Exchange, Gap, Outcome
from ocproxy.protocols.body import request_body, response_body
from tests.protocols.corpus import make_exchange

REQUEST = (b"POST /v1/messages?beta=true HTTP/1.1\r\nContent-Length: 2\r\n\r\n", b"{}")
RESPONSE = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"{}")


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def codes(exchange: Exchange) -> list[str]:
    return [problem.code for problem in response_body(exchange).problems]


def test_framing_and_coding_come_off_both_bodies() -> None:
    packed = zstandard.compress(b'{"a":1}')
    request = (b"POST /x HTTP/1.1\r\nContent-Encoding: zstd\r\nContent-Length: %d\r\n\r\n" % len(packed), packed)
    response = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunked(gzip.compress(b"data: 1\n\n")),
    )
    exchange = make_exchange(request, response)
    read = request_body(exchange)
    assert (read.head.method, read.head.target, read.data, read.complete) == ("POST", "/x", b'{"a":1}', True)
    answer = response_body(exchange)
    assert answer.head is not None
    assert (answer.head.status, answer.data, answer.complete, answer.problems) == (200, b"data: 1\n\n", True, ())


def test_a_transfer_coding_comes_off_before_the_content_coding() -> None:
    response = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        chunked(gzip.compress(zstandard.compress(b"hello"))),
    )
    answer = response_body(make_exchange(REQUEST, response))
    assert (answer.data, answer.complete) == (b"hello", True)


def test_a_body_that_the_connection_ends_is_complete_when_the_exchange_was() -> None:
    response = (b"HTTP/1.1 200 OK\r\n\r\n", b"all there is")
    for outcome in Outcome:
        answer = response_body(make_exchange(REQUEST, response, outcome=outcome))
        assert (answer.data, answer.complete) == (b"all there is", outcome is Outcome.COMPLETE)


def test_a_response_cut_short_gives_what_came() -> None:
    packed = gzip.compress(b"x" * 100 + bytes(range(256)))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    exchange = make_exchange(REQUEST, (head, packed[:-20]), outcome=Outcome.UPSTREAM_DISCONNECTED)
    answer = response_body(exchange)
    assert not answer.complete
    assert answer.data.startswith(b"x" * 100)
    assert codes(exchange) == ["truncated", "truncated"]


def test_interim_heads_are_passed_over() -> None:
    exchange = msgspec.structs.replace(
        make_exchange(REQUEST, RESPONSE), heads=(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", RESPONSE[0])
    )
    answer = response_body(exchange)
    assert answer.head is not None and answer.head.status == 200
    assert answer.data == b"{}"


def test_no_response_has_no_head() -> None:
    for heads in ((), (b"HTTP/1.1 100 Continue\r\n\r\n",)):
        exchange = msgspec.structs.replace(make_exchange(REQUEST, (b"", b"")), heads=heads)
        answer = response_body(exchange)
        assert (answer.head, answer.data, answer.complete) == (None, b"", False)


def test_the_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    head = (b"HEAD /api/hello HTTP/1.1\r\n\r\n", b"")
    answer = response_body(make_exchange(head, (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"")))
    assert (answer.data, answer.complete, answer.problems) == (b"", True, ())


def test_a_request_whose_end_the_relay_did_not_see_is_not_complete() -> None:
    exchange = make_exchange(REQUEST, RESPONSE)
    assert request_body(exchange).complete
    exchange = msgspec.structs.replace(exchange, ended=Ended(Outcome.CLIENT_DISCONNECTED, request_complete=False))
    assert not request_body(exchange).complete


def test_lost_records_are_told_on_both_sides() -> None:
    gap = Gap("disk full", 3, 4096, 1)
    exchange = msgspec.structs.replace(make_exchange(REQUEST, RESPONSE), gaps=(gap,))
    for problems in (request_body(exchange).problems, response_body(exchange).problems):
        assert [(p.code, p.message) for p in problems] == [
            ("gap", "4096 bytes of this exchange were not recorded: disk full")
        ]
    assert not request_body(exchange).complete
    assert not response_body(exchange).complete
