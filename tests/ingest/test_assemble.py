"""Records to exchanges: each once, whole, with what went wrong told."""

from __future__ import annotations

import msgspec
import pytest

from ocproxy.exchange import Ended, Exchange, Gap, Kind, Opened, Outcome, Position, Record
from ocproxy.ingest import assemble
from ocproxy.ingest.assemble import Assembler, FoundGap
from ocproxy.ingest.interpret import interpret

HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n"
LIFE = 3 << 32


class Tape:
    """Feeds an assembler record by record, at positions 100 apart."""

    def __init__(self) -> None:
        self.assembler = Assembler("j" * 32, Position(3, 64))
        self.clock = 0

    def feed(self, kind: int, exchange: int, payload: bytes = b"") -> list[Exchange | FoundGap]:
        self.clock += 1
        record = Record(kind, exchange, self.clock, self.clock, payload)
        return self.assembler.feed(Position(3, 64 + 100 * self.clock), record)

    def open(self, exchange: int) -> list[Exchange | FoundGap]:
        opened = Opened(head=HEAD, target="/v1/messages", upstream="anthropic", upstream_url="http://u", client="c")
        return self.feed(Kind.OPENED, exchange, msgspec.msgpack.encode(opened))

    def end(self, exchange: int, outcome: Outcome = Outcome.COMPLETE) -> list[Exchange | FoundGap]:
        return self.feed(Kind.ENDED, exchange, msgspec.msgpack.encode(Ended(outcome)))


def test_two_interleaved_exchanges_come_out_whole_in_the_order_of_their_ends() -> None:
    tape = Tape()
    first, second = LIFE | 1, LIFE | 2
    tape.open(first)
    tape.feed(Kind.REQUEST_BYTES, first, b"re")
    tape.open(second)
    tape.feed(Kind.REQUEST_BYTES, first, b"quest")
    tape.feed(Kind.RESPONSE_HEAD, second, b"HTTP/1.1 204 No Content\r\n\r\n")
    tape.feed(Kind.RESPONSE_HEAD, first, b"HTTP/1.1 200 OK\r\n\r\n")
    tape.feed(Kind.RESPONSE_BYTES, first, b"re")
    (ended_second,) = tape.end(second)
    tape.feed(Kind.RESPONSE_BYTES, first, b"sponse")
    (ended_first,) = tape.end(first)
    assert isinstance(ended_first, Exchange)
    assert isinstance(ended_second, Exchange)
    assert (ended_first.number, ended_first.request, ended_first.response) == (first, b"request", b"response")
    assert (ended_first.opened_ns, ended_first.first_byte_ns, ended_first.ended_ns) == (1, 6, 10)
    assert (ended_second.number, ended_second.heads) == (second, (b"HTTP/1.1 204 No Content\r\n\r\n",))
    assert ended_first.call_id != ended_second.call_id


def test_reading_again_starts_at_the_oldest_open_exchange() -> None:
    tape = Tape()
    tape.open(LIFE | 1)
    assert tape.assembler.resume == Position(3, 64)
    tape.open(LIFE | 2)
    tape.end(LIFE | 1)
    assert tape.assembler.resume == Position(3, 164)
    tape.end(LIFE | 2)
    assert tape.assembler.resume == tape.assembler.position == Position(3, 464)


def test_what_a_dead_relay_left_open_ends_when_the_next_life_begins() -> None:
    tape = Tape()
    tape.open(LIFE | 1)
    tape.feed(Kind.RESPONSE_BYTES, LIFE | 1, b"half")
    (dead,) = tape.open((4 << 32) | 1)
    assert isinstance(dead, Exchange)
    assert (dead.ended.outcome, dead.response, dead.ended_ns) == (Outcome.RECORDER_DIED, b"half", 2)


def test_the_beginning_of_a_life_alone_ends_what_the_former_one_left_open() -> None:
    tape = Tape()
    tape.open(LIFE | 1)
    (dead,) = tape.feed(Kind.BEGAN, 4 << 32)
    assert isinstance(dead, Exchange)
    assert dead.ended.outcome == Outcome.RECORDER_DIED
    assert tape.feed(Kind.BEGAN, 5 << 32) == []


def test_a_gap_is_told_and_belongs_to_its_exchange() -> None:
    tape = Tape()
    tape.open(LIFE | 1)
    gap = Gap("disk full", 2, 300, 7)
    (found,) = tape.feed(Kind.GAP, LIFE | 1, msgspec.msgpack.encode(gap))
    assert isinstance(found, FoundGap)
    assert found.gap == gap
    (exchange,) = tape.end(LIFE | 1)
    assert isinstance(exchange, Exchange)
    assert exchange.gaps == (gap,)


def test_an_exchange_without_its_opening_is_told_once() -> None:
    tape = Tape()
    assert tape.feed(Kind.RESPONSE_BYTES, LIFE | 9, b"12345") == []
    assert tape.feed(Kind.RESPONSE_BYTES, LIFE | 9, b"67890") == []
    (found,) = tape.end(LIFE | 9)
    assert isinstance(found, FoundGap)
    assert f"the opening of the exchange {LIFE | 9} is missing" in found.gap.reason


def test_a_record_that_cannot_be_read_is_a_gap_and_costs_only_itself() -> None:
    tape = Tape()
    (found,) = tape.feed(Kind.OPENED, LIFE | 1, b"\xff\xff not msgpack")
    assert isinstance(found, FoundGap)
    tape.open(LIFE | 2)
    assert len(tape.end(LIFE | 2)) == 1


def test_kinds_of_newer_versions_are_passed_over() -> None:
    tape = Tape()
    tape.open(LIFE | 1)
    assert tape.feed(99, LIFE | 1, b"new") == []
    assert tape.feed(99, 0, b"new") == []
    (exchange,) = tape.end(LIFE | 1)
    assert isinstance(exchange, Exchange)
    assert (exchange.request, exchange.response) == (b"", b"")


def test_of_a_giant_exchange_the_beginning_is_held_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "MOST_BYTES", 10)
    tape = Tape()
    tape.open(LIFE | 1)
    for payload in (b"0123", b"4567", b"89ab", b"cdef"):
        tape.feed(Kind.REQUEST_BYTES, LIFE | 1, payload)
    tape.feed(Kind.RESPONSE_BYTES, LIFE | 1, b"0123456789")
    (exchange,) = tape.end(LIFE | 1)
    assert isinstance(exchange, Exchange)
    assert (exchange.request, exchange.response) == (b"0123456789", b"0123456789")
    assert exchange.beyond == {Kind.REQUEST_BYTES: 6}
    assert interpret(exchange).problems[0].code == "too_large"
