"""Which sessions the corpus must hold: of every client that is tested, over each of its protocols."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real_agents.client import Variant
from tests.real_agents.clients import variants
from tests.real_agents.recorded import SHORT, STANDS_FOR, case_of
from tests.support import sessions
from tests.support.coding import fields_of
from tests.support.record_corpus import LONGER
from tests.support.sessions import Taken, load

BY_NAME = {variant.name: variant for variant in variants()}


@pytest.mark.parametrize("variant", BY_NAME.values(), ids=str)
def test_every_way_of_running_an_agent_has_a_session(variant: Variant) -> None:
    """Record it (`tests.support.record_corpus`), or say in `tests/real_agents/recorded.py` which one stands for it."""
    case = case_of(STANDS_FOR.get(variant.name, variant.name))
    assert case in sessions.names()
    recorded = load(case).expected
    assert {row["agent_name"] for row in recorded["sessions"]} == {variant.agent}
    assert {call["protocol"] for call in recorded["calls"] if call["kind"] == "main"} == {variant.protocol}


@pytest.mark.parametrize(("other", "one"), STANDS_FOR.items())
def test_a_session_stands_for_another_of_the_same_agent_over_the_same_protocol(other: str, one: str) -> None:
    ours, theirs = BY_NAME[one], BY_NAME[other]
    assert (ours.client, ours.agent, ours.protocol) == (theirs.client, theirs.agent, theirs.protocol)
    assert one not in STANDS_FOR


def test_every_session_is_recorded_anew_by_a_test_that_is_there() -> None:
    assert sorted([*(case_of(short.name) for short in SHORT), *LONGER]) == sessions.names()
    for test in LONGER.values():
        file, _, name = test.partition("[")[0].partition("::")
        assert f"def {name}(" in (Path(__file__).parent / "real_agents" / file).read_text("utf-8")


def test_every_form_of_the_wire_is_there() -> None:
    """Bodies with content codings, events in streams and whole answers, connections that were compressed and plain."""
    taken = [one for name in sessions.names() for one in load(name).exchanges]
    assert {fields_of(one.opened.head).get("content-encoding") for one in taken} == {None, "zstd"}
    assert {fields_of(one.heads[-1]).get("content-encoding") for one in taken if one.heads} == {None, "gzip"}
    assert {_extension(one) for one in taken if one.messages} == {"", "permessage-deflate"}
    kinds = {fields_of(one.heads[-1]).get("content-type", "").partition(";")[0] for one in taken if one.heads}
    assert {"application/json", "text/event-stream"} <= kinds


def _extension(taken: Taken) -> str:
    return fields_of(taken.heads[-1]).get("sec-websocket-extensions", "").partition(";")[0]
