"""aider on its own recorded requests: edits in texts, files in messages, and what the program says of both."""

from __future__ import annotations

from typing import Any

import pytest

from ocproxy.agents.aider import AGENT
from ocproxy.agents.base import Replacement
from ocproxy.model import CallKind, EventType, Message, Status, Text, ToolUse
from tests.agents.replayed import conversation, events, facts, requests, told

DIFF = "diff"
FILES = (
    "I have *added these files to the chat* so you can go ahead and edit them.\n\n"
    "*Trust this message as the true contents of these files!*\n"
)


def _uses(text: str) -> tuple[ToolUse, ...]:
    return AGENT.uses_in((Text(text),))


def _settled(uses: tuple[ToolUse, ...], *said: str) -> list[Status]:
    results = {result.tool_use_id: result for result in AGENT.results_in([Text(text) for text in said], uses)}
    return [AGENT.answer(use, results[use.id]).status if use.id in results else Status.REQUESTED for use in uses]


def _main(*texts: str) -> Any:
    system = {"role": "system", "content": "Act as an expert software developer.\n# *SEARCH/REPLACE block* Rules:"}
    body = {"model": "m", "messages": [system, *({"role": "user", "content": text} for text in texts)]}
    return facts("POST", "/v1/chat/completions", {}, body)


def test_the_calls_of_a_run_are_known_by_their_prompts() -> None:
    calls = requests("aider")[:5]
    assert all(AGENT.recognises(call) for call in calls)
    assert [AGENT.kind(call) for call in calls] == [
        CallKind.MAIN,
        CallKind.COMMIT,
        CallKind.MAIN,
        CallKind.COMMIT,
        CallKind.MAIN,
    ]
    assert {(AGENT.identity(call).agent, AGENT.identity(call).session) for call in calls} == {("aider", None)}


def test_files_in_messages_are_reads_and_blocks_in_answers_are_edits_each_told_once() -> None:
    batch = conversation(AGENT, *[call for call in requests("aider")[:5] if AGENT.kind(call) is CallKind.MAIN])
    assert told(batch) == [
        "read applied: input.txt",
        "read applied: no_newline.txt",
        "read applied: src/app.py",
        "read applied: README.md",
        "edit applied: input.txt",
        "edit applied: notes.md",
        "edit failed: input.txt",
        "edit applied: src/app.py",
        "read applied: src/app.py",
        "read applied: input.txt",
        "read applied: notes.md",
        "edit failed: src/app.py",
        "edit applied: README.md",
        "edit applied: no_newline.txt",
        "read applied: README.md",
        "read applied: no_newline.txt",
    ]
    reads = [event for event in events(batch) if event.event_type is EventType.READ]
    assert {(event.tool_name, event.note) for event in reads} == {
        ("attachment", "put into the message by the agent's program, without a tool use")
    }
    edits = [event for event in events(batch) if event.status is Status.APPLIED and event.diff]
    assert {event.certainty for event in edits} == {"exact"}


def test_sample_conversations_and_files_are_no_part_of_what_was_said() -> None:
    batch = conversation(AGENT, *[call for call in requests("aider")[:5] if AGENT.kind(call) is CallKind.MAIN])
    said = [message for message in batch.messages if message.history]
    assert [message.role for message in said] == ["user", "assistant", "user", "user", "assistant", "user", "user"]
    assert not any("get_factorial" in (message.content or "") for message in batch.messages)
    asides = [message.content or "" for message in batch.messages if not message.history]
    assert len(asides) == 3
    assert all(text.startswith("I have *added these files to the chat*") for text in asides)


def test_the_rules_behind_a_prompt_do_not_change_its_key() -> None:
    bare = Message("user", (Text("Do the work."),))
    ruled = Message("user", (Text("Do the work.\n\n# *SEARCH/REPLACE block* Rules:\n\nEvery …"),))
    assert AGENT.key(bare) == AGENT.key(ruled)


def test_words_of_the_program_about_an_interruption_are_no_part_of_what_was_said() -> None:
    asked, stopped = (Message("user", (Text(f"Do it.{end}"),)) for end in ("", "\n^C KeyboardInterrupt"))
    assert AGENT.key(asked) == AGENT.key(stopped)
    for text in ("I see that you interrupted my previous reply.", "Ok", "Ok."):
        assert AGENT.key(Message("assistant", (Text(text),))) is None


def test_whole_files_are_written_and_settled_by_the_commit() -> None:
    batch = conversation(AGENT, *[call for call in requests("aider")[5:] if AGENT.kind(call) is CallKind.MAIN])
    assert [line for line in told(batch) if not line.startswith("read")] == [
        "write applied: input.txt",
        "write applied: docs/new.md",
    ]


