"""What a test needs of a real agent: how to install it, run it against a base URL, and what tools its model calls.

One module of `tests/real_agents/clients` per agent. It defines a subclass of `Client` and `VARIANTS`, the ways of
running it that differ on the wire (protocols, models, login); `test_everything.py` plays the whole script in each.
"""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ocproxy.demo.provider import Provider, Served
from ocproxy.demo.script import Script
from tests.real_agents.installation import Installation, Package
from tests.real_agents.work import Tools
from tests.support.scripted import Scripted, dialect_of, request_of

KEY = "a-key-that-opens-nothing-at-all"
# A run of a dozen turns takes 10 s on a busy machine with two cores.
_RUN_SECONDS = 120


def litellm_settings(base_url: str) -> dict[str, str]:
    """Environment variables of an agent that asks its models by litellm: where they are, its key, no updates."""
    return {
        "OPENAI_API_BASE": f"{base_url}/v1",
        "OPENAI_API_KEY": KEY,
        "ANTHROPIC_API_BASE": base_url,
        "ANTHROPIC_API_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


@dataclass
class Finished:
    """One run that ended well. `session` is the agent's own id, "" where it tells none, `result` its last words."""

    session: str
    result: str


@dataclass
class Client(ABC):
    """An agent in `workdir` against `base_url`, with a home of its own that keeps its sessions between runs."""

    installation: Installation
    home: Path
    workdir: Path
    base_url: str  # of ocproxy, without a path
    variables: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)  # of the variant: protocol, model, …

    package: ClassVar[Package]

    @abstractmethod
    def command(self, prompt: str, *arguments: str) -> list[str]:
        """The command line of one run without questions. Writes the configuration into `home` where there is one."""

    @abstractmethod
    def continued(self) -> tuple[str, ...]:
        """The arguments with which the next run goes on with the newest session."""

    def settings(self) -> dict[str, str]:
        """Environment variables of this agent: where its provider is, its key, no updates, no telemetry."""
        return {}

    def read_result(self, output: str) -> Finished:
        """What a run's standard output says."""
        return Finished("", output.strip())

    def whose(self, served: Served) -> tuple[str | None, str | None]:
        """(session id, subagent id) that a request names, as the provider sees it. (None, None): it names none."""
        return None, None

    def is_turn(self, served: Served) -> bool:
        """A request of the conversation itself: an answer with tools at hand, not a title, a probe or a count."""
        dialect = dialect_of(served)
        return dialect is not None and bool(dialect.tools(request_of(served)))

    def counts(self, served: Served) -> bool:
        """Whether a request is known to be made for a session: what it uses counts there."""
        return True

    def start(self, prompt: str, *arguments: str) -> subprocess.Popen[str]:
        command = self.command(prompt, *arguments)
        return subprocess.Popen(
            command,
            cwd=self.workdir,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, prompt: str, *arguments: str) -> Finished:
        return self.finish(self.start(prompt, *arguments))

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        name = self.package.name
        try:
            output, errors = process.communicate(timeout=_RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            raise AssertionError(f"{name} did not end in {_RUN_SECONDS} s:\n{output}\n{errors}") from None
        assert process.returncode == 0, f"{name} failed with {process.returncode}:\n{output}\n{errors}"
        return self.read_result(output)

    def environment(self) -> dict[str, str]:
        """Nothing of the user's own agent; loopback only."""
        self.home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": self.installation.path,
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            "LANG": "C.UTF-8",
            "CI": "1",
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **self.settings(),
            **self.variables,
        }


@dataclass(frozen=True, eq=False)  # compared by identity, so that pytest puts the tests of one run together
class Variant:
    """One way of running an agent, and what the record must say of it."""

    name: str
    client: type[Client]
    tools: Tools
    agent: str  # the record's name of the agent
    protocol: str
    options: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    manners: Callable[..., Provider] = Scripted
    exit_codes: bool = True  # the wire says them
    failures: bool = True  # the wire says which commands failed
    says_reads: bool = True  # the wire says which reads succeeded
    says_workdir: bool = True
    files: bool = True  # its model can read and change files, not by commands alone
    commands: bool = True
    last_command: str = ""  # ends the run: nobody is told what became of it
    in_text: bool = False  # it offers its model no tools: edits or commands are written into the answers
    told: tuple[tuple[str, str, str], ...] = ()  # (type, path, status) of such edits, in the order of the script
    script: Callable[[str, Path, Tools], Script] | None = None  # another script than `work.everything`

    def __str__(self) -> str:
        return self.name
