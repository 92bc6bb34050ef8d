"""JSON is decoded, mended where it can be, and refused where it cannot."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocproxy.errors import DecodeError
from ocproxy.model import Problem
from ocproxy.protocols.json_value import MAX_DEPTH, decode

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda child: st.lists(child, max_size=5) | st.dictionaries(st.text(max_size=8), child, max_size=5),
)


@given(value=PLAIN)
def test_clean_json_is_given_as_it_is(value: Any) -> None:
    problems: list[Problem] = []
    assert decode(json.dumps(value).encode(), problems) == value
    assert problems == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'"a\\ud83d\\ude80b"', "a🚀b"),
        (b'"\\ud800"', "\ufffd"),
        (b'"a\\udc00\\ud800b"', "a\ufffd\ufffdb"),
        (b'"\\ud83d\\ud83d\\ude80"', "\ufffd🚀"),
        (b'["\\\\ud800", "\\ud800"]', ["\\ud800", "\ufffd"]),
        (b'"\xff"', "\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b"\xef\xbb\xbf{}", {}),
        (b"[1e999, -1e999, 1.5]", ["1e999", "-1e999", 1.5]),
        (b"9" * 5000, "9" * 5000),
        ("[1,\n2]", [1, 2]),
        ('"\ud800"', "\ufffd"),
    ],
)
def test_unclean_json_is_mended(data: bytes | str, expected: Any) -> None:
    problems: list[Problem] = []
    value = decode(data, problems)
    assert value == expected
    assert [p.code for p in problems] == ([] if value in ("a🚀b", [1, 2]) else ["mended_json"])
    msgspec.json.encode(value)


@pytest.mark.parametrize("data", [b"", b"{", b"nul", b"{}x", b"NaN", b"[Infinity]", b"\xff", b'{"a":}', b'"\\u12"'])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    problems: list[Problem] = []
    with pytest.raises(DecodeError):
        decode(data, problems)
    assert problems == []


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"b":', "}]")])
def test_nesting_is_bounded(opening: str, closing: str) -> None:
    levels = len(opening.replace('"a":', "").replace('"b":', ""))
    deepest = MAX_DEPTH // levels
    decode(opening * deepest + "1" + closing * deepest, [])
    for depth in (deepest + 1, 2_000, 200_000):
        with pytest.raises(DecodeError, match="deeper than 200"):
            decode(opening * depth + "1" + closing * depth, [])


def test_deep_json_that_needs_mending_is_refused_too() -> None:
    for depth in (300, 100_000):
        with pytest.raises(DecodeError):
            decode("[" * depth + '"\\ud800"' + "]" * depth, [])


@settings(max_examples=300)
@given(data=st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0d8fe1.-+ntrls \ud800', max_size=40))
def test_garbage_is_refused_or_gives_what_can_be_stored(data: bytes | str) -> None:
    try:
        value = decode(data, [])
    except DecodeError:
        return
    assert msgspec.json.decode(msgspec.json.encode(value)) == value