@pytest.mark.parametrize("path", ["src/app.py", "**src/app.py**", "`src/app.py`:", "### src/app.py"])
def test_a_path_is_known_in_what_models_put_around_it(path: str) -> None:
    (use,) = _uses(f"Text.\n\n{path}\n```python\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```\n")
    assert use.input == {"path": "src/app.py", "search": "a\n", "replace": "b\n"}


@pytest.mark.parametrize(
    ("side", "taken"),
    [
        ("a\n\n", "a\n"),
        ("a\n\n\n", "a\n\n"),
        ("# src/f.py\na\n", "a\n"),
        ("```python\na\n```\n", "a\n"),
        ("f.py\n", ""),
    ],
)
def test_a_side_of_a_block_loses_what_the_program_takes_for_its_wrapping(side: str, taken: str) -> None:
    """Compared with aider's own function for 30,000 blocks; its message about a block quotes it as it came."""
    (use,) = _uses(f"src/f.py\n````\n<<<<<<< SEARCH\n=======\n{side}>>>>>>> REPLACE\n````\n")
    (action,) = AGENT.actions(use)
    assert action.replacements == (Replacement("", taken),)
    assert use.input["replace"] == side


def test_a_block_without_a_path_is_about_the_file_of_the_block_before() -> None:
    block = "```\n<<<<<<< SEARCH\n{}\n=======\nx\n>>>>>>> REPLACE\n```\n"
    first, second = _uses(f"f.py\n{block.format('a')}\n\n\n{block.format('b')}")
    assert (first.input["path"], second.input["path"]) == ("f.py", "f.py")


def test_the_path_may_stand_behind_the_fence() -> None:
    (use,) = _uses("```python\nf.py\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```\n")
    assert use.input["path"] == "f.py"


def test_an_answer_with_a_broken_block_holds_no_edit() -> None:
    good = "f.py\n```\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```\n"
    assert _uses(f"{good}\ng.py\n```\n<<<<<<< SEARCH\na\n") == ()


def test_shell_suggestions_and_code_without_a_path_are_no_files() -> None:
    assert _uses("Run this:\n\n```bash\nls\n```\n\nscript.sh\n```bash\nls\n```\n\nLike so:\n```python\nx\n```\n") == ()


def test_hunks_of_a_unified_diff_are_edits_without_line_numbers() -> None:
    text = "```diff\n--- a/f.py\n+++ b/f.py\n@@ ... @@\n one\n-two\n+2\n@@ ... @@\n-three\n```\n"
    first, second = _uses(text)
    assert [action.replacements for use in (first, second) for action in AGENT.actions(use)] == [
        (Replacement("one\ntwo\n", "one\n2\n", everywhere=True),),
        (Replacement("three\n", "", everywhere=True),),
    ]


def test_hunks_of_several_files_may_stand_in_one_fence_and_the_same_hunk_counts_once() -> None:
    text = (
        "```diff\n--- a/f.py\n+++ b/f.py\n@@ @@\n-a\n+b\n\n--- g.py\n+++ b/g.py\n@@ @@\n-a\n+b\n@@ @@\n-a\n+b\n```\n"
        "```diff\n@@ @@\n-c\n+d\n   \n```\n"
    )
    assert [use.input for use in _uses(text)] == [
        {"path": "f.py", "hunk": "-a\n+b\n"},
        {"path": "b/g.py", "hunk": "-a\n+b\n"},
        {"path": "b/g.py", "hunk": "-c\n+d\n   \n"},
    ]


def test_an_edit_is_settled_by_what_comes_behind_the_commit() -> None:
    uses = _uses("f.py\n```\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```\n")
    committed = "I committed the changes with git hash abc1234 & commit msg: fix: it"
    assert _settled(uses, committed) == [Status.REQUESTED]
    assert _settled(uses, committed, "Now the next thing.") == [Status.APPLIED]
    assert _settled(uses, "I updated the files.", "Now the next thing.") == [Status.APPLIED]


def test_nothing_is_claimed_of_edits_that_no_commit_followed() -> None:
    uses = _uses("f.py\n```\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```\n")
    assert _settled(uses, "Now the next thing.") == [Status.REQUESTED]


