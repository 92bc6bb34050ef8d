"""Finding one's place in a script."""

from __future__ import annotations

from typing import Any

from ocproxy.demo.script import Call, Script, Step, choose

TWO = Script(
    "two", (Step(calls=(Call("Read", {}), Call("Bash", {}))), Step(calls=(Call("Bash", {}),)), Step(text="end"))
)


def asked(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answered(*ids: str) -> list[dict[str, Any]]:
    return [
        {"role": "assistant", "content": [{"type": "tool_use", "id": id_} for id_ in ids]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id_} for id_ in ids]},
    ]


def test_a_script_begins_at_its_first_step() -> None:
    assert TWO.next_step([asked("go")]) == 0


def test_the_next_step_follows_the_last_call_in_the_history() -> None:
    first = answered(TWO.call_id(0, 0), TWO.call_id(0, 1))
    assert TWO.next_step([asked("go"), *first]) == 1
    assert TWO.next_step([asked("go"), *first, *answered(TWO.call_id(1, 0))]) == 2


def test_calls_of_another_script_do_not_count() -> None:
    assert TWO.next_step([asked("go"), *answered("toolu_other_s7_t0")]) == 0


def test_a_history_that_lost_its_beginning_still_tells_the_place() -> None:
    assert TWO.next_step([asked("a summary"), *answered(TWO.call_id(1, 0))]) == 2


def test_the_last_mark_in_a_users_text_chooses_the_script() -> None:
    other = Script("other", ())
    scripts = {"two": TWO, "other": other}
    assert choose(scripts, [asked("[[script:two]] go")]) is TWO
    blocks = {"role": "user", "content": [{"type": "text", "text": "[[script:other]] and on"}]}
    assert choose(scripts, [asked("[[script:two]] go"), *answered("x"), blocks]) is other
    assert choose(scripts, [asked("no mark")]) is None


def test_a_mark_in_a_tool_result_is_none() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "[[script:two]]"}]}
    other = Script("other", ())
    assert choose({"two": TWO, "other": other}, [asked("[[script:other]]"), result]) is other


def test_one_script_alone_needs_no_mark() -> None:
    assert choose({"two": TWO}, [asked("anything")]) is TWO
