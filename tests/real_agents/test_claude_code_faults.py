"""What goes wrong between Claude Code and its provider, and what it does then: the record tells each thing once.

Measured with 2.1.332. A failure before the stream is tried again. So is a stream that drops, unless a whole tool use
has come and the program got to it first: then it runs that tool and goes on. An error event is not tried again: the
text so far stays, and a reminder asks to resume.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.real_agents.clients.claude_code import TOOLS, ClaudeCode
from tests.real_agents.installation import Installation
from tests.real_agents.oracle import (
    assert_nothing_is_told_twice,
    assert_the_last_history_is_told,
    assert_the_tree_is_told,
    names_written,
    recorded_tries,
    tries,
)
from tests.real_agents.stage import Stage, staged
from tests.real_agents.work import short
from tests.support.scripted import Fault, Scripted

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Open = Callable[..., AbstractContextManager[Stage[ClaudeCode]]]

# The fault, then status, outcome and the beginning of the error of its call.
BROKEN = {
    "429 and retry": (Fault("work", 1, "status", 429, "Retry-After: 1\r\n"), 429, "complete", "rate_limit_error"),
    "500": (Fault("work", 1, "status", 500), 500, "complete", "api_error"),
    "529": (Fault("work", 1, "status", 529), 529, "complete", "overloaded_error"),
    "drop before the head": (Fault("work", 0, "drop before head"), 502, "upstream_disconnected", ""),
    "drop in text": (Fault("work", 1, "drop in text"), 200, "upstream_disconnected", ""),
    "drop in a tool use": (Fault("work", 0, "drop in tool use"), 200, "upstream_disconnected", ""),
    "drop between tool uses": (Fault("work", 1, "drop in tool use"), 200, "upstream_disconnected", ""),
    "drop after a tool use": (Fault("work", 0, "drop after tool use"), 200, "upstream_disconnected", ""),
    "drop after two tool uses": (Fault("work", 1, "drop after tool use"), 200, "upstream_disconnected", ""),
    "error event": (Fault("work", 1, "error event"), 200, "complete", "overloaded_error"),
}
RETRIED = ("429 and retry", "500", "529", "drop before the head", "drop in text", "drop in a tool use")
# Where a request goes on from a broken answer, the layout of the older models counts; a retry is the same request.
OLDER = ("drop after two tool uses", "error event")
PLAYED = [
    *(pytest.param(fault, (), id=f"{fault}-newest model") for fault in BROKEN),
    *(pytest.param(fault, ("--model", "claude-sonnet-4-5"), id=f"{fault}-older model") for fault in OLDER),
]


@pytest.fixture
def broken(installation: Installation, tmp_path: Path) -> Open:
    def open_(fault: Fault, pace: float = 0.0) -> AbstractContextManager[Stage[ClaudeCode]]:
        once = Fault(fault.script, fault.step, fault.what, fault.status, fault.headers)
        manners = partial(Scripted, faults=[once], pace=pace)
        return staged(tmp_path, ClaudeCode, installation, lambda workdir: [short("work", workdir, TOOLS)], manners)

    return open_


@pytest.mark.parametrize(("fault", "arguments"), PLAYED)
def test_a_turn_that_broke_is_told_once_and_right(fault: str, arguments: tuple[str, ...], broken: Open) -> None:
    given, status, outcome, error = BROKEN[fault]
    with broken(given) as stage:
        finished = stage.agent.run("[[script:work]] Do it.", *arguments)
        stage.recorder.flush()
        (session,) = stage.sessions()
        assert session["opencode_id"] == finished.session
        shown = stage.show(session["id"])
        turns = stage.asked(finished.session)
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
        assert_the_last_history_is_told(stage, shown, turns)
        assert recorded_tries(shown) == tries(turns)
        folded = stage.recorder.run("show", session["id"])
        stage.recorder.stop()
        stage.recorder.run("rebuild")
        assert stage.show(session["id"]) == shown
    assert names_written(shown) == {"work.txt"}
    harmed = [
        call for call in shown["calls"] if call["error"] or (call["status"], call["outcome"]) != (200, "complete")
    ]
    assert [(call["status"], call["outcome"]) for call in harmed] == [(status, outcome)]
    assert (harmed[0]["error"] or "").startswith(error)
    is_retried = any(count > 1 for count in recorded_tries(shown))
    assert is_retried or fault not in RETRIED, "this Claude Code goes on where older ones tried again"
    assert ("tried 2 times" in folded) == is_retried


def test_usage_of_tries_is_told_apart_and_counts_in_the_sum(broken: Open) -> None:
    with broken(BROKEN["drop in text"][0]) as stage:
        finished = stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        session = stage.session(finished.session)
        shown = stage.show(session["id"])
    calls = [call for call in shown["calls"] if call["kind"] == "main"]
    told = [(call["input_tokens"], call["output_tokens"], call["cache_read_tokens"]) for call in calls]
    assert all(None not in usage for usage in told), "the broken try told what it had read before it broke"
    assert told[1][1] == 1, "message_start counts one token; no message_delta came"
    for place, name in enumerate(("input", "output", "cache_read")):
        assert session[f"{name}_tokens"] == sum(usage[place] for usage in told)
