"""One record as bytes and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocproxy.exchange import Kind, Record
from ocproxy.journal.records import HEADER_BYTES, MAGIC, MAX_PAYLOAD, Damaged, decode, encode, find, seed_of

SEED = seed_of("0123456789abcdef" * 2)
U64 = st.integers(0, 2**64 - 1)
RECORDS = st.builds(Record, st.integers(0, 255), U64, U64, U64, st.binary(max_size=200))


@given(RECORDS, st.binary(max_size=20), st.binary(max_size=20))
def test_a_record_comes_back_as_it_was_wherever_it_stands(record: Record, before: bytes, behind: bytes) -> None:
    assert decode(before + encode(record, SEED) + behind, len(before), SEED) == record


@given(RECORDS, st.data())
def test_a_flipped_bit_anywhere_is_noticed(record: Record, data: st.DataObject) -> None:
    encoded = bytearray(encode(record, SEED))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        assert decode(bytes(encoded), 0, SEED) is None  # a larger length: more bytes are asked for
    except Damaged as damage:
        assert str(damage)


@given(RECORDS, st.data())
def test_a_cut_record_asks_for_more(record: Record, data: st.DataObject) -> None:
    encoded = encode(record, SEED)
    assert decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))], 0, SEED) is None


def test_a_record_of_another_journal_is_not_taken_for_ours() -> None:
    foreign = encode(Record(Kind.OPENED, 1, 2, 3, b"x"), seed_of("f" * 32))
    with pytest.raises(Damaged, match="checksum"):
        decode(foreign, 0, SEED)


def test_a_length_above_the_limit_is_damage_and_not_a_reason_to_wait() -> None:
    encoded = bytearray(encode(Record(Kind.OPENED, 1, 2, 3, b"x"), SEED))
    encoded[8:12] = (MAX_PAYLOAD + 1).to_bytes(4, "little")
    with pytest.raises(Damaged, match="more than any may have"):
        decode(bytes(encoded), 0, SEED)


@given(st.binary(max_size=100).filter(lambda garbage: MAGIC not in garbage), RECORDS)
def test_the_next_record_is_found_behind_garbage(garbage: bytes, record: Record) -> None:
    assert find(garbage + encode(record, SEED), 0, SEED) == (len(garbage), True)


def test_what_may_be_a_record_but_is_cut_is_told_as_the_place_where_more_is_needed() -> None:
    encoded = encode(Record(Kind.OPENED, 1, 2, 3, b"payload"), SEED)
    assert find(b"garbage" + encoded[:-1], 0, SEED) == (7, False)
    assert find(b"garbage" + encoded[:1], 0, SEED) == (7, False)


@given(st.binary(max_size=100))
def test_in_garbage_no_record_is_found_and_the_search_moves_on(garbage: bytes) -> None:
    for start in range(len(garbage) + 1):
        place, found = find(garbage, start, SEED)
        assert not found
        assert start <= place <= len(garbage)


def test_the_layout_is_the_specified_one() -> None:
    encoded = encode(
        Record(Kind.RESPONSE_BYTES, 0x0102030405060708, 0x1112131415161718, 0x2122232425262728, b"pay"), SEED
    )
    assert len(encoded) == HEADER_BYTES + 3 == 39
    assert encoded[:2].hex() == "f50c"
    assert (
        encoded[6:].hex()
        == "0401" + "03000000" + "0807060504030201" + "1817161514131211" + "2827262524232221" + "706179"
    )
