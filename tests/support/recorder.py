"""A running `ocproxy serve` and the commands that ask it, as child processes: what a user's shell would do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocproxy import instance
from tests.support.provider import wait_until

_COMMAND_SECONDS = 60


@dataclass
class Recorder:
    """One data folder, and the server that records into it while `serving`."""

    data: Path
    upstream: str
    settings: str = ""  # the configuration file, TOML
    arguments: tuple[str, ...] = ()  # more of `ocproxy serve`
    variables: dict[str, str] = field(default_factory=dict)
    before_exec: Callable[[], None] | None = None  # run in the server's process before its program begins
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        running = instance.running(self.data)
        assert running, f"no server runs on {self.data}"
        return running.url

    @property
    def log(self) -> str:
        """What all servers of this recorder wrote on their standard error."""
        return (self.data.parent / "serve.log").read_text("utf-8", "replace")

    @contextmanager
    def serving_later(self) -> Iterator[Recorder]:
        """For a block that starts the server itself: it is stopped at the end, or killed when the block failed."""
        try:
            yield self
        except BaseException:
            self.kill()
            raise
        self.stop()

    @contextmanager
    def serving(self) -> Iterator[Recorder]:
        """Serves while the block runs; asserts that SIGTERM then ends it with 0, if it was not killed inside."""
        self.start()
        with self.serving_later():
            yield self

    def start(self, port: int = 0) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        instance.erase(self.data)  # what a killed server left must not be taken for the new one
        with open(self.data.parent / "serve.log", "ab") as log:
            command = self._command("serve", "--port", str(port), "--upstream", f"anthropic={self.upstream}")
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self.before_exec,
            )
        process = self.process
        wait_until(lambda: process.poll() is not None or instance.running(self.data) is not None, "ocproxy serves")
        assert process.poll() is None, f"`ocproxy serve` ended with {process.returncode}:\n{self.log}"

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(45)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"`ocproxy serve` did not end after SIGTERM:\n{self.log}") from None
        self.process = None
        assert code == 0, f"`ocproxy serve` ended with {code}:\n{self.log}"

    def kill(self) -> None:
        """SIGKILL to supervisor, control and relays, all at once."""
        if self.process is not None:
            for pid in self.processes():
                with suppress(ProcessLookupError):  # the death of its parent was faster
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def processes(self, module: str = "") -> list[int]:
        """Process ids of the server: the supervisor first, then its children; or only those that run `module`."""
        assert self.process is not None
        found = [self.process.pid]
        for pid in found:
            with suppress(FileNotFoundError):  # it ended meanwhile
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split())
        return [pid for pid in found if module in _command_line(pid)]

    def run(self, *arguments: str, code: int | None = 0, seconds: float = _COMMAND_SECONDS) -> str:
        """Standard output of an `ocproxy` command. Asserts its exit code unless `code` is None."""
        done = subprocess.run(self._command(*arguments), env=self._environment(), capture_output=True, timeout=seconds)
        said = done.stderr.decode("utf-8", "replace")
        assert code is None or done.returncode == code, f"ocproxy {arguments} ended with {done.returncode}:\n{said}"
        return done.stdout.decode("utf-8", "surrogateescape")

    def ask(self, *arguments: str) -> Any:
        """The answer of an `ocproxy … --json` command."""
        return json.loads(self.run(*arguments, "--json"))

    def flush(self) -> None:
        """Waits for the ingest: long enough for 10,000 calls of killed servers, on a busy machine."""
        self.run("flush", "--timeout", "150", seconds=180)

    def _command(self, *arguments: str) -> list[str]:
        file = self.data.parent / "settings.toml"
        file.write_text(self.settings, "utf-8")
        return [sys.executable, "-m", "ocproxy", "--config", str(file), "--data-dir", str(self.data), *arguments]

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("OCPROXY_")}
        return {**own, **self.variables}


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
