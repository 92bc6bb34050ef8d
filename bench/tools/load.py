"""The loads, and one measurement of one load on one target."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.tools import processes
from bench.tools.targets import Bed, Running

SOURCES = Path(__file__).parent
EVENTS, PAUSE_MS = 200, 20  # of a paced stream: 4 s of an agent that is told 50 words a second
FIREHOSE_EVENTS = 2000
LOOK_SECONDS = 0.5  # between two looks at the memory
TIMEOUT_SECONDS = 60  # of one load; each ends by itself long before
TEXT = 'The quick brown fox — jumps over "lazy" dogs.\n'


@dataclass(frozen=True)
class Load:
    """`connections` that send `body` again and again. Streams: deltas of `events` each, a `pause_ms` apart."""

    name: str
    connections: int
    body_bytes: int = 1000
    events: int = 0
    pause_ms: int = 0
    warm: float = 0.3
    seconds: float = 1.5
    ramp: float = 0.0
    with_ingest: bool = False  # also measured while the ingest works on what it writes

    @property
    def nominal_events(self) -> float | None:
        """Events a second when nothing is late."""
        return self.connections * 1000 / self.pause_ms if self.pause_ms else None

    def body(self) -> bytes:
        """A conversation of about `body_bytes`, with the marker that tells the mock upstream what to do."""
        marker = f"MOCK[n={self.events};d={self.pause_ms}]" if self.events else ""
        messages = [{"role": "user", "content": f"{marker} hello"}]
        request = {
            "model": "claude-sonnet-4-20250514",
            "max_tokens": 1024,
            "messages": messages,
            "stream": bool(marker),
        }
        while (missing := self.body_bytes - len(json.dumps(request))) > 80:
            role = "user" if len(messages) % 2 == 0 else "assistant"
            messages.append({"role": role, "content": (TEXT * 40)[: min(1500, missing - 60)]})
        return json.dumps(request).encode()


@dataclass
class Sample:
    """One load on one target. CPU in seconds, memory in MB, `counts` as the load generator prints them.

    `foreign`: the share of the target's CPU that went to others, such as a neighbour's work.
    """

    counts: dict[str, float]
    worker_cpu: float
    other_cpu: float
    start_seconds: float
    idle_mb: float
    idle_total_mb: float
    worker_mb: float = 0.0
    worker_rss_mb: float = 0.0
    total_mb: float = 0.0
    foreign: float = 0.0
    complaints: list[str] = field(default_factory=list)

    def value(self, key: str) -> float | None:
        """A count of the load generator; None when it had no sample."""
        found = self.counts.get(key)
        return None if found is None or found < 0 else found

    def cpu_us(self, per: str, whole: bool = False) -> float | None:
        """Microseconds of CPU for each of `requests` or `events`, of the worker or of all processes."""
        count = self.counts[per]
        if not count or not self.worker_cpu:
            return None
        return 1e6 * (self.worker_cpu + (self.other_cpu if whole else 0.0)) / count


def compile_tools(folder: Path) -> None:
    """Build the load generator and the mock upstream. Raises SystemExit without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("bench: no C compiler found (cc); the load generator is C: install gcc or clang")
    for tool in ("mock_upstream", "loadgen"):
        subprocess.run([compiler, "-O2", "-o", str(folder / tool), str(SOURCES / f"{tool}.c")], check=True)


@contextmanager
def mock_upstream(folder: Path, cpus: set[int]) -> Iterator[int]:
    """Run the mock upstream on these CPUs; yields its port."""
    with subprocess.Popen([str(folder / "mock_upstream")], stdout=subprocess.PIPE, text=True) as process:
        processes.pin(process.pid, cpus)
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().split()[1])
        finally:
            process.kill()


def measure(load: Load, running: Running, bed: Bed) -> Sample:
    """Put the load on a target that has served its first request and is at rest."""
    body = bed.folder / "body.json"
    body.write_bytes(load.body())
    numbers = (load.connections, load.warm, load.seconds, load.ramp, load.events)
    command = [str(bed.folder / "loadgen"), str(running.port), str(body), *map(str, numbers)]
    everyone = running.workers + running.others
    sample = Sample(
        counts={},
        worker_cpu=-processes.cpu_seconds(running.workers),
        other_cpu=-processes.cpu_seconds(running.others),
        start_seconds=running.start_seconds,
        idle_mb=processes.memory_mb(running.workers),
        idle_total_mb=processes.memory_mb(everyone),
    )
    began, busy = time.monotonic(), processes.busy_seconds(bed.target_cpus)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        processes.pin(process.pid, bed.load_cpus)
        for _ in range(int(TIMEOUT_SECONDS / LOOK_SECONDS)):
            try:
                output, complaints = process.communicate(timeout=LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                look_at_memory(sample, running)
        else:
            process.kill()
            raise SystemExit(f"bench: {load.name} did not end within {TIMEOUT_SECONDS} s")
    sample.worker_cpu += processes.cpu_seconds(running.workers)
    sample.other_cpu += processes.cpu_seconds(running.others)
    foreign = processes.busy_seconds(bed.target_cpus) - busy - sample.worker_cpu
    sample.foreign = max(0.0, foreign) / (time.monotonic() - began)
    sample.counts = json.loads(output)
    sample.complaints = complaints.splitlines()
    return sample


def look_at_memory(sample: Sample, running: Running) -> None:
    """Keep the highest values seen."""
    sample.worker_mb = max(sample.worker_mb, processes.memory_mb(running.workers))
    sample.worker_rss_mb = max(sample.worker_rss_mb, processes.memory_mb(running.workers, "Rss"))
    sample.total_mb = max(sample.total_mb, processes.memory_mb(running.workers + running.others))


def machine() -> str:
    """What the figures were taken on, in one line."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{model}, {os.cpu_count()} CPUs, Linux {os.uname().release}, load before the run {load}"


def filesystem(folder: Path) -> str:
    """The type of the file system that holds `folder`."""
    mounts = [line.split()[1:3] for line in _lines("/proc/mounts")]
    inside = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(inside, key=lambda entry: len(entry[0]), default=("", "?"))[1]


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8", "replace").splitlines()
