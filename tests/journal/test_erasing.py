"""Exchanges taken out of a journal: nothing of them is left, nothing else changes, whoever dies when."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from ocproxy.errors import JournalError
from ocproxy.exchange import Ended, Gap, Kind, Opened, Outcome, Position
from ocproxy.ingest.assemble import Assembler, FoundGap
from ocproxy.journal import JournalReader, JournalWriter, compress_sealed, erase, erasing, verify
from tests.support.segments import SETTINGS, Found, packed, plain

SECRET, OTHER = b"sk-the-secret", b"something else"
OPENED = msgspec.msgpack.encode(Opened(b"POST /v1 HTTP/1.1\r\n\r\n", "/v1", "x", "http://x", "127.0.0.1:1"))
ENDED = msgspec.msgpack.encode(Ended(Outcome.COMPLETE))


class Died(BaseException):
    """The process ends here."""


def call(writer: JournalWriter, body: bytes) -> int:
    number = writer.next_exchange()
    writer.append(Kind.OPENED, number, OPENED)
    for start in range(0, len(body), 700_000):
        writer.append(Kind.REQUEST_BYTES, number, body[start : start + 700_000])
    writer.append(Kind.ENDED, number, ENDED)
    assert writer.commit()
    return number


def make(folder: Path, *, compress: bool = False) -> dict[int, Position | None]:
    """Three segments, each with a call that holds the secret between two others. Returns those calls."""
    wanted: dict[int, Position | None] = {}
    for segment in range(1, 4):
        writer = JournalWriter.open(folder, SETTINGS)
        call(writer, OTHER * segment)
        wanted[call(writer, SECRET * 100_000)] = Position(segment, 1 << 30)
        call(writer, OTHER)
        writer.close()
    if compress:
        compress_sealed(folder)
    return wanted


def records(folder: Path) -> Found:
    with JournalReader(folder) as reader:
        return list(reader.follow())


def everything(folder: Path) -> bytes:
    """Every byte in the folder, decompressed where it is compressed."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    found = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    return b"".join(unpacker.decompress(one) if one[:4] == b"\x28\xb5\x2f\xfd" else one for one in found)


def of_others(found: Found, wanted: dict[int, Position | None]) -> Found:
    return [(place, record) for place, record in found if record.exchange not in wanted]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_nothing_of_an_erased_exchange_is_left_and_all_else_is_where_it_was(tmp_path: Path, compress: bool) -> None:
    wanted = make(tmp_path, compress=compress)
    before = records(tmp_path)
    assert SECRET in everything(tmp_path)
    done = erase(tmp_path, wanted)
    assert (done.segments, done.records, done.left) == (3, 12, [])
    assert done.payload_bytes > 3 * len(SECRET) * 100_000
    assert SECRET not in everything(tmp_path)
    after = records(tmp_path)
    assert of_others(after, wanted) == of_others(before, wanted)
    assert [place for place, _ in after] == [place for place, _ in before]
    mine = [record for _, record in after if record.exchange in wanted]
    assert {record.kind for record in mine} == {Kind.ERASED} and not any(any(record.payload) for record in mine)
    assert verify(tmp_path).good


def test_an_erased_journal_gives_the_other_exchanges_and_no_gap(tmp_path: Path) -> None:
    wanted = make(tmp_path)
    erase(tmp_path, wanted)
    assembler = Assembler("0" * 32, Position(0, 0))
    told = [item for place, record in records(tmp_path) for item in assembler.feed(place, record)]
    assert not [item for item in told if isinstance(item, FoundGap)]
    assert [item.request for item in told if not isinstance(item, FoundGap)] == [
        one for number in (1, 2, 3) for one in (OTHER * number, OTHER)
    ]


def test_erasing_twice_is_erasing_once(tmp_path: Path) -> None:
    wanted = make(tmp_path, compress=True)
    erase(tmp_path, wanted)
    first = everything(tmp_path)
    done = erase(tmp_path, wanted)
    assert (done.records, done.segments) == (0, 0)
    assert everything(tmp_path) == first


def test_a_compressed_copy_beside_the_plain_segment_does_not_keep_the_secret(tmp_path: Path) -> None:
    wanted = make(tmp_path)
    copy = plain(tmp_path, 1).read_bytes()
    compress_sealed(tmp_path)
    plain(tmp_path, 1).write_bytes(copy)
    (tmp_path / "0000000002.seg.zst.new").write_bytes(packed(tmp_path, 2).read_bytes())
    erase(tmp_path, wanted)
    assert SECRET not in everything(tmp_path)
    assert verify(tmp_path).good


