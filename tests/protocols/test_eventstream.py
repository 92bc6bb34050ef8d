"""The binary frames of Amazon's event streams."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from ocproxy.model import Problem
from ocproxy.protocols.eventstream import Frame, FrameStream


def frame(headers: bytes, payload: bytes) -> bytes:
    prelude = (16 + len(headers) + len(payload)).to_bytes(4) + len(headers).to_bytes(4)
    message = prelude + zlib.crc32(prelude).to_bytes(4) + headers + payload
    return message + zlib.crc32(message).to_bytes(4)


def text(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + len(value.encode()).to_bytes(2) + value.encode()


EVENT = text(":message-type", "event") + text(":event-type", "chunk")


def read(*pieces: bytes) -> tuple[list[Frame], list[Problem], bool]:
    problems: list[Problem] = []
    stream = FrameStream(problems)
    return [frame for piece in pieces for frame in stream.feed(piece)], problems, stream.unfinished


# The example of the specification: no headers, no payload; and a header with an empty payload.
def test_the_shortest_message_is_sixteen_bytes() -> None:
    shortest = bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff")
    assert frame(b"", b"") == shortest
    assert read(shortest) == ([Frame({}, b"")], [], False)


@given(payloads=st.lists(st.binary(max_size=60), max_size=5), choice=st.data())
def test_any_cutting_gives_the_same_messages(payloads: list[bytes], choice: st.DataObject) -> None:
    data = b"".join(frame(EVENT, payload) for payload in payloads)
    cuts = sorted(choice.draw(st.sets(st.integers(0, len(data)), max_size=20)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    frames, problems, unfinished = read(*pieces)
    assert [one.payload for one in frames] == payloads
    assert all(one.headers == {":message-type": "event", ":event-type": "chunk"} for one in frames)
    assert (problems, unfinished) == ([], False)


def test_headers_of_every_type_are_passed_over_and_texts_are_read() -> None:
    kinds = [b"\x00", b"\x01", b"\x02a", b"\x03ab", b"\x04abcd", b"\x05abcdefgh", b"\x06\x00\x02ab", b"\x08abcdefgh"]
    headers = b"".join(b"\x01h" + kind for kind in kinds) + b"\x01h\x09" + bytes(16) + text("x", "é")
    assert read(frame(headers, b"p")) == ([Frame({"x": "é"}, b"p")], [], False)


def test_headers_that_end_too_early_cost_themselves_alone() -> None:
    for headers in (text("x", "y") + b"\x05ab", text("x", "y") + b"\x01h\x07\x00\x09a", text("x", "y") + b"\x01h\x2a"):
        frames, problems, _ = read(frame(headers, b"p"))
        assert frames == [Frame({"x": "y"}, b"p")]
        assert [problem.code for problem in problems] == ["bad_frame"]


def test_a_wrong_checksum_costs_one_message() -> None:
    good, bad = frame(EVENT, b"good"), bytearray(frame(EVENT, b"bad"))
    bad[-6] ^= 1
    frames, problems, unfinished = read(good + bytes(bad) + good)
    assert [one.payload for one in frames] == [b"good", b"good"]
    assert ([problem.code for problem in problems], unfinished) == (["bad_frame"], False)


def test_behind_a_broken_prelude_nothing_is_read_and_nothing_is_kept() -> None:
    good = frame(EVENT, b"good")
    for broken in (b"\xff" * 12, b"GET / HTTP/1.1\r\n", bytes(12)):
        frames, problems, unfinished = read(good, broken, good * 100)
        assert [one.payload for one in frames] == [b"good"]
        assert ([problem.code for problem in problems], unfinished) == (["bad_frame"], False)


def test_a_message_that_says_it_is_larger_than_messages_may_be_is_none() -> None:
    prelude = (1 << 30).to_bytes(4) + (0).to_bytes(4)
    _, problems, unfinished = read(prelude + zlib.crc32(prelude).to_bytes(4))
    assert ([problem.code for problem in problems], unfinished) == (["bad_frame"], False)


def test_the_beginning_of_a_message_is_unfinished() -> None:
    assert read(frame(EVENT, b"p")[:-1]) == ([], [], True)
