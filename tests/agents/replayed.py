"""Requests of real runs of agents, cleaned and shortened, decoded as ocproxy decodes them, and what follows from them.

A file holds the requests of one or more runs in the order in which they were sent: method, path, the headers that say
who calls, and the body. System prompts and long texts are cut, of tools only the names are left, ids and folders are
replaced; tool calls and results are as they were. The model was scripted.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ocproxy.agents.base import Agent, CallFacts
from ocproxy.agents.catalog import agent_of
from ocproxy.ingest.conversation import Conversation
from ocproxy.ingest.interpret import protocols
from ocproxy.model import Batch, FileEvent, Reply, SessionRow, Status

_DATA = Path(__file__).parent / "data"
_AT = datetime(2026, 1, 1, tzinfo=UTC)
WORKDIR = "/home/user/project"


def requests(name: str) -> list[CallFacts]:
    """The calls of the file, in their order, without replies."""
    return [facts(**call) for call in json.loads((_DATA / f"{name}.json").read_text("utf-8"))]


def facts(
    method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None, reply: Reply | None = None
) -> CallFacts:
    """A call with this request, decoded by the protocol that takes it."""
    bare = path.partition("?")[0]
    protocol = next((found for found in protocols() if found.matches(method, bare, headers)), None)
    request = None
    if protocol is not None and body is not None:
        request, problems = protocol.decode_request(bare, json.dumps(body).encode())
        assert problems == []
    return CallFacts(method, path, headers, {}, None, request, reply)


def conversation(agent: Agent, *calls: CallFacts, workdir: str = WORKDIR) -> Batch:
    """What one conversation stores when these calls come one after the other."""
    session, batch = Conversation(SessionRow("s", "s", agent.name, workdir, _AT, _AT), agent), Batch()
    for number, call in enumerate(calls):
        assert agent_of(call) is agent
        assert call.request is not None
        session.hear(call.request.messages, str(number), _AT, batch)
    return batch


def events(batch: Batch) -> list[FileEvent]:
    """The events in their order, each as it was told last."""
    return sorted({event.id: event for event in batch.file_events}.values(), key=lambda event: event.ordinal)


def told(batch: Batch) -> list[str]:
    """The events as lines: type, status, name of the file or command, exit code."""
    lines = []
    for event in events(batch):
        what = (event.file_path or "").removeprefix(f"{WORKDIR}/") if event.command is None else event.command
        code = "" if event.exit_code is None else f" {event.exit_code}"
        lines.append(f"{event.event_type.value} {event.status.value}{code}: {what}")
    return lines


def tree_after(name: str) -> dict[str, str]:
    """The files that the recorded run left; those in its scratch folder, which only commands changed, are left out."""
    return _trees(name)["after"]


def rebuilt(folder: Path, name: str, batch: Batch) -> dict[str, str]:
    """The files that the run found, after all applied events of the batch, by `git apply`."""
    for file, text in _trees(name)["before"].items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(text.encode())
    for event in events(batch):
        if event.status is Status.APPLIED and event.diff:
            command = ["git", "apply", "--whitespace=nowarn", "-"]
            done = subprocess.run(command, cwd=folder, input=event.diff.encode(), capture_output=True)
            assert done.returncode == 0, f"{event.file_path}: {done.stderr.decode()}"
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes().decode() for path in files}


def _trees(name: str) -> dict[str, dict[str, str]]:
    """A file `NAME_trees.json` holds the files before and after the recorded run."""
    found: dict[str, dict[str, str]] = json.loads((_DATA / f"{name}_trees.json").read_text("utf-8"))
    return found
