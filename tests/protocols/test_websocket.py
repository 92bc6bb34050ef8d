"""Messages of a WebSocket are read back from its bytes, however these are cut, masked, fragmented and compressed."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocproxy.protocols import websocket
from ocproxy.protocols.websocket import Deflate, SocketStream, agreed_deflate
from tests.support.frames import BINARY, PING, Sender, frame

MESSAGES = st.lists(
    st.binary(max_size=400) | st.sampled_from([b"alpha " * 30000, b"x" * 126, b"y" * 65536]), max_size=6
)


def read(stream: SocketStream, data: bytes) -> list[bytes]:
    return [message.data for message in stream.feed(data)]


@settings(deadline=None)
@given(
    messages=MESSAGES,
    deflate=st.sampled_from([None, True, False]),
    mask=st.sampled_from([b"", b"\x01\x02\xfd\x00"]),
    pieces=st.integers(1, 4),
    choice=st.data(),
)
def test_any_cutting_gives_the_same_messages(
    messages: list[bytes], deflate: bool | None, mask: bytes, pieces: int, choice: st.DataObject
) -> None:
    sender = Sender(deflate=deflate, mask=mask, pieces=pieces)
    data = b"".join(sender.message(message) for message in messages) + sender.close(1001, "bye")
    cuts = sorted(choice.draw(st.sets(st.integers(0, len(data)), max_size=20)))
    stream = SocketStream(deflate)
    found = [m for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) for m in read(stream, data[a:b])]
    assert found == messages
    assert (stream.is_closed, stream.close_code, stream.close_reason) == (True, 1001, "bye")
    assert stream.problems == []


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), deflate=st.sampled_from([None, True, False]), choice=st.data())
def test_whatever_comes_never_raises(data: bytes, deflate: bool | None, choice: st.DataObject) -> None:
    good = Sender(deflate=deflate).message(b"alpha") + data
    at = choice.draw(st.integers(0, len(good)))
    whole, cut = SocketStream(deflate), SocketStream(deflate)
    assert read(whole, good) == read(cut, good[:at]) + read(cut, good[at:])
    assert whole.problems == cut.problems


def test_messages_of_the_standard_are_read() -> None:
    """The examples of RFC 6455 section 5.7."""
    assert read(SocketStream(None), bytes.fromhex("810548656c6c6f")) == [b"Hello"]
    assert read(SocketStream(None), bytes.fromhex("818537fa213d7f9f4d5158")) == [b"Hello"]
    assert read(SocketStream(None), bytes.fromhex("010348656c80026c6f")) == [b"Hello"]


def test_compressed_messages_of_the_standard_are_read() -> None:
    """The examples of RFC 7692 section 7.2.3: one block, a second message that refers to the first, no compression,
    a final block, two blocks."""
    stream = SocketStream(True)
    assert read(stream, bytes.fromhex("c107f248cdc9c90700")) == [b"Hello"]
    assert read(stream, bytes.fromhex("c105f200110000")) == [b"Hello"]
    assert read(SocketStream(False), bytes.fromhex("c10b000500faff48656c6c6f00")) == [b"Hello"]
    assert read(SocketStream(False), bytes.fromhex("c108f348cdc9c9070000")) == [b"Hello"]
    assert read(SocketStream(False), bytes.fromhex("c10df248050000 00ffffcac9c90700".replace(" ", ""))) == [b"Hello"]


def test_a_message_behind_a_final_block_refers_to_what_was_before_it() -> None:
    first = zlib.compressobj(wbits=-15)
    data = first.compress(b"alpha beta gamma") + first.flush(zlib.Z_FINISH)
    second = zlib.compressobj(wbits=-15, zdict=b"alpha beta gamma")
    more = (second.compress(b"alpha beta gamma!") + second.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")
    stream = SocketStream(True)
    assert read(stream, frame(data + b"\x00", packed=True)) == [b"alpha beta gamma"]
    assert read(stream, frame(more, packed=True)) == [b"alpha beta gamma!"]


def test_control_frames_may_stand_between_the_pieces_of_a_message() -> None:
    data = frame(b"al", fin=False) + frame(b"", PING) + frame(b"pha", 0)
    assert read(SocketStream(None), data) == [b"alpha"]


def test_binary_messages_are_told_apart() -> None:
    (message,) = SocketStream(None).feed(frame(b"\x00", BINARY))
    assert not message.is_text


def test_what_cannot_be_decompressed_costs_itself_and_what_refers_to_it() -> None:
    bad = frame(b"\xff\xff\xff", packed=True)
    keeps, resets = SocketStream(True), SocketStream(False)
    good = Sender(deflate=False).message(b"alpha")
    assert read(keeps, bad + good + frame(b"plain")) == [b"plain"]
    assert read(resets, bad + good + frame(b"plain")) == [b"alpha", b"plain"]
    assert {problem.code for problem in keeps.problems} == {"bad_compression"}


def test_compression_that_was_not_agreed_on_is_a_problem() -> None:
    stream = SocketStream(None)
    assert read(stream, Sender(deflate=True).message(b"alpha") + frame(b"beta")) == [b"beta"]
    assert [problem.code for problem in stream.problems] == ["bad_frame"]


@pytest.mark.parametrize("bad", [b"\x83\x00", b"\xb1\x00", b"\x08\x00", b"\x89\x7e\x00\x7e"])
def test_no_frame_is_found_behind_one_that_is_none(bad: bytes) -> None:
    stream = SocketStream(None)
    assert read(stream, frame(b"alpha") + bad + frame(b"beta")) == [b"alpha"]
    assert read(stream, frame(b"gamma")) == []
    assert [problem.code for problem in stream.problems] == ["bad_frame"]


def test_nothing_is_read_behind_bytes_that_are_missing() -> None:
    stream = SocketStream(None)
    assert read(stream, frame(b"alpha")) == [b"alpha"]
    stream.lose()
    assert read(stream, frame(b"beta")) == []
    assert "missing" in stream.problems[0].message


def test_a_message_too_large_is_left_out_and_the_next_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MOST_BYTES", 1000)
    for data in (frame(b"x" * 5000), frame(b"x" * 600, fin=False) + frame(b"x" * 600, 0)):
        stream = SocketStream(None)
        data += frame(b"next")
        assert [m for at in range(0, len(data), 7) for m in read(stream, data[at : at + 7])] == [b"next"]
        assert [problem.code for problem in stream.problems] == ["too_large"]


def test_a_small_message_that_unpacks_to_a_large_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MOST_BYTES", 1000)
    stream = SocketStream(False)
    sender = Sender(deflate=False)
    assert read(stream, sender.message(b"x" * 100_000) + sender.message(b"next")) == [b"next"]


@pytest.mark.parametrize(
    ("header", "agreed"),
    [
        ("", None),
        ("x-other", None),
        ("permessage-deflate", Deflate(True, True)),
        ("permessage-deflate; client_max_window_bits=15; server_no_context_takeover", Deflate(True, False)),
        ("x-other, Permessage-Deflate;client_no_context_takeover", Deflate(False, True)),
    ],
)
def test_the_handshake_says_what_was_agreed(header: str, agreed: Deflate | None) -> None:
    assert agreed_deflate(header) == agreed
