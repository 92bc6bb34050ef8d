"""How agents ask for a summary and go on from it, on recorded requests: Qwen Code, Gemini CLI, pi, Cline and aider."""

from __future__ import annotations

import msgspec

from ocproxy.agents.aider import AGENT as AIDER
from ocproxy.agents.base import CallFacts, Flattened
from ocproxy.agents.catalog import agent_of
from ocproxy.agents.cline import AGENT as CLINE
from ocproxy.agents.gemini_cli import AGENT as GEMINI
from ocproxy.agents.pi import AGENT as PI
from ocproxy.agents.qwen_code import AGENT as QWEN
from ocproxy.model import CallKind, Message, Text, ToolUse
from tests.agents.replayed import WORKDIR, conversation, events, facts, requests, told

# Places in the recording: the requests for a summary, and the one that goes on from it.
SUMMARIES = {"qwen-code": (0, 1), "gemini-cli": (3, 4), "pi": (6, 8, 9), "cline": (10, 12), "aider": (13, 15)}
AFTER = {"qwen-code": 2, "gemini-cli": 5, "pi": 7, "cline": 11, "aider": 14}
SAID = "A file was read and one was written. [[script:second]]"


def messages(place: int) -> tuple[Message, ...]:
    request = requests("compactions")[place].request
    assert request is not None
    return request.messages


def test_requests_for_a_summary_are_told_from_the_conversation() -> None:
    for place, call in enumerate(requests("compactions")):
        (name,) = [name for name in AFTER if place in (*SUMMARIES[name], AFTER[name])]
        agent = agent_of(call)
        kind = CallKind.MAIN if place == AFTER[name] else CallKind.SUMMARY
        assert (agent.name, agent.kind(call)) == (name, kind)


def test_pi_writes_the_conversation_into_one_text() -> None:
    turn, second, later = (requests("compactions")[place] for place in SUMMARIES["pi"])
    assert PI.flattened(turn) == Flattened(("[[script:first]] Do it.",))
    flat = PI.flattened(second)
    assert flat is not None
    assert flat.texts == ("Reading.", "alpha\nbeta\ngamma")
    assert flat.before == f"No prior history.\n\n---\n\n**Turn Context (split turn):**\n\n{SAID}"
    flat = PI.flattened(later)
    assert flat is not None
    assert flat.texts == ("second is done.",)
    assert flat.before is not None
    assert flat.before.startswith(f"{SAID}\n\n<read-files>")
    assert PI.flattened(requests("compactions")[AFTER["pi"]]) is None


def test_long_results_and_other_labels_in_a_flattened_conversation_are_beginnings() -> None:
    text = '[User]: make it\n\n[Assistant tool calls]: bash(command="make")\n\n[Tool result]: made'
    cut = "\n\n[... 17 more characters truncated]\n\n[Assistant]: It says\n\n[INFO]: all is well"
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You are a context summarization assistant."},
            {"role": "user", "content": f"<conversation>\n{text}{cut}\n</conversation>\n\nCreate a summary."},
        ],
    }
    flat = PI.flattened(facts("POST", "/v1/chat/completions", {"user-agent": "pi/1.6.0 (linux; x64)"}, body))
    assert flat == Flattened(("make it", "made", "It says"))


def test_cline_writes_the_conversation_into_one_text() -> None:
    first, second = (requests("compactions")[place] for place in SUMMARIES["cline"])
    assert CLINE.flattened(first) == Flattened(("[[script:first]] Do it.",))
    flat = CLINE.flattened(second)
    assert flat is not None
    assert flat.texts == ("Reading.",)
    assert flat.before is not None
    assert flat.before.endswith("## Files\nRead:\n- none\nModified:\n- none")


def test_the_prompts_in_the_text_that_aider_writes_are_the_conversation() -> None:
    """It restored the history from its file, with a part of an answer twice; later it begins with the summary."""
    first, second = (requests("compactions")[place] for place in SUMMARIES["aider"])
    assert AIDER.flattened(first) == Flattened(("Do the work, please, on that file.",))
    flat = AIDER.flattened(second)
    assert flat is not None
    assert flat.texts[0].startswith("I spoke to you previously about a number of things.\nI asked you to ")
    assert flat.texts[1:] == ("And now more of it.",)
    (told, *_) = [message for message in messages(AFTER["aider"]) if AIDER.key(message) is not None]
    assert told.parts == (Text(flat.texts[0]),)


def test_the_thanks_for_a_summary_are_no_answer_of_a_model() -> None:
    for agent, name in ((QWEN, "qwen-code"), (GEMINI, "gemini-cli")):
        thanked = messages(AFTER[name])
        assert thanked[1].parts == (Text("Got it. Thanks for the additional context!"),)
        assert agent.recap(thanked) == 2
        assert agent.recap(messages(SUMMARIES[name][0])) == 0
        assert agent.recap(thanked[:1]) == 0
        merged = Message("assistant", (*thanked[1].parts, ToolUse("t1", "read_file", {})))
        assert agent.recap([thanked[0], merged]) == 0  # the call is the model's


def test_files_that_qwen_code_shows_again_are_reads_and_whole() -> None:
    call = requests("compactions")[AFTER["qwen-code"]]
    shown = conversation(QWEN, call)
    assert told(shown) == ["read applied: first.txt", "read applied: input.txt"]
    assert {event.tool_name for event in shown.file_events} == {"attachment"}
    (first, _) = QWEN.attached(messages(AFTER["qwen-code"])[2].parts)
    assert first[0] == f"{WORKDIR}/first.txt"
    assert (first[1].lines, first[1].whole, first[1].final_newline) == (((1, "by first"),), True, True)


def test_an_edit_of_a_file_that_qwen_code_showed_again_has_its_true_lines() -> None:
    call = requests("compactions")[AFTER["qwen-code"]]
    assert call.request is not None
    given = {"file_path": f"{WORKDIR}/input.txt", "old_string": "gamma", "new_string": "delta"}
    answer = Message("assistant", (ToolUse("t1", "edit", given),))
    request = msgspec.structs.replace(call.request, messages=(*call.request.messages, answer))
    changed = CallFacts(call.method, call.path, call.headers, {}, None, request, None)
    event = events(conversation(QWEN, changed))[-1]
    assert event.certainty == "exact"
    assert event.diff is not None
    assert "@@ -1,3 +1,3 @@\n alpha\n beta\n-gamma\n+delta\n" in event.diff


def test_a_shown_file_is_as_it_is_on_the_disk() -> None:
    for content, lines, is_ended in (
        ("", (), False),
        ("no end", ((1, "no end"),), False),
        ("```\ncode\n```\n", ((1, "```"), (2, "code"), (3, "```")), True),
    ):
        fence = "````" if "```" in content else "```"
        text = f"Recently accessed file (full current content embedded):\n\n## /w/a.md\n\n{fence}\n{content}\n{fence}"
        ((path, answer),) = QWEN.attached([Text(text)])
        assert (path, answer.lines, answer.whole, answer.final_newline) == ("/w/a.md", lines, True, is_ended)
    assert QWEN.attached([Text("Recently accessed file (full current content embedded):\n\n## /w/a.md")]) == ()
