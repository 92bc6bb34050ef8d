"""Names, headers, what is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from zlib import crc32

import pytest

from ocproxy.errors import JournalError
from ocproxy.exchange import Position
from ocproxy.journal.segments import SegmentHeader, create, decode_header, encode_header, list_segments

HEADER = SegmentHeader(7, "ab" * 16, 1_700_000_000_000_000_000, 42)


def test_a_header_comes_back_as_it_was() -> None:
    assert decode_header(encode_header(HEADER), Path("x")) == HEADER


def test_a_flipped_bit_anywhere_in_the_header_is_damage_and_never_a_wrong_header() -> None:
    good = encode_header(HEADER)
    for bit in range(len(good) * 8):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        assert decode_header(bytes(data), Path("x")) is None


def test_a_cut_header_is_damage() -> None:
    good = encode_header(HEADER)
    assert [decode_header(good[:size], Path("x")) for size in range(len(good))] == [None] * 64


def test_a_header_of_a_newer_version_is_an_error_that_says_what_to_do() -> None:
    data = bytearray(encode_header(HEADER))
    data[8:10] = (2).to_bytes(2, "little")
    data[60:64] = crc32(bytes(data[:60])).to_bytes(4, "little")
    with pytest.raises(JournalError, match="has format version 2") as caught:
        decode_header(bytes(data), Path("x"))
    assert caught.value.hint is not None and "newer ocproxy" in caught.value.hint


def test_the_layout_of_the_header_is_the_specified_one() -> None:
    assert encode_header(HEADER)[:60].hex() == (
        "894f43504a0d0a1a"
        + "0100"
        + "4000"
        + "0700000000000000"
        + "ab" * 16
        + (1_700_000_000_000_000_000).to_bytes(8, "little").hex()
        + "2a00000000000000"
        + "00" * 8
    )


def test_segments_are_listed_oldest_first_and_the_plain_form_counts(tmp_path: Path) -> None:
    names = ["0000000010.seg", "0000000002.seg.zst", "0000000002.seg", "0000000001.seg.zst", "0000000011.seg.new", "id"]
    for name in [*names, "0000000003.seg.zst.new", "12.seg"]:
        (tmp_path / name).touch()
    assert [(s.number, s.compressed) for s in list_segments(tmp_path)] == [(1, True), (2, False), (10, False)]


def test_a_new_segment_has_its_header_and_is_for_the_user_alone(tmp_path: Path) -> None:
    os.close(create(tmp_path, 3, "ab" * 16))
    path = tmp_path / "0000000003.seg"
    header = decode_header(path.read_bytes(), path)
    assert header is not None and (header.number, header.journal) == (3, "ab" * 16)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_segment_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda descriptor, data: 10)
    with pytest.raises(OSError, match="No space left"):
        create(tmp_path, 3, "ab" * 16)
    assert list(tmp_path.iterdir()) == []


def test_positions_order_by_segment_then_offset_and_print_so_that_they_can_be_read_back() -> None:
    positions = [Position(1, 64), Position(1, 4096), Position(2, 64), Position(12, 4096)]
    assert sorted([positions[i] for i in (3, 1, 2, 0)]) == positions
    assert str(positions[-1]) == "0000000012:4096"
    assert [Position.parse(str(p)) for p in positions] == positions
    with pytest.raises(ValueError, match="invalid literal"):
        Position.parse("12")
