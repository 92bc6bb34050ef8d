"""The walk of a resent history: a message meets itself, a fork is another child, one change costs one message."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocproxy.sessions.chain import Chain, histories

KEYS = st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=12, unique=True)


def walk(chain: Chain, keys: str, start: str | None = None) -> tuple[list[str], list[bool]]:
    steps = chain.walk(keys.split(), start)
    return [step.node.id for step in steps], [step.is_new for step in steps]


def test_a_first_history_is_all_new_and_resending_it_adds_nothing() -> None:
    chain = Chain("s")
    ids, new = walk(chain, "a b c")
    assert new == [True, True, True]
    assert walk(chain, "a b c") == (ids, [False, False, False])
    assert walk(chain, "a b c d")[1] == [False, False, False, True]


def test_a_reply_that_is_resent_meets_itself() -> None:
    chain = Chain("s")
    (user,), _ = walk(chain, "u")
    (reply,), _ = walk(chain, "r", user)
    assert walk(chain, "u r u2")[0][:2] == [user, reply]


def test_a_fork_is_another_child_of_the_same_parent() -> None:
    chain = Chain("s")
    ids, _ = walk(chain, "a b c d")
    forked, new = walk(chain, "a b x y")
    assert forked[:2] == ids[:2]
    assert new == [False, False, True, True]
    assert walk(chain, "a b c d")[1] == [False] * 4


def test_a_new_beginning_is_a_new_branch_and_the_old_one_stays() -> None:
    chain = Chain("s")
    old, _ = walk(chain, "a b c")
    _, new = walk(chain, "summary c")
    assert new == [True, True]
    assert walk(chain, "a b c") == (old, [False] * 3)


def test_one_altered_old_message_does_not_double_what_follows() -> None:
    chain = Chain("s")
    ids, _ = walk(chain, "a b c d")
    altered, new = walk(chain, "a B c d e")
    assert altered[:4] == ids
    assert new == [False, False, False, False, True]


def test_a_message_left_out_does_not_double_what_follows() -> None:
    chain = Chain("s")
    ids, _ = walk(chain, "a b c d")
    found, new = walk(chain, "a c d e")
    assert found[:3] == [ids[0], ids[2], ids[3]]
    assert new == [False, False, False, True]


def test_a_message_put_in_does_not_double_what_follows() -> None:
    chain = Chain("s")
    ids, _ = walk(chain, "a b c")
    for _ in range(2):
        found, new = walk(chain, "a note b c d")
        assert [found[0], *found[2:4]] == ids
        assert new[2:4] == [False, False]
    assert new == [False] * 5


@given(KEYS)
def test_ids_depend_on_session_parent_and_content_alone(keys: list[str]) -> None:
    at_once = [step.node.id for step in Chain("s").walk(keys)]
    bit_by_bit = Chain("s")
    for end in range(1, len(keys) + 1):
        steps = bit_by_bit.walk(keys[:end])
    assert [step.node.id for step in steps] == at_once
    other = [step.node.id for step in Chain("t").walk(keys)]
    assert not set(other) & set(at_once)


@given(KEYS, KEYS)
def test_a_restored_chain_goes_on_like_the_one_that_was_never_interrupted(first: list[str], then: list[str]) -> None:
    live = Chain("s")
    nodes = [step.node for step in live.walk(first) if step.is_new]
    restored = Chain("s")
    for node in nodes:
        restored.restore(node.id, node.parent, node.key, node.history)
    assert [(s.node.id, s.is_new) for s in restored.walk(then)] == [(s.node.id, s.is_new) for s in live.walk(then)]


@given(KEYS)
def test_the_history_of_a_message_is_the_same_in_every_session(keys: list[str]) -> None:
    assert [step.node.history for step in Chain("s").walk(keys)] == histories(keys)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 4)), max_size=20))
def test_messages_that_are_put_in_anew_for_each_call_cost_themselves_only(places: list[tuple[int, int]]) -> None:
    chain, history = Chain("s"), ["u0", "a0", "u1", "a1"]
    chain.walk(history)
    said = set(history)
    for turn, (place, count) in enumerate(places, 2):
        notes = [f"note {turn}.{n}" for n in range(count)]
        place = min(place, len(history) - 2)
        history += [f"u{turn}", f"a{turn}"]
        chain.walk([*history[:place], *notes, *history[place:]])
        said |= {*history, *notes}
        assert len(chain) == len(said)


def test_another_way_that_comes_to_the_same_word_goes_on_by_itself() -> None:
    chain = Chain("s")
    walk(chain, "task plan yes done")
    found, new = walk(chain, "task plan no other-plan yes other-done")
    assert new == [False, False, True, True, True, True]
    assert len(set(found)) == 6


def test_a_message_that_stands_for_what_was_there_is_no_altered_form_of_it() -> None:
    chain = Chain("s")
    (task, plan, *_) = chain.walk(["task", "plan", "done"])
    (altered, *_) = chain.walk(["task!", "plan", "done"])
    (summary, kept, _) = chain.walk(["summary", "plan", "done"], is_anew=True)
    assert altered.node.id == task.node.id
    assert (summary.is_new, kept.is_new, kept.node.parent) == (True, True, summary.node.id)
    assert kept.node.id != plan.node.id
    assert [step.is_new for step in chain.walk(["summary", "plan", "done"])] == [False] * 3