@pytest.mark.parametrize(
    "said",
    [
        "f.py\n```\n<<<<<<< SEARCH\na\n\n^^^ Expected `=======`",
        "I didn't see any properly formatted edits in your reply?!",
        "# 1 SEARCH/REPLACE block failed to match!\n\n## SearchReplaceNoExactMatch: …",
    ],
)
def test_edits_that_the_program_did_not_take_failed(said: str) -> None:
    uses = _uses("f.py\n```\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```\n")
    assert _settled(uses, said) == [Status.FAILED]


def test_files_with_any_fence_and_without_a_last_newline_are_read_whole() -> None:
    text = f"{FILES}\na.md\n<source>\n```\nx\n```\n</source>\n\nb c.txt\n<source>\nlast</source>\n"
    shown = AGENT.attached((Text("Do it."), Text(text)))
    assert [(path, answer.lines, answer.whole, answer.final_newline) for path, answer in shown] == [
        ("a.md", ((1, "```"), (2, "x"), (3, "```")), True, True),
        ("b c.txt", ((1, "last"),), True, False),
    ]


@pytest.mark.parametrize(
    ("text", "edit", "after"),
    [
        ("a\nb\n", Replacement("b\n", "c\n"), "a\nc\n"),
        ("a\nb", Replacement("b\n", "c\n"), "a\nc\n"),
        ("a\na\n", Replacement("a\n", "c\n"), "c\na\n"),
        ("ab\n", Replacement("a\n", "c\n"), None),
        ("    if x:\n        y\n", Replacement("if x:\n    y\n", "if z:\n    y\n"), "    if z:\n        y\n"),
        ("a\nb\n", Replacement("\na\nb\n", "c\n"), "c\n"),
        ("a\n1\n2\nb\n", Replacement("a\n...\nb\n", "A\n...\nB\n"), "A\n1\n2\nB\n"),
        ("a\n", Replacement("", "b\n"), "a\nb\n"),
        ("", Replacement("", "b\n"), "b\n"),
    ],
)
def test_an_edit_finds_its_place_as_the_program_does(text: str, edit: Replacement, after: str | None) -> None:
    assert AGENT.replace(text, edit) == after


@pytest.mark.parametrize(
    ("text", "edit", "after"),
    [
        ("a long line\nb\na long line\n", Replacement("a long line\n", "c\n", everywhere=True), "c\nb\nc\n"),
        ("ab\n", Replacement("b\n", "c\n", everywhere=True), "ac\n"),
        ("a\na\n", Replacement("a\n", "c\n", everywhere=True), None),
        ("a\n", Replacement("a\n", "", everywhere=True), None),
        ("\na\nb", Replacement("b\n", "c\n", everywhere=True), "a\nc\n"),
        ("a\n", Replacement("", "b\n", everywhere=True), "a\nb\n"),
        ("a\nx\nb\nx\n", Replacement("x\n", "y\n", whole_lines=True, anchor="b"), "a\nx\nb\ny\n"),
    ],
)
def test_a_hunk_finds_its_places_as_the_program_does(text: str, edit: Replacement, after: str | None) -> None:
    """Compared with aider's own functions for many more."""
    assert AGENT.replace(text, edit) == after


def test_an_answer_that_names_a_file_outside_of_the_chat_is_not_taken() -> None:
    uses = _uses("f.py\n```\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```\n")
    said = "I added these files to the chat: f.py\nLet me know if there are others we should add."
    (result,) = AGENT.results_in([Text(said)], uses)
    assert AGENT.answer(uses[0], result).status is Status.FAILED
    assert AGENT.answer(uses[0], result).note == "not taken: I added these files to the chat: f.py"


def test_a_patch_that_breaks_off_was_done_as_far_as_the_file_that_is_named() -> None:
    files = ("*** Update File: a.py\n-a\n+b\n", "*** Delete File: b.py\n", "*** Delete File: c.py\n")
    (use,) = _uses(f"*** Begin Patch\n{''.join(files)}*** End Patch\n")
    (result,) = AGENT.results_in([Text("Error applying action 'Delete' to b.py: no such file")], (use,))
    assert [answer.status for answer in AGENT.answer(use, result).each] == [
        Status.APPLIED,
        Status.FAILED,
        Status.FAILED,
    ]
    assert _settled((use,), "Error parsing patch content: Unknown or misplaced line") == [Status.FAILED]


def test_other_programs_with_a_similar_prompt_are_not_taken_for_it() -> None:
    system = {"role": "system", "content": "Act as an expert software developer."}
    call = facts("POST", "/v1/chat/completions", {}, {"model": "m", "messages": [system, system]})
    assert not AGENT.recognises(call)
    assert AGENT.recognises(_main("Do it."))
