"""A JSON array that arrives in pieces."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocproxy.protocols.json_array import ArrayStream

VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(alphabet='ab"\\{}[],é', max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(values=st.lists(VALUES, max_size=4), choice=st.data())
def test_any_cutting_gives_the_objects_and_arrays_of_the_list(values: list[object], choice: st.DataObject) -> None:
    data = b" " + msgspec.json.format(msgspec.json.encode(values), indent=choice.draw(st.integers(0, 2))) + b"\r\n"
    cuts = sorted(choice.draw(st.sets(st.integers(0, len(data)), max_size=20)))
    stream = ArrayStream()
    found = [one for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) for one in stream.feed(data[a:b])]
    assert [msgspec.json.decode(one) for one in found] == [one for one in values if isinstance(one, dict | list)]
    assert stream.ended


@pytest.mark.parametrize("cut", [b"[", b'[{"a": 1}', b'[{"a": 1},\r\n', b'[{"a": 1}, {"a": "\\'])
def test_an_array_that_breaks_off_has_not_ended(cut: bytes) -> None:
    stream = ArrayStream()
    assert len(stream.feed(cut)) == cut.count(b"}")
    assert not stream.ended


def test_what_stands_behind_the_array_is_not_read() -> None:
    stream = ArrayStream()
    assert stream.feed(b'[{}] [{"a": 1}]') == [b"{}"]
    assert stream.feed(b"[{}]") == []
