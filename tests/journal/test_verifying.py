"""What `ocproxy journal ls` and `verify` are told."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ocproxy.errors import JournalError
from ocproxy.exchange import Kind
from ocproxy.journal import JournalReader, JournalWriter, compress_sealed, summarize, verify
from tests.support.segments import HEADER_BYTES, RECORD_BYTES, SETTINGS, START, packed, plain, write


def test_a_good_journal_is_told_with_its_numbers(tmp_path: Path) -> None:
    began = time.time_ns()
    write(tmp_path, b"one", b"three")
    write(tmp_path, b"four")
    compress_sealed(tmp_path)
    report = verify(tmp_path)
    assert report.good and report.missing == [] and report.id == JournalReader(tmp_path).id
    one, two = report.segments
    assert (one.number, one.live, one.compressed, one.path) == (1, False, True, packed(tmp_path, 1))
    assert one.plain_bytes == HEADER_BYTES + 3 * RECORD_BYTES + 8
    assert one.stored_bytes == packed(tmp_path, 1).stat().st_size
    assert (one.records, one.payload_bytes, one.gaps, one.damaged, one.torn_bytes) == (3, 8, 0, 0, 0)
    assert one.first_ns is not None and one.last_ns is not None
    assert began <= one.first_ns <= one.last_ns <= time.time_ns()
    assert (two.number, two.live, two.compressed, two.records) == (2, True, False, 2)


def test_a_summary_reads_headers_only_and_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    write(tmp_path, b"two")
    size = plain(tmp_path, 1).stat().st_size
    compress_sealed(tmp_path)
    summary = summarize(tmp_path)
    assert (summary.id, summary.folder) == (JournalReader(tmp_path).id, tmp_path)
    assert [(s.number, s.live, s.compressed, s.plain_bytes) for s in summary.segments] == [
        (1, False, True, size),
        (2, True, False, size),
    ]
    assert all(abs(s.made_ns - time.time_ns()) < 60e9 and s.stored_bytes > 0 for s in summary.segments)


def test_every_damage_is_told_where_it_is(tmp_path: Path) -> None:
    for _ in range(4):
        write(tmp_path, b"one", b"two", b"three")
    second = START + RECORD_BYTES + 3
    with open(plain(tmp_path, 1), "r+b") as file:
        file.seek(second + RECORD_BYTES)
        file.write(b"TWO")
    os.truncate(plain(tmp_path, 2), second + 5)
    plain(tmp_path, 3).unlink()
    with open(plain(tmp_path, 4), "r+b") as file:
        file.write(b"x")
    report = verify(tmp_path)
    assert not report.good and report.missing == [(3, 3)]
    one, two, four = report.segments
    assert (one.records, one.damaged, one.damaged_bytes, one.torn_bytes) == (3, 1, RECORD_BYTES + 3, 0)
    assert one.problems == [f"the checksum of a record is wrong: {RECORD_BYTES + 3} bytes at {second}"]
    assert (two.records, two.damaged, two.damaged_bytes, two.torn_bytes) == (2, 1, 5, 5)
    assert two.problems == [f"the last record is cut off: 5 bytes at {second}"]
    assert (four.records, four.problems) == (4, ["its header is damaged"])


def test_the_tail_of_a_live_segment_is_told_and_is_no_fault(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    with open(plain(tmp_path, 1), "ab") as file:
        file.write(b"\xf5\x0chalf")
    report = verify(tmp_path)
    assert report.good and report.segments[0].torn_bytes == 6


def test_gaps_that_the_writer_told_are_counted_and_are_no_fault(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    os.truncate(plain(tmp_path, 1), START + 10)
    write(tmp_path, b"two")
    report = verify(tmp_path)
    assert report.good and [segment.gaps for segment in report.segments] == [0, 1]


def test_a_segment_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a", b"one")
    write(tmp_path / "a", b"two")
    write(tmp_path / "b", b"three")
    plain(tmp_path / "a", 1).write_bytes(plain(tmp_path / "b", 1).read_bytes())
    one, two = verify(tmp_path / "a").segments
    assert "of the journal" in one.problems[0] and one.records == 0
    assert two.good and two.records == 2


def test_a_journal_that_is_being_written_to_can_be_verified(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    for number in range(10):
        writer.append(Kind.OPENED, number, b"x")
        writer.commit()
        report = verify(tmp_path)
        assert report.good and report.segments[0].records == number + 2
    writer.close()


def test_where_no_journal_is_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        verify(tmp_path)