def test_the_writer_goes_on_in_the_segment_in_which_is_erased(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    wanted: dict[int, Position | None] = {call(writer, SECRET): Position(1, 1 << 30)}
    number = writer.next_exchange()
    writer.append(Kind.OPENED, number, OPENED)
    assert writer.commit()
    erase(tmp_path, wanted)
    writer.append(Kind.REQUEST_BYTES, number, OTHER)
    writer.append(Kind.ENDED, number, ENDED)
    writer.close()
    assert SECRET not in everything(tmp_path)
    assert [record.payload for _, record in records(tmp_path) if record.exchange == number] == [OPENED, OTHER, ENDED]
    assert verify(tmp_path).good


def dying_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Let the process die at the `step`th change of a file. Returns whether it came to that."""
    done = 0

    def limited(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            if real is write and len(arguments[1]) < 36:  # no record: the process id in the lock
                return real(*arguments)
            done += 1
            if done == step:
                if real is write:  # in the middle of it
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], arguments[2])
                raise Died
            return real(*arguments, **named)

        return act

    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", limited(write))
    monkeypatch.setattr(Path, "rename", limited(Path.rename))
    monkeypatch.setattr(os, "fsync", limited(lambda descriptor: None))
    return lambda: done >= step


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_whoever_dies_while_erasing_the_next_keeper_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool
) -> None:
    wanted = make(tmp_path / "made", compress=compress)
    before = of_others(records(tmp_path / "made"), wanted)
    for step in range(1, 200):
        folder = tmp_path / f"copy-{step}"
        shutil.copytree(tmp_path / "made", folder)
        with monkeypatch.context() as patch:
            died = dying_at(step, patch)
            try:
                erase(folder, wanted)
            except Died:
                pass
            came = died()
        # Whatever it left, all that is of others can be read where it was.
        with JournalReader(folder) as reader:
            found = [(place, record) for place, record in reader.follow() if record.kind != Kind.GAP]
        assert of_others(found, wanted) == before
        compress_sealed(folder)  # the next keeper, whatever it came for
        assert verify(folder).good
        erase(folder, wanted)
        assert SECRET not in everything(folder) and of_others(records(folder), wanted) == before
        shutil.rmtree(folder)
        if not came:
            break
    assert 10 < step < 199


def test_the_oldest_segments_go_when_nothing_is_left_in_them_and_the_database_has_it(tmp_path: Path) -> None:
    wanted: dict[int, Position | None] = {}
    for segment in range(1, 6):
        writer = JournalWriter.open(tmp_path, SETTINGS)
        number = call(writer, SECRET)
        wanted |= {number: Position(segment, 1 << 30)} if segment != 3 else {}
        writer.close()
    compress_sealed(tmp_path)
    done = erase(tmp_path, wanted, ingested_up_to=Position(2, 0))
    assert (done.removed, done.segments) == (1, 3)
    assert sorted(path.name[:10] for path in tmp_path.glob("*.seg*")) == [f"{n:010d}" for n in (2, 3, 4, 5)]
    third = next(record.exchange for place, record in records(tmp_path) if record.kind == Kind.OPENED)
    done = erase(tmp_path, {third: Position(3, 1 << 30)}, ingested_up_to=Position(5, 0))
    assert done.removed == 3, "the second, which was bare already, the third and the fourth"
    assert [path.name[:10] for path in tmp_path.glob("*.seg*")] == ["0000000005"], "the live one stays"
    assert verify(tmp_path).good


def test_a_segment_that_tells_of_a_gap_stays(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    number = call(writer, SECRET)
    writer.append(Kind.GAP, 0, msgspec.msgpack.encode(Gap("disk full", 1, 2, 3)))
    writer.close()
    JournalWriter.open(tmp_path, SETTINGS).close()
    done = erase(tmp_path, {number: Position(1, 1 << 30)}, ingested_up_to=Position(2, 0))
    assert (done.removed, done.records) == (0, 3)
    assert [record.kind for _, record in records(tmp_path)].count(Kind.GAP) == 1


def test_a_connection_that_goes_on_is_left_and_goes_when_it_has_ended(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    number = writer.next_exchange()
    writer.append(Kind.OPENED, number, OPENED)
    writer.append(Kind.CLIENT_BYTES, number, SECRET)
    assert writer.commit()
    assert erase(tmp_path, {number: None}).left == [number]
    assert SECRET in everything(tmp_path)
    writer.append(Kind.ENDED, number, ENDED)
    writer.close()
    assert erase(tmp_path, {number: None}).left == []
    assert SECRET not in everything(tmp_path)


def test_a_connection_whose_relay_died_is_over(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    number = writer.next_exchange()
    writer.append(Kind.OPENED, number, OPENED)
    writer.append(Kind.CLIENT_BYTES, number, SECRET)
    writer.close()
    JournalWriter.open(tmp_path, SETTINGS).close()
    assert erase(tmp_path, {number: None}).left == []
    assert SECRET not in everything(tmp_path)


def test_damage_is_counted_because_nobody_knows_whose_it_is(tmp_path: Path) -> None:
    wanted = make(tmp_path)
    with open(plain(tmp_path, 2), "r+b") as file:
        file.seek(200)
        file.write(b"\0\0\0")
    assert erase(tmp_path, wanted).damaged_bytes > 0


def test_a_compressed_segment_that_cannot_be_read_whole_is_not_made_anew(tmp_path: Path) -> None:
    wanted = make(tmp_path, compress=True)
    whole = packed(tmp_path, 1).read_bytes()
    packed(tmp_path, 1).write_bytes(whole[:-30])
    with pytest.raises(JournalError, match="is damaged, so nothing can be taken out of it"):
        erase(tmp_path, wanted)
    assert packed(tmp_path, 1).read_bytes() == whole[:-30]


def test_erasing_stops_when_it_is_told_to_and_says_that_it_is_not_done(tmp_path: Path) -> None:
    wanted = make(tmp_path)
    assert erase(tmp_path, wanted, stop=lambda: True).left == sorted(wanted)
    assert erasing.find_open(tmp_path, wanted) == set()
