"""Journals of every format version there ever was stay readable. The folders beside this file are never made again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ocproxy.exchange import Ended, Kind, Opened, Outcome, Position
from ocproxy.journal import JournalReader, verify

HERE = Path(__file__).parent


def test_version_1_is_read_as_it_was_written() -> None:
    with JournalReader(HERE / "version-1") as reader:
        found = list(reader.follow())
        assert reader.id == "a9f44b6461b63ac91e4f37a1da51b0e8"
        assert reader.end() == found[-1][0] == Position(2, 540)
    lives = [Kind.BEGAN, Kind.OPENED, Kind.REQUEST_BYTES, Kind.RESPONSE_HEAD, Kind.RESPONSE_BYTES, Kind.ENDED]
    assert [(record.exchange, record.kind) for _, record in found] == [
        ((life << 32) + (kind != Kind.BEGAN), kind) for life in (1, 2) for kind in lives
    ]
    assert found[2][1].payload == b'{"model":"m"}' and found[2][0] == Position(1, 345)
    opened = msgspec.msgpack.decode(found[1][1].payload, type=Opened)
    assert (opened.client, opened.run, opened.tags) == ("127.0.0.1:51", "run", {"session": "s"})
    assert msgspec.msgpack.decode(found[5][1].payload, type=Ended) == Ended(Outcome.COMPLETE)
    assert verify(HERE / "version-1").good
