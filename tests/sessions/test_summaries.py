"""How a summary is found again in the message that goes on from it."""

from __future__ import annotations

import pytest

from ocproxy.sessions.summaries import summary_key, summary_keys, tells

SUMMARY = "## Goal\nMend the build.\n\n## State\n- Done: the tests\n- Next: the docs"
SNAPSHOT = f"<analysis>\nI look back.\n\nIt is long.\n</analysis>\n<state_snapshot>\n{SUMMARY}\n</state_snapshot>"

MESSAGES = {
    "alone": SUMMARY,
    "in a tag, behind a sentence": f"Compacted into this:\n\n<summary>\n{SUMMARY}\n</summary>",
    "behind a line": f"Another model began to solve this, here is its summary:\n{SUMMARY}",
    "with files behind it": f"Context summary:\n\n{SUMMARY}\n\n## Files\nRead:\n- none\nModified:\n- a.py",
    "with what was thought aloud": SNAPSHOT,
    "without what was thought aloud": f"<state_snapshot>\n{SUMMARY}\n</state_snapshot>\n\nResume the prior task.",
    "with other white space": f"  {SUMMARY}  \n\n\n".replace("\n", "\r\n"),
    "between two others": f"No prior history.\n\n---\n\n**Turn Context:**\n\n{SUMMARY}\n\n---\n\nMore of it.",
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("said", [SUMMARY, SNAPSHOT], ids=["plain", "snapshot"])
def test_a_summary_is_found_in_the_message_that_goes_on_from_it(message: str, said: str) -> None:
    assert summary_key(said) in summary_keys(message)


@pytest.mark.parametrize(
    "message",
    [SUMMARY.replace("docs", "tests"), SUMMARY.partition("\n\n")[0], SUMMARY.partition("\n\n")[2], "Mend the build."],
)
def test_another_text_or_a_part_of_it_is_not_that_summary(message: str) -> None:
    assert summary_key(SUMMARY) not in summary_keys(message)


def test_a_text_that_anybody_may_say_tells_nothing() -> None:
    assert summary_key("It is done.") is None
    assert summary_key("") is None
    assert summary_keys("It is done.") == []


def test_a_long_prompt_gives_few_keys() -> None:
    assert len(summary_keys("a line of a log\n\n" * 50_000)) <= 8 * 200


def test_half_a_character_is_no_stumbling_block() -> None:
    assert summary_key(SUMMARY + "\ud83d") in summary_keys(SUMMARY + "\ud83d")


def test_a_flattened_conversation_tells_the_beginnings_of_what_was_said_in_its_order() -> None:
    said = ["make it", "I run it.", "a long\nresult of many lines", "It is made."]
    assert tells(["make it", "a long result", "It is made."], said)
    assert not tells(["make it", "It is made.", "a long result"], said)
    assert not tells(["make it", "It is not made."], said)
