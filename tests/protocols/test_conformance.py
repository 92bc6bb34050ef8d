"""Every protocol: its corpus decodes as expected however it is cut, and whatever comes never raises.

A protocol brings `tests/corpus/<name of its module>/` and is taken in by itself, and so are the exchanges of recorded
sessions; what those say is held against `expected.json` by `tests/ingest/test_recorded_sessions.py`.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocproxy.model import ModelRequest
from ocproxy.protocols.base import Protocol
from ocproxy.protocols.problems import MAX_PROBLEMS
from tests.protocols.corpus import PROTOCOLS, Case, decode, load_cases, load_session_cases, make_exchange
from tests.support import sessions

CASES = [case for plugin in PROTOCOLS for case in load_cases(plugin)]
CASE = st.sampled_from(CASES + [case for name in sessions.one_of_each_agent() for case in load_session_cases(name)])
CONTENT_TYPES = ["", "application/json", "text/event-stream", "text/html"]
# What a mutated JSON document may hold at any place.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["type", "index", "text", "id", "delta"]), st.text(max_size=5), max_size=3),
)


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.protocol.name}-{case.name}")
each_session = pytest.mark.parametrize("name", sessions.names())


def cut(data: bytes, choice: st.DataObject) -> list[bytes]:
    cuts = sorted(choice.draw(st.sets(st.integers(0, len(data)), max_size=30)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def read_both(case: Case, request: bytes, response: bytes, status: int = 200, content_type: str = "") -> None:
    """Decode both sides as the protocol of `case`; what they give must be writable as JSON, as the store writes it."""
    model_request, problems = case.protocol.decode_request(case.path, request)
    decoder = case.protocol.reply_decoder(case.path, status, {"content-type": content_type})
    deltas = decoder.feed(response)
    reply = decoder.close()
    for value in (model_request, problems, deltas, reply, decoder.problems):
        msgspec.json.encode(value)
    assert len(problems) <= MAX_PROBLEMS + 1 and len(decoder.problems) <= MAX_PROBLEMS + 1
    assert isinstance(model_request, ModelRequest) or problems


@pytest.mark.parametrize("plugin", PROTOCOLS)
def test_every_protocol_has_a_corpus(plugin: str) -> None:
    assert load_cases(plugin)


@each_case
def test_a_case_decodes_to_what_it_says(case: Case) -> None:
    assert decode(case, [case.response.data]) == case.expected


@each_case
def test_a_reply_cut_into_single_bytes_is_the_same_reply(case: Case) -> None:
    data = case.response.data
    assert decode(case, [data[at : at + 1] for at in range(len(data))]) == case.expected


@each_case
@settings(max_examples=25, deadline=None)
@given(choice=st.data())
def test_any_cutting_of_a_reply_gives_the_same_reply(case: Case, choice: st.DataObject) -> None:
    assert decode(case, cut(case.response.data, choice)) == case.expected


@each_session
def test_the_exchanges_of_a_session_decode_alike_for_any_cutting(name: str) -> None:
    dice = random.Random(name)
    for case in load_session_cases(name):
        data = case.response.data
        whole = decode(case, [data])
        assert whole["request_problems"] == whole["reply_problems"] == []
        places = sorted(dice.randrange(len(data) + 1) for _ in range(30))
        assert decode(case, [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]) == whole


def assert_it_says_where_it_comes_from(folder: Path) -> None:
    text = (folder / "README").read_text("utf-8")
    assert ("Recorded: " in text) != ("not recorded" in text)


@each_case
def test_a_case_says_where_it_comes_from(case: Case) -> None:
    assert_it_says_where_it_comes_from(case.folder)


@each_session
def test_a_session_says_where_it_comes_from(name: str) -> None:
    assert_it_says_where_it_comes_from(sessions.CORPUS / name)


def protocols_of(case: Case) -> list[Protocol]:
    head = case.request.head
    return [other for other in PROTOCOLS.values() if other.matches(head.method, case.path, head.fields)]


@each_case
def test_only_one_protocol_takes_a_case_for_its_own(case: Case) -> None:
    assert protocols_of(case) == [case.protocol]


@each_session
def test_only_one_protocol_takes_an_exchange_of_a_session_for_its_own(name: str) -> None:
    for case in load_session_cases(name):
        assert protocols_of(case) == [case.protocol]


def mutate(data: bytes, choice: st.DataObject) -> bytes:
    kind = choice.draw(st.sampled_from(["cut", "flip", "insert", "drop"]))
    at = choice.draw(st.integers(0, max(0, len(data) - 1)))
    if kind == "cut":
        return data[:at]
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ choice.draw(st.integers(1, 255))]) + data[at + 1 :] if data else b""
    if kind == "insert":
        return data[:at] + choice.draw(st.binary(max_size=20)) + data[at:]
    return data[:at] + data[at + choice.draw(st.integers(1, 200)) :]


def replace_somewhere(value: Any, choice: st.DataObject) -> Any:
    """`value` with one node, anywhere, replaced by something odd."""
    root = {"": copy.deepcopy(value)}
    place: Any = root
    key: Any = ""
    while isinstance(place[key], dict | list) and place[key] and choice.draw(st.integers(0, 4)):
        place = place[key]
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = choice.draw(st.sampled_from(keys))
    place[key] = choice.draw(ODD)
    return root[""]


@settings(max_examples=300, deadline=None)
@given(case=CASE, choice=st.data())
def test_damaged_bodies_become_problems(case: Case, choice: st.DataObject) -> None:
    request, response = case.request.data, case.response.data
    for _ in range(choice.draw(st.integers(1, 3))):
        request, response = mutate(request, choice), mutate(response, choice)
    read_both(case, request, response, content_type=choice.draw(st.sampled_from(CONTENT_TYPES)))


@settings(max_examples=150, deadline=None)
@given(case=CASE, choice=st.data())
def test_damaged_wire_bytes_become_problems(case: Case, choice: st.DataObject) -> None:
    """Damage to heads, framing and compressed data as well."""
    exchange = case.exchange
    request = (mutate(exchange.opened.head, choice), mutate(exchange.request, choice))
    response = (mutate(exchange.heads[-1], choice), mutate(exchange.response, choice))
    head = request[0] if request[0].count(b" ") else b"POST /v1/messages HTTP/1.1\r\n\r\n"
    damaged = msgspec.structs.replace(case, exchange=make_exchange((head, request[1]), response))
    read_both(damaged, damaged.request.data, damaged.response.data)


@settings(max_examples=300, deadline=None)
@given(case=CASE, request=st.binary(max_size=300), response=st.binary(max_size=300), status=st.integers(0, 999))
def test_random_bytes_become_problems(case: Case, request: bytes, response: bytes, status: int) -> None:
    for content_type in CONTENT_TYPES:
        read_both(case, request, response, status, content_type)


@settings(max_examples=400, deadline=None)
@given(case=CASE, choice=st.data())
def test_wrong_types_at_any_place_become_problems(case: Case, choice: st.DataObject) -> None:
    request: Any = case.request.data
    try:
        request = msgspec.json.encode(replace_somewhere(msgspec.json.decode(request), choice))
    except msgspec.DecodeError:
        pass
    data = case.response.data
    if data.startswith(b"{"):
        data = msgspec.json.encode(replace_somewhere(msgspec.json.decode(data), choice))
    else:
        lines = data.split(b"\n")
        places = [at for at, line in enumerate(lines) if line.startswith(b"data: {") and line.rstrip().endswith(b"}")]
        for at in choice.draw(st.lists(st.sampled_from(places), max_size=4)) if places else []:
            lines[at] = b"data: " + msgspec.json.encode(replace_somewhere(msgspec.json.decode(lines[at][6:]), choice))
        data = b"\n".join(lines)
    read_both(case, request, data)


@settings(max_examples=100, deadline=None)
@given(case=CASE, choice=st.data())
def test_events_in_any_order_become_problems(case: Case, choice: st.DataObject) -> None:
    blocks = case.response.data.replace(b"\r\n", b"\n").split(b"\n\n")
    order = choice.draw(st.lists(st.sampled_from(blocks), max_size=len(blocks)))
    read_both(case, b"", b"\n\n".join(order) + b"\n\n", content_type="text/event-stream")
