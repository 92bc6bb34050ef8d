"""A scripted provider, a recorder before it and a Claude Code before that; and the oracle: what the provider knows."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocproxy.demo.provider import Provider, Served
from ocproxy.demo.script import Script
from tests.real_agents.claude_code import ClaudeCode
from tests.real_agents.installation import Installation
from tests.real_agents.work import plant
from tests.support.provider import provider_in_background
from tests.support.recorder import Recorder

Json = dict[str, Any]

SESSION, AGENT = "x-claude-code-session-id", "x-claude-code-agent-id"


@dataclass
class Stage:
    """Everything of one experiment. `before` is a copy of the tree as it was when the session began."""

    provider: Provider
    recorder: Recorder
    claude: ClaudeCode
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

    def asked(self, session: str, agent: str | None = None) -> list[Served]:
        """The conversation's own requests of one session (and subagent) in order, as the provider saw them."""
        return [
            served
            for served in list(self.provider.log)
            if served.headers.get(SESSION) == session and served.headers.get(AGENT) == agent and is_turn(served)
        ]

    def copy_of_start(self, name: str) -> Path:
        return Path(shutil.copytree(self.before, self.before.parent / name))


@contextmanager
def staged(
    folder: Path,
    installation: Installation,
    scripts: Callable[[Path], Iterable[Script]],
    manners: type[Provider] = Provider,
) -> Iterator[Stage]:
    """`scripts` are made for the working folder that they are given."""
    workdir = folder / "work"
    workdir.mkdir(parents=True)
    plant(workdir)
    before = Path(shutil.copytree(workdir, folder / "before"))
    with provider_in_background(scripts(workdir), manners=manners) as provider:
        recorder = Recorder(folder / "recorder" / "data", provider.url)
        with recorder.serving():
            claude = ClaudeCode(installation, folder / "home", workdir, recorder.url)
            yield Stage(provider, recorder, claude, workdir, before)


def is_turn(served: Served) -> bool:
    """A request of the conversation itself: a model's answer with tools at hand, not a title, a probe or a count."""
    return served.method == "POST" and served.path.endswith("/messages") and bool(served.request.get("tools"))


def conversation(turns: list[Served]) -> list[Json]:
    """All messages in the order in which they first crossed the wire: of each request what is behind the last answer
    in it, then the provider's own answer to it. Agents change old messages later; what counts is what was said."""
    said: list[Json] = []
    for turn in turns:
        messages = turn.request["messages"]
        answers = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
        said += messages[answers[-1] + 1 :] if answers else messages
        assert turn.reply
        said.append({"role": "assistant", "content": turn.reply["content"]})
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
            return ("reasoning", block["thinking"], block["signature"])
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
            return ("reasoning", part["text"], part["signature"])
        case "tool_use":
            return ("tool_use", part["id"], part["name"], json.dumps(part["input"], sort_keys=True))
        case "tool_result":
            return ("tool_result", part["tool_use_id"], part["text"], str(part.get("is_error")))
    raise AssertionError(f"the oracle does not know the part {part['type']!r}")


def apply(diff: str, tree: Path) -> None:
    """`git apply` of one diff; whitespace is none of its business."""
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    done = subprocess.run(command, cwd=tree, input=diff.encode("utf-8", "surrogateescape"), capture_output=True)
    assert done.returncode == 0, f"git apply says {done.stderr.decode()}\nof\n{diff}"
