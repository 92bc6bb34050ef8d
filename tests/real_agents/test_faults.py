"""What goes wrong between Codex or opencode and the provider, and what they do then: the record tells each thing once.

Codex 0.171.0 tries again after a 429, a 500 and a stream that drops or tells an error; over a WebSocket a 429 ends its
run. Output items that were whole stay in its history, and tools of theirs are run. Refused a WebSocket with 426, it
turns to HTTP at once, with 404 after some tries. opencode 1.18.33 tries again after all of them; over Chat Completions
it runs the whole tool uses of both tries after an error event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.script import Script
from tests.real_agents.client import Client, Variant
from tests.real_agents.conftest import Opened
from tests.real_agents.oracle import (
    assert_nothing_is_told_twice,
    assert_the_tree_is_told,
    names_written,
    recorded_tries,
    statuses,
)
from tests.real_agents.stage import Stage
from tests.real_agents.work import short
from tests.support.scripted import Fault

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]

FUNCTIONS, ZSTD = "Codex, HTTP, functions", "Codex, ChatGPT login, HTTP with zstd, functions"
SOCKET, CODE = "Codex, WebSocket, functions", "Codex, WebSocket, code mode"
OPENCODE = ["opencode, anthropic", "opencode, compatible", "opencode, google", "opencode, openai"]

# The fault, then status and outcome of its call; over a WebSocket that is 101, the connection's.
BROKEN = {
    "429 and retry": (Fault("work", 1, "status", 429, "Retry-After: 1\r\n"), 429, "complete"),
    "500": (Fault("work", 1, "status", 500), 500, "complete"),
    "drop before the head": (Fault("work", 1, "drop before head"), 502, "upstream_disconnected"),
    "drop in text": (Fault("work", 1, "drop in text"), 200, "upstream_disconnected"),
    "drop in a tool use": (Fault("work", 1, "drop in tool use"), 200, "upstream_disconnected"),
    "drop after a tool use": (Fault("work", 1, "drop after tool use"), 200, "upstream_disconnected"),
    "error event": (Fault("work", 1, "error event"), 200, "complete"),
    "error event after a tool use": (Fault("work", 1, "error event after tool use"), 200, "complete"),
}
_LATE = "error event after a tool use"
_OPENCODE = ["429 and retry", "drop after a tool use", "error event"]
HARMED = [
    *((name, fault) for name in (FUNCTIONS, ZSTD) for fault in BROKEN if fault != _LATE),
    *((name, fault) for name in (SOCKET, CODE) for fault in BROKEN if fault not in ("429 and retry", _LATE)),
    *((name, fault) for name in OPENCODE for fault in _OPENCODE),
    *((OPENCODE[0], fault) for fault in ("500", "drop before the head", "drop in text", "drop in a tool use")),
    *((OPENCODE[1], fault) for fault in ("500", "drop in text", _LATE)),
]


def work(workdir: Path, variant: Variant) -> list[Script]:
    return [short("work", workdir, variant.tools)]


@contextmanager
def broken(opened: Opened, name: str, fault: Fault, **manners: Any) -> Iterator[Stage[Client]]:
    once = Fault(fault.script, fault.step, fault.what, fault.status, fault.headers)
    with opened(name, work, faults=[once], **manners) as stage:
        yield stage
        assert once.times == 0, "the fault did not happen"


def harmed(shown: Json) -> list[Json]:
    return [c for c in shown["calls"] if c["kind"] == "main" and (c["error"] or c["outcome"] != "complete")]


@pytest.mark.parametrize(("name", "fault"), HARMED)
def test_a_turn_that_broke_is_told_once_and_right(opened: Opened, name: str, fault: str) -> None:
    given, status, outcome = BROKEN[fault]
    with broken(opened, name, given) as stage:
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
        folded = stage.recorder.run("show", session["id"])
        stage.recorder.stop()
        stage.recorder.run("rebuild")
        assert stage.show(session["id"]) == shown
    assert names_written(shown) == {"work.txt"}
    ends = [(call["status"], call["outcome"]) for call in harmed(shown)]
    expected = [(101 if "WebSocket" in name else status, outcome)]
    # What was asked over a connection that the provider had just closed, the relay asks once more: nobody notices.
    assert ends == expected or (fault == "drop before the head" and not ends)
    assert ("tried 2 times" in folded) == (max(recorded_tries(shown)) > 1)


@pytest.mark.parametrize("name", [SOCKET, CODE])
def test_a_run_that_a_limit_ends_is_a_session_with_what_it_did(opened: Opened, name: str) -> None:
    with broken(opened, name, BROKEN["429 and retry"][0]) as stage:
        _, errors = stage.agent.start("[[script:work]] Do it.").communicate(timeout=120)
        assert "usage limit" in errors
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
    (call,) = harmed(shown)
    assert (call["status"], call["outcome"], call["error"][:19]) == (101, "complete", "usage_limit_reached")
    assert call is shown["calls"][-1]
    assert statuses(shown) == [("toolu_work_s0_t0", "applied")] * 2  # the command, and the file that it read
    assert call["request_message_id"] == shown["messages"][-1]["id"], "it asked with the result of that"


@pytest.mark.parametrize("name", [SOCKET])
@pytest.mark.parametrize("status", [426, 404])
def test_a_websocket_that_is_refused_is_a_probe_and_the_run_goes_on_over_http(
    opened: Opened, name: str, status: int
) -> None:
    with opened(name, work, websocket=status) as stage:
        stage.agent.run("[[script:work]] Do it.")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
        refused = sum(served.status == status for served in stage.provider.log)
    assert refused >= 1
    kinds = Counter((call["kind"], call["status"]) for call in shown["calls"])
    assert kinds == {("probe", status): refused, ("main", 200): 3}
