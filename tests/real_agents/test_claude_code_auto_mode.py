"""Claude Code's auto mode: what it asks of its provider about each call, and what the record says of a call refused.

Seen in 2.1.332: it makes no call of its own for that. Its requests name what is to be watched (`safeguards`), and the
end of an answer that was streamed says of each call whether it is dangerous (`safeguard_results`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocproxy.demo.provider import Served
from ocproxy.demo.script import Script, Step
from tests.real_agents.clients.claude_code import TOOLS, ClaudeCode
from tests.real_agents.installation import Installation
from tests.real_agents.oracle import assert_nothing_is_told_twice, assert_the_tree_is_told, statuses
from tests.real_agents.stage import conversation, recorded, reduced, staged
from tests.support.scripted import Scripted, request_of

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

Json = dict[str, Any]
_KIND = "dangerous_tool_use"


class Guarding(Scripted):
    """Flags calls that remove something, where a request asks for it."""

    async def _stream_events(
        self, served: Served, writer: asyncio.StreamWriter, reply: Json, stream: Iterable[bytes | None]
    ) -> None:
        watched = [guard["type"] for guard in request_of(served).get("safeguards") or []]
        if _KIND in watched:
            stream = _judged(stream, reply)
        await super()._stream_events(served, writer, reply, stream)


def _judged(stream: Iterable[bytes | None], reply: Json) -> Iterator[bytes | None]:
    uses = [block for block in reply["content"] if block["type"] == "tool_use"]
    verdicts = {use["id"]: _verdict("rm -f" in json.dumps(use["input"])) for use in uses}
    results = [{"type": _KIND, "status": {"type": "available", "tool_uses": verdicts}}]
    for event in stream:
        name, _, data = (event or b"").partition(b"\ndata: ")
        if name == b"event: message_delta":
            told = json.loads(data)
            told["delta"]["safeguard_results"] = results
            event = name + b"\ndata: " + json.dumps(told).encode() + b"\n\n"
        yield event


def _verdict(is_flagged: bool) -> Json:
    if is_flagged:
        return {"type": "evaluated", "outcome": "flagged", "explanation": "It removes a file"}
    return {"type": "evaluated", "outcome": "not_flagged"}


def scripts(folder: Path) -> list[Script]:
    made = (TOOLS.bash("mkdir -p made && echo one"), TOOLS.write(folder / "new.txt", "new\n"))
    more = (TOOLS.bash("rm -f scratch/nothing.txt"), TOOLS.read(folder / "README.md"))
    return [Script("work", (Step(text="Two.", calls=made), Step(text="More.", calls=more), Step(text="Done.")))]


def test_a_call_that_auto_mode_refuses_is_rejected_and_its_checks_are_no_messages(
    installation: Installation, tmp_path: Path
) -> None:
    with staged(tmp_path, ClaudeCode, installation, scripts, Guarding) as stage:
        stage.agent.options = {"asks": "yes"}
        finished = stage.agent.run("Do it.", "--permission-mode", "auto")
        stage.recorder.flush()
        (session,) = stage.sessions()
        shown = stage.show(session["id"])
        turns = stage.asked(finished.session)
        assert [request_of(turn)["safeguards"][0]["type"] for turn in turns] == [_KIND] * 3
        assert [recorded(message) for message in shown["messages"]] == [reduced(one) for one in conversation(turns)]
        assert_the_tree_is_told(stage, shown)
        assert_nothing_is_told_twice(shown)
        assert len(stage.recorder.ask("calls")) == len(stage.provider.log) == 3
    ids = [f"toolu_work_s{step}_t{place}" for step in range(2) for place in range(2)]
    assert statuses(shown) == list(zip(ids, ("applied", "applied", "rejected", "applied"), strict=True))
    assert "It removes a file" in shown["file_events"][2]["note"]
