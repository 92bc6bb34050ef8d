"""Following a journal: across segments, live, compressed, damaged, gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from zlib import crc32

import pytest

from ocproxy.errors import JournalError
from ocproxy.exchange import Kind, Position, Record
from ocproxy.journal import JournalReader, JournalWriter, compress_sealed, list_journals
from ocproxy.journal.records import encode, seed_of
from ocproxy.journal.segments import create
from tests.support.segments import (
    HEADER_BYTES,
    RECORD_BYTES,
    SETTINGS,
    START,
    crash,
    gaps,
    packed,
    payloads,
    plain,
    read,
    seen,
    write,
)

LIVE_WRITER = """
import sys, time
from pathlib import Path
from ocproxy.config import Journal
from ocproxy.exchange import Kind
import ocproxy.journal.writer as module
from ocproxy.journal import JournalWriter
module.MIB = 4096
writer = JournalWriter.open(Path(sys.argv[1]), Journal(segment_mb=1))
exchange = writer.next_exchange()
for number in range(2000):
    writer.append(Kind.RESPONSE_BYTES, exchange, b"%d " % number * 20)
    if number % 7 == 0:
        assert writer.commit()
writer.close()
"""


def test_records_come_in_order_each_with_the_position_behind_it(tmp_path: Path) -> None:
    exchange = write(tmp_path / "j", b"one", b"", b"three")
    found = read(tmp_path / "j")
    assert [position for position, _ in found] == [
        Position(1, START + RECORD_BYTES + 3),
        Position(1, START + 2 * RECORD_BYTES + 3),
        Position(1, START + 3 * RECORD_BYTES + 8),
    ]
    assert payloads(found) == [b"one", b"", b"three"]
    assert {(record.kind, record.exchange) for _, record in found} == {(Kind.REQUEST_BYTES, exchange)}
    assert all(abs(record.wall_ns - time.time_ns()) < 60e9 for _, record in found)


def test_following_goes_on_behind_any_position_and_across_segments(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, *(b"%d.%d" % (number, i) for i in range(4)))
    whole = read(tmp_path)
    assert len(whole) == 12
    for index, (position, _) in enumerate(whole):
        assert read(tmp_path, position) == whole[index + 1 :]


def test_a_reader_follows_a_live_writer_and_ends_at_the_live_end(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    with JournalReader(tmp_path) as reader:
        assert seen(reader.follow()) == []
        position = reader.end()
        for number in range(5):
            writer.append(Kind.OPENED, number, b"x" * number)
            assert list(reader.follow(position)) == []
            assert writer.commit()
            ((position, record),) = list(reader.follow(position))
            assert (record.exchange, record.payload) == (number, b"x" * number)
            assert reader.end() == JournalReader(tmp_path).end() == position
    writer.close()


def test_a_reader_follows_a_writer_in_another_process_through_many_segments(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", LIVE_WRITER, str(tmp_path / "j")])
    found: list[bytes] = []
    position: Position | None = None
    try:
        while not list_journals(tmp_path):
            assert process.poll() is None
        with JournalReader(tmp_path / "j") as reader:
            ended = False
            while not ended:
                ended = process.poll() is not None
                news = list(reader.follow(position))
                position = news[-1][0] if news else position
                found += payloads(news)
    finally:
        assert process.wait(30) == 0
    assert found == [b"%d " % number * 20 for number in range(2000)]
    assert position is not None and position.segment > 20


def test_several_followers_of_one_reader_do_not_disturb_each_other(tmp_path: Path) -> None:
    write(tmp_path, *(b"%d" % i for i in range(50)))
    with JournalReader(tmp_path) as reader:
        one, two = reader.follow(), reader.follow()
        assert [next(one) for _ in range(20)] == [next(two) for _ in range(20)]
        assert reader.end() == Position(1, plain(tmp_path, 1).stat().st_size)
        assert list(one) == list(two)


def test_a_half_written_record_is_not_yet_there(tmp_path: Path) -> None:
    write(tmp_path / "j", b"one", b"two")
    whole = plain(tmp_path / "j", 1).read_bytes()
    for cut in range(START, len(whole) + 1):
        copy = crash(tmp_path / "j", tmp_path / "copy", cut)
        complete = (cut - START) // (RECORD_BYTES + 3)
        with JournalReader(copy) as reader:
            found = list(reader.follow())
            assert payloads(found) == [b"one", b"two"][:complete] and not gaps(found)
            plain(copy, 1).write_bytes(whole)
            assert payloads(reader.follow(found[-1][0] if found else None)) == [b"one", b"two"][complete:]


def test_a_half_written_record_that_is_cut_and_replaced_is_read_as_what_replaced_it(tmp_path: Path) -> None:
    write(tmp_path, b"one", b"x" * 1000)
    path = plain(tmp_path, 1)
    first = START + RECORD_BYTES + 3
    with open(path, "r+b") as file:
        file.truncate(first + 500)
        with JournalReader(tmp_path) as reader:
            ((position, _),) = seen(reader.follow())
            file.truncate(first)
            file.seek(first)
            file.write(encode(Record(Kind.ENDED, 9, 1, 1, b"y" * 2000), seed_of(reader.id)))
            file.flush()
            ((_, record),) = list(reader.follow(position))
    assert record == Record(Kind.ENDED, 9, 1, 1, b"y" * 2000)


def test_a_record_that_is_cut_and_replaced_between_two_reads_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, b"one", b"x" * 1000)
    path, real = plain(tmp_path, 1), os.pread
    first = START + RECORD_BYTES + 3
    os.truncate(path, first + 500)
    with JournalReader(tmp_path) as reader:
        new = encode(Record(Kind.ENDED, 9, 1, 1, b"y" * 2000), seed_of(reader.id))

        def pread(descriptor: int, size: int, offset: int) -> bytes:
            if offset == first + 500:
                path.write_bytes(path.read_bytes()[:first] + new)
            return real(descriptor, size, offset)

        monkeypatch.setattr(os, "pread", pread)
        found = list(reader.follow())
    assert payloads(found) == [b"one", b"y" * 2000] and not gaps(found)


def test_a_record_inside_a_half_written_one_is_not_taken_for_a_record(tmp_path: Path) -> None:
    """An agent may look at this very journal: then whole records travel as payload."""
    writer = JournalWriter.open(tmp_path, SETTINGS)
    inner = encode(Record(Kind.OPENED, 5, 6, 7, b"inner"), seed_of(writer.id))
    writer.append(Kind.REQUEST_BYTES, 1, b"before" + inner * 3 + b"behind")
    writer.close()
    whole = plain(tmp_path, 1).read_bytes()
    for cut in range(START + 1, len(whole)):
        plain(tmp_path, 1).write_bytes(whole[:cut])
        assert read(tmp_path) == []
    plain(tmp_path, 1).write_bytes(whole)
    assert payloads(read(tmp_path)) == [b"before" + inner * 3 + b"behind"]


def test_a_torn_tail_of_a_sealed_segment_is_told_with_its_bytes(tmp_path: Path) -> None:
    write(tmp_path, b"one", b"two")
    write(tmp_path, b"three")
    os.truncate(plain(tmp_path, 1), START + RECORD_BYTES + 3 + 10)
    found = read(tmp_path)
    assert payloads(found) == [b"one", b"three"]
    (gap,) = gaps(found)
    assert (gap.records, gap.bytes) == (1, 10) and "cut off" in gap.reason
    assert found[1][0] == Position(1, START + RECORD_BYTES + 3 + 10)
    assert read(tmp_path, found[0][0]) == found[1:] and read(tmp_path, found[1][0]) == found[2:]


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_a_flipped_bit_costs_one_record_and_is_told(tmp_path: Path, compressed: bool) -> None:
    write(tmp_path / "j", b"one", b"two", b"three")
    write(tmp_path / "j", b"four")
    good = plain(tmp_path / "j", 1).read_bytes()
    second = range(START + RECORD_BYTES + 3, START + 2 * (RECORD_BYTES + 3))
    for place in second:
        copy = crash(tmp_path / "j", tmp_path / "copy")
        plain(copy, 1).write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        if compressed:
            compress_sealed(copy)
        found = read(copy)
        assert payloads(found) == [b"one", b"three", b"four"]
        (gap,) = gaps(found)
        assert (gap.records, gap.bytes) == (1, len(second))
        assert found[1][0] == Position(1, second.stop)
        assert gap.since_ns == found[2][1].wall_ns


def test_damage_in_the_live_segment_is_told_when_a_record_follows_it(tmp_path: Path) -> None:
    write(tmp_path, b"one", b"two", b"three")
    path = plain(tmp_path, 1)
    good = path.read_bytes()
    place = START + RECORD_BYTES + 3 + RECORD_BYTES
    path.write_bytes(good[:place] + b"TWO" + good[place + 3 : place + 3])
    with JournalReader(tmp_path) as reader:
        ((position, record),) = seen(reader.follow())
        assert record.payload == b"one" and reader.end() == position
        path.write_bytes(good[:place] + b"TWO" + good[place + 3 :])
        found = list(reader.follow(position))
    assert payloads(found) == [b"three"] and len(gaps(found)) == 1


def test_a_megabyte_of_zeros_in_the_middle_costs_what_it_covers(tmp_path: Path) -> None:
    write(tmp_path, *(b"%06d" % i for i in range(100)))
    write(tmp_path, b"last")
    path = plain(tmp_path, 1)
    good, size = path.read_bytes(), RECORD_BYTES + 6
    path.write_bytes(good[: START + 30 * size] + bytes(3 << 20) + good[START + 40 * size :])
    found = read(tmp_path)
    assert payloads(found) == [b"%06d" % i for i in [*range(30), *range(40, 100)]] + [b"last"]
    assert [gap.bytes for gap in gaps(found)] == [3 << 20]


def test_damage_that_looks_like_the_beginning_of_a_record_hides_nothing_in_a_sealed_segment(tmp_path: Path) -> None:
    write(tmp_path, b"one", b"two", b"three")
    write(tmp_path, b"four")
    path = plain(tmp_path, 1)
    good, second = path.read_bytes(), START + RECORD_BYTES + 3
    longer = good[second : second + 8] + (1 << 19).to_bytes(4, "little") + good[second + 12 : second + RECORD_BYTES + 3]
    path.write_bytes(good[:second] + longer + good[second + RECORD_BYTES + 3 :])
    found = read(tmp_path)
    assert payloads(found) == [b"one", b"three", b"four"] and len(gaps(found)) == 1


def test_kinds_and_records_of_newer_versions_are_handed_on_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    with JournalReader(tmp_path) as reader, open(plain(tmp_path, 1), "ab") as file:
        body = bytearray(encode(Record(200, 7, 8, 9, b"future"), seed_of(reader.id))[6:])
        body[1] = 99
        file.write(b"\xf5\x0c" + crc32(body, seed_of(reader.id)).to_bytes(4, "little") + body)
        file.flush()
        assert seen(reader.follow())[1][1] == Record(200, 7, 8, 9, b"future")


def test_a_segment_of_a_newer_version_is_an_error_with_a_hint(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    path = plain(tmp_path, 1)
    data = bytearray(path.read_bytes())
    data[8] = 9
    data[60:64] = crc32(data[:60]).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(JournalError, match="format version 9") as caught:
        read(tmp_path)
    assert caught.value.hint is not None and "newer ocproxy" in caught.value.hint


def test_a_damaged_segment_header_is_told_and_costs_no_record(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    write(tmp_path, b"two")
    with open(plain(tmp_path, 2), "r+b") as file:
        file.write(b"garbage")
    found = read(tmp_path)
    assert payloads(found) == [b"one", b"two"]
    assert [gap.reason for gap in gaps(found)] == ["the header of segment 2 is damaged"]
    assert read(tmp_path, found[1][0]) == found[2:]


def test_a_position_in_a_removed_segment_gives_a_gap_and_goes_on_at_the_oldest(tmp_path: Path) -> None:
    for payload in (b"one", b"two", b"three", b"four"):
        write(tmp_path, payload)
    for number in (1, 2):
        plain(tmp_path, number).unlink()
    found = read(tmp_path, Position(1, START))
    assert payloads(found) == [b"three", b"four"]
    assert [gap.reason for gap in gaps(found)] == ["segment 1 to 2 are no longer in the journal"]
    assert found[0][0] == Position(3, HEADER_BYTES) and read(tmp_path, found[0][0]) == found[1:]
    assert not gaps(read(tmp_path)), "who begins anew begins at the oldest"


def test_a_segment_missing_in_the_middle_is_told(tmp_path: Path) -> None:
    for payload in (b"one", b"two", b"three"):
        write(tmp_path, payload)
    plain(tmp_path, 2).unlink()
    found = read(tmp_path)
    assert payloads(found) == [b"one", b"three"]
    assert [gap.reason for gap in gaps(found)] == ["segment 2 is no longer in the journal"]


def test_segments_that_are_compressed_or_removed_while_they_are_read_lose_nothing(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path, *(b"%d.%d" % (number, i) for i in range(10)))
    expected = payloads(read(tmp_path))
    with JournalReader(tmp_path) as reader:
        following = reader.follow()
        got = [next(following) for _ in range(5)]
        compress_sealed(tmp_path)
        got += [next(following) for _ in range(10)]
        packed(tmp_path, 2).unlink()  # while it is open
        got += list(following)
        assert payloads(got) == expected and not gaps(got)
        assert payloads(reader.follow(seen(got)[4][0]._replace(segment=3))) == expected[25:]


def test_one_reader_goes_back_and_forth_in_a_compressed_segment(tmp_path: Path) -> None:
    write(tmp_path, *(b"%06d" % i * 10_000 for i in range(60)))
    write(tmp_path, b"last")
    before = read(tmp_path)
    compress_sealed(tmp_path)
    with JournalReader(tmp_path) as reader:
        for index in (50, 3, 58, 30, 31, 0):
            assert list(islice(reader.follow(before[index][0]), 1)) == before[index + 1 : index + 2]
        assert seen(reader.follow(before[40][0])) == before[41:]


def test_the_end_is_that_of_the_last_record_also_when_the_newest_segment_has_none(tmp_path: Path) -> None:
    os.close(create(tmp_path, 1, "ab" * 16))
    assert JournalReader(tmp_path).end() == Position(0, 0)
    write(tmp_path, b"one")
    end = read(tmp_path)[-1][0]
    for number in (3, 4):
        os.close(create(tmp_path, number, "ab" * 16))
    assert JournalReader(tmp_path).end() == end
    compress_sealed(tmp_path)
    assert JournalReader(tmp_path).end() == end


def test_a_position_behind_the_journal_means_that_it_was_replaced(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    with pytest.raises(JournalError, match="ends with segment 1, before the position 0000000005:64"):
        read(tmp_path, Position(5, 64))


def test_a_segment_of_another_journal_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a", b"one")
    write(tmp_path / "b", b"one")
    os.close(create(tmp_path / "a", 2, JournalReader(tmp_path / "b").id))
    with pytest.raises(JournalError, match="is segment 2 of the journal") as caught:
        read(tmp_path / "a")
    assert caught.value.hint is not None and "mixed" in caught.value.hint


def test_where_no_journal_is_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal") as caught:
        JournalReader(tmp_path)
    assert caught.value.hint is not None and "ocproxy journal ls" in caught.value.hint


def test_a_lost_id_is_read_from_the_segments(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    before = JournalReader(tmp_path).id
    write(tmp_path, b"two")
    compress_sealed(tmp_path)
    plain(tmp_path, 2).unlink()
    (tmp_path / "id").write_text("")
    assert JournalReader(tmp_path).id == before
    shutil.copytree(tmp_path, tmp_path / "copy")
    JournalWriter.open(tmp_path / "copy", SETTINGS).close()
    assert (tmp_path / "copy" / "id").read_text() == f"{before}\n"
