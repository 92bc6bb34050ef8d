"""A scripted provider, a recorder before it and a real agent before that; and the oracle: what the provider knows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ocproxy.demo.provider import Provider, Served
from ocproxy.demo.script import Script
from tests.real_agents.client import Client
from tests.real_agents.installation import Installation
from tests.real_agents.work import plant
from tests.support.provider import provider_in_background
from tests.support.record_corpus import name_of_test, note_of_test, record, stage_names
from tests.support.recorder import Recorder
from tests.support.scripted import Scripted, dialect_of, request_of

Json = dict[str, Any]
A = TypeVar("A", bound=Client)


@dataclass
class Stage(Generic[A]):
    """Everything of one experiment. `before` is a copy of the tree as it was when the session began."""

    provider: Provider
    recorder: Recorder
    agent: A
    workdir: Path
    before: Path

    def session(self, opencode_id: str) -> Json:
        """The one top session with the agent's own id."""
        found = [row for row in self.sessions() if row["opencode_id"] == opencode_id and not row["parent_id"]]
        assert len(found) == 1, f"{len(found)} sessions for {opencode_id}: {self.sessions()}"
        return found[0]

    def sessions(self) -> list[Json]:
        rows: list[Json] = self.recorder.ask("sessions")
        return rows

    def show(self, id_: str) -> Json:
        shown: Json = self.recorder.ask("show", id_)
        return shown

    def asked(self, session: str | None, agent: str | None = None) -> list[Served]:
        """The conversation's own requests of one session (and subagent) in order, as the provider saw them."""
        return [
            served
            for served in list(self.provider.log)
            if self.agent.is_turn(served) and self.agent.whose(served) == (session, agent)
        ]

    def turns(self) -> list[Served]:
        """The conversation's own requests of all sessions."""
        return [served for served in list(self.provider.log) if self.agent.is_turn(served)]

    def copy_of_start(self, name: str) -> Path:
        return Path(shutil.copytree(self.before, self.before.parent / name))


@contextmanager
def staged(
    folder: Path,
    client: type[A],
    installation: Installation,
    scripts: Callable[[Path], Iterable[Script]],
    manners: Callable[..., Provider] = Scripted,
) -> Iterator[Stage[A]]:
    """`scripts` are made for the working folder that they are given."""
    workdir = folder / "work"
    workdir.mkdir(parents=True)
    plant(workdir)
    before = Path(shutil.copytree(workdir, folder / "before"))
    with provider_in_background(scripts(workdir), manners=manners) as provider:
        more = tuple(word for name in ("openai", "gemini") for word in ("--upstream", f"{name}={provider.url}"))
        recorder = Recorder(folder / "recorder" / "data", provider.url, arguments=more)
        with recorder.serving():
            agent = client(installation, folder / "home", workdir, recorder.url)
            yield Stage(provider, recorder, agent, workdir, before)
    if place := os.environ.get("RECORD_CORPUS"):  # see `tests.support.record_corpus`
        test = os.environ["PYTEST_CURRENT_TEST"]
        program = f"{installation.name} {installation.version}"
        record(recorder.data, Path(place) / name_of_test(test), stage_names(folder), note_of_test(test), program)


def conversation(turns: list[Served]) -> list[Json]:
    """All messages in the order in which they first crossed the wire: of each request what is behind the last answer
    in it, then the provider's own answer to it. Agents change old messages later; what counts is what was said."""
    said: list[Json] = []
    for turn in turns:
        dialect = dialect_of(turn)
        assert dialect and turn.reply
        messages = dialect.history(request_of(turn))
        answers = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
        said += messages[answers[-1] + 1 :] if answers else messages
        said.append(dialect.said(turn.reply))
    return _with_ids(said)


def _with_ids(said: list[Json]) -> list[Json]:
    """Results without an id answer the calls before them in their order (Gemini's API)."""
    waiting: list[str] = []
    for message in said:
        for block in message["content"] if isinstance(message["content"], list) else []:
            if block["type"] == "tool_use":
                waiting.append(block["id"])
            elif block["type"] == "tool_result" and not block["tool_use_id"]:
                block["tool_use_id"] = waiting.pop(0)
    return said


def reduced(message: Json) -> tuple[str, list[tuple[str, ...]]]:
    """A message of the wire as (role, what each block says)."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return message["role"], [_reduced_block(block) for block in blocks]


def _reduced_block(block: Json) -> tuple[str, ...]:
    match block["type"]:
        case "text":
            return ("text", block["text"])
        case "thinking":
            return ("reasoning", block["thinking"], str(block["signature"]))
        case "tool_use":
            return ("tool_use", block["id"], block["name"], json.dumps(block["input"], sort_keys=True))
        case "tool_result":
            content = block["content"]
            texts = [content] if isinstance(content, str) else [part["text"] for part in content if "text" in part]
            return ("tool_result", block["tool_use_id"], "\n".join(texts), str(block.get("is_error")))
    raise AssertionError(f"the oracle does not know the block {block['type']!r}")


def recorded(message: Json) -> tuple[str, list[tuple[str, ...]]]:
    """A message of `ocproxy show --json` in the same form."""
    return message["role"], [_recorded_part(part) for part in message["parts"]]


def _recorded_part(part: Json) -> tuple[str, ...]:
    match part["type"]:
        case "text":
            return ("text", part["text"])
        case "reasoning":
            return ("reasoning", part["text"], str(part.get("signature")))
        case "tool_use":
            return ("tool_use", part["id"], part["name"], json.dumps(part["input"], sort_keys=True))
        case "tool_result":
            return ("tool_result", part["tool_use_id"], part["text"], str(part.get("is_error")))
    raise AssertionError(f"the oracle does not know the part {part['type']!r}")


def apply(diff: str, tree: Path) -> None:
    """`git apply` of one diff, which may be empty; whitespace is none of its business."""
    command = ["git", "apply", "--allow-empty", "--whitespace=nowarn", "-"]
    done = subprocess.run(command, cwd=tree, input=diff.encode("utf-8", "surrogateescape"), capture_output=True)
    assert done.returncode == 0, f"git apply says {done.stderr.decode()}\nof\n{diff}"
