"""The event-stream format, case by case as the HTML standard words it (section 9.2.6), and any cutting alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocproxy.protocols.sse import Event, EventStream

SPEC: list[tuple[str, bytes, list[tuple[str, str]]]] = [
    ("one line of data", b"data: x\n\n", [("message", "x")]),
    ("several lines are joined by LF", b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10")]),
    ("a name", b"event: add\ndata: 1\n\n", [("add", "1")]),
    ("a name counts for one event only", b"event: add\ndata: 1\n\ndata: 2\n\n", [("add", "1"), ("message", "2")]),
    ("the last name counts", b"event: a\nevent: b\ndata: 1\n\n", [("b", "1")]),
    ("an empty name is no name", b"event:\ndata: 1\n\n", [("message", "1")]),
    ("a name without data is no event", b"event: a\n\ndata: 1\n\n", [("message", "1")]),
    ("only one space is taken off", b"data:  two\n\ndata:none\n\n", [("message", " two"), ("message", "none")]),
    ("a field without colon has an empty value", b"data\n\ndata\ndata\n\n", [("message", ""), ("message", "\n")]),
    ("empty data is data", b"data:\n\n", [("message", "")]),
    ("a comment says nothing", b": hello\n\n:\ndata: 1\n:x\n\n", [("message", "1")]),
    ("an unknown field says nothing", b"foo: 1\n data: 2\nDATA: 3\ndata: 4\n\n", [("message", "4")]),
    ("CRLF ends a line", b"data: 1\r\ndata: 2\r\n\r\n", [("message", "1\n2")]),
    ("CR ends a line", b"data: 1\rdata: 2\r\r", [("message", "1\n2")]),
    ("line ends may be mixed", b"data: 1\r\ndata: 2\rdata: 3\n\r\n", [("message", "1\n2\n3")]),
    ("LF and CR are two line ends", b"data: 1\n\rdata: 2\n\n", [("message", "1"), ("message", "2")]),
    ("one byte order mark is taken off", b"\xef\xbb\xbfdata: 1\n\n", [("message", "1")]),
    ("only one, and only in front", b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\ndata: 2\n\n", [("message", "2")]),
    ("a colon in the value stays", b"data: a: b\n\n", [("message", "a: b")]),
    ("an event that does not end is not dispatched", b"data: 1\n\ndata: 2\n", [("message", "1")]),
    ("a last line without its end does not count", b"data: 1\n\ndata: 2", [("message", "1")]),
    ("bytes that are not UTF-8 are replaced", b"data: \xff\xe2\x82\n\n", [("message", "\ufffd\ufffd")]),
    ("no other separator ends a line", "data: a\u2028b\x0bc\x85\n\n".encode(), [("message", "a\u2028b\x0bc\x85")]),
    ("nothing", b"", []),
    ("empty lines only", b"\n\n\r\n\r", []),
]  # fmt: skip


def read(pieces: list[bytes]) -> tuple[list[Event], bytes, bool, int | None]:
    stream = EventStream()
    events = [event for piece in pieces for event in stream.feed(piece)]
    return events, stream.rest, stream.unfinished, stream.retry_ms


@pytest.mark.parametrize(("stream", "expected"), [row[1:] for row in SPEC], ids=[row[0] for row in SPEC])
def test_the_standard(stream: bytes, expected: list[tuple[str, str]]) -> None:
    for pieces in ([stream], [stream[at : at + 1] for at in range(len(stream))], [b"", stream, b""]):
        assert [(event.name, event.text) for event in read(pieces)[0]] == expected


def test_an_id_stays_until_the_next_one_and_never_holds_nul() -> None:
    events = read([b"id: 1\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n"])[0]
    assert [event.last_id for event in events] == ["1", "1", "1", ""]


@pytest.mark.parametrize(
    ("line", "expected"), [(b"retry: 1500", 1500), (b"retry: 1.5", None), (b"retry:", None), (b"retry: -1", None)]
)
def test_a_reconnection_time_is_digits_only(line: bytes, expected: int | None) -> None:
    assert read([line + b"\n"])[3] == expected


@pytest.mark.parametrize(
    ("stream", "rest", "unfinished"),
    [
        (b"data: 1\n\n", b"", False),
        (b"data: 1\n\n: ping\n", b"", False),
        (b"data: 1\n\ndata: half", b"data: half", True),
        (b"data: 1\n\ndata: 2\n", b"2", True),
        (b"data: 1\n\ndata: 2\ndata: 3\nda", b"2\n3\nda", True),
        (b"event: x\n", b"", True),
        (b"\xef\xbb", b"\xef\xbb", True),
    ],
)
def test_what_came_of_an_unfinished_event_is_the_rest(stream: bytes, rest: bytes, unfinished: bool) -> None:
    assert read([stream])[1:3] == (rest, unfinished)


PIECE = st.sampled_from(
    [
        b"data: ",
        b"data",
        b":",
        b"\r",
        b"\n",
        b"\r\n",
        b"event: e",
        b"id: 7",
        b"x",
        b" ",
        b"\xef\xbb\xbf",
        "é🚀".encode(),
    ]
)


@given(stream=st.lists(PIECE, max_size=40).map(b"".join), cuts=st.sets(st.integers(0, 200), max_size=20))
def test_any_cutting_gives_the_same_events(stream: bytes, cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[a:b] for a, b in zip(places, places[1:], strict=False)]
    assert read(pieces) == read([stream]) == read([stream[at : at + 1] for at in range(len(stream))])
