"""What /proc tells of a target's processes: who they are, the CPU they took, the memory they hold. Linux only."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
GONE_SECONDS = 5.0  # SIGKILL takes milliseconds; a process that writes to a slow disk may take longer


def tree(root: int) -> list[int]:
    """`root` and all processes below it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def command(pid: int) -> str:
    """The command line, its words separated by spaces; empty when the process is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of all threads so far: in nanoseconds from schedstat, where the kernel has it."""
    return sum(_cpu_of(pid) for pid in pids)


def busy_seconds(cpus: set[int]) -> float:
    """What all processes and the kernel did on these CPUs so far, what the hypervisor took away from them included."""
    ticks = 0
    for line in (PROC / "stat").read_text().splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cpus:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, numbers[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / TICKS


def memory_mb(pids: Iterable[int], field: str = "Pss") -> float:
    """`Pss` (shared pages divided among those who share them) or `Rss` of these processes."""
    total = 0
    for pid in pids:
        with suppress(OSError):  # it ended meanwhile, or belongs to another user
            for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1])
    return total / 1024


def pin(pid: int, cpus: set[int]) -> None:
    """Let all threads of a process run on these CPUs only."""
    for thread in (PROC / str(pid) / "task").iterdir():
        with suppress(ProcessLookupError):  # the thread ended meanwhile
            os.sched_setaffinity(int(thread.name), cpus)


def give_way(pid: int) -> None:
    """Let all threads of a process run only when nobody else wants the CPU."""
    for thread in (PROC / str(pid) / "task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


def kill(pids: Iterable[int]) -> None:
    """End these processes at once, in this order, and wait until they are gone."""
    waiting = list(pids)
    for pid in waiting:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + GONE_SECONDS
    while waiting and time.monotonic() < until:
        waiting = [pid for pid in waiting if (fields := _stat(pid)) and fields[0] not in "ZX"]
        time.sleep(0.005)


def _cpu_of(pid: int) -> float:
    try:
        threads = [thread / "schedstat" for thread in (PROC / str(pid) / "task").iterdir()]
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    except OSError:
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state, parent, …; empty when the process is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
