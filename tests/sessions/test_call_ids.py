"""Calls that their protocol leaves without an id: each of them gets one, which is the same after a restart."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from ocproxy.model import UNNAMED, MessageRow, Part, ToolResult, ToolUse
from ocproxy.sessions.call_ids import CallIds

LOOK = UNNAMED + "look"


def use(alias: str | None = None, id: str = LOOK) -> ToolUse:
    return ToolUse(id, "look", {}, alias=alias)


def result(alias: str | None = None, id: str = LOOK) -> ToolResult:
    return ToolResult(id, "seen", alias=alias)


def ids(parts: tuple[Part, ...]) -> list[str]:
    return [part.id if isinstance(part, ToolUse) else part.tool_use_id for part in parts]  # type: ignore[union-attr]


def test_the_same_call_in_two_messages_is_two_calls_and_each_result_is_of_the_nearest() -> None:
    calls = CallIds()
    (first,) = ids(calls.settle([use()], "a1", "u1"))
    assert ids(calls.settle([result()], "u2", "a1")) == [first]
    (second,) = ids(calls.settle([use()], "a2", "u2"))
    assert ids(calls.settle([result()], "u3", "a2")) == [second]
    assert first != second and not first.startswith(UNNAMED)


def test_a_result_behind_something_put_in_is_still_of_its_call() -> None:
    calls = CallIds()
    (id,) = ids(calls.settle([use()], "a1", None))
    calls.settle([], "u2", "a1")
    assert ids(calls.settle([result()], "u3", "u2")) == [id]


def test_the_id_of_the_provider_stands_where_it_gave_one() -> None:
    calls = CallIds()
    (part,) = calls.settle([use("fc_1")], "a1", None)
    assert part == use(id="fc_1", alias=LOOK)
    assert ids(calls.settle([result()], "u2", "a1")) == ["fc_1"]
    # A history that was made anew holds the same call at another place.
    assert ids(calls.settle([use("fc_1")], "b1", None)) == ["fc_1"]


def test_an_id_that_the_provider_gave_to_two_calls_is_no_id() -> None:
    calls = CallIds()
    other = UNNAMED + "other"
    assert ids(calls.settle([use("call_0")], "a1", None)) == ["call_0"]
    (id,) = ids(calls.settle([use("call_0", other)], "a2", "a1"))
    assert id != "call_0"
    assert ids(calls.settle([result("call_0", other)], "u3", "a2")) == [id]


def test_a_result_without_its_call_has_an_id_of_its_own() -> None:
    calls = CallIds()
    assert ids(calls.settle([result("fc_9")], "u1", None)) == ["fc_9"]
    (id,) = ids(calls.settle([result()], "u2", None))
    assert not id.startswith(UNNAMED)


def test_calls_with_ids_stay_as_they_are() -> None:
    parts = (ToolUse("toolu_1", "look", {}), ToolResult("toolu_1", "seen"))
    assert CallIds().settle(parts, "a1", None) == parts


def test_an_id_that_was_answered_and_is_asked_again_further_down_is_another_call() -> None:
    calls = CallIds()
    assert ids(calls.settle([use(id="call_0")], "a1", "u1")) == ["call_0"]
    assert ids(calls.settle([result(id="call_0")], "u2", "a1")) == ["call_0"]
    (second,) = ids(calls.settle([use(id="call_0")], "a2", "u2"))
    assert ids(calls.settle([result(id="call_0")], "u3", "a2")) == [second]
    (third,) = ids(calls.settle([use(id="call_0")], "a3", "u3"))
    assert len({"call_0", second, third}) == 3


def test_an_id_that_is_told_again_in_another_branch_is_the_same_call() -> None:
    calls = CallIds()
    calls.settle([use(id="toolu_1")], "a1", "u1")
    calls.settle([result(id="toolu_1")], "u2", "a1")
    for parent in ("u1", None):
        assert ids(calls.settle([use(id="toolu_1")], "b1", parent)) == ["toolu_1"]
        assert ids(calls.settle([result(id="toolu_1")], "b2", "b1")) == ["toolu_1"]


def test_an_id_without_an_answer_may_be_told_again() -> None:
    calls = CallIds()
    calls.settle([use(id="toolu_1")], "a1", "u1")
    assert ids(calls.settle([use(id="toolu_1")], "a2", "a1")) == ["toolu_1"]


def test_a_restart_goes_on_with_the_ids_that_were_given() -> None:
    calls = CallIds()
    rows: list[MessageRow] = []
    told: list[tuple[str, str | None, list[Part]]] = [
        ("w1", None, [use(id="call_0")]),
        ("w2", "w1", [result(id="call_0")]),
        ("a1", "w2", [use(), use("fc_1", LOOK + "_2"), use(id="call_0")]),
        ("u2", "a1", []),
    ]
    for message_id, parent, parts in told:
        settled = calls.settle(parts, message_id, parent)
        rows.append(stored(message_id, parent, settled))
    after = CallIds()
    for row in rows:
        after.restore(row)
    results = [result(), result(id=LOOK + "_2"), result(id="call_0")]
    assert after.settle(results, "u3", "u2") == calls.settle(results, "u3", "u2")
    assert ids(after.settle(results, "u3", "u2"))[1] == "fc_1"
    assert ids(after.settle([use(id="call_0")], "a4", "u3")) == ids(calls.settle([use(id="call_0")], "a4", "u3"))


def stored(id: str, parent: str | None, parts: tuple[Part, ...]) -> MessageRow:
    plain = [msgspec.to_builtins(part) for part in parts]
    return MessageRow(id, "s", "user", None, plain, datetime(2026, 1, 1, tzinfo=UTC), parent, 0, id, id, "c", 0)
