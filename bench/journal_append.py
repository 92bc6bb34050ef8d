"""Three ways to append to the journal, measured: python bench/journal_append.py [folder]

One `write` for each chunk; what the journal does (one `writev` for each loop turn); and a copy into a preallocated
memory-mapped segment. All make the same record headers, so the difference is the way to the file; none syncs. CPU time
of this process, the middle of 7 rounds; the ways take turns. Give a folder on the disk that the journal will use.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ocproxy.config import Journal
from ocproxy.exchange import Kind
from ocproxy.journal import JournalWriter
from ocproxy.journal.records import encode_header, encode_times, seed_of

ROUNDS = 7
SEGMENT_BYTES = 64 << 20
JOURNAL = "0" * 32
# name, payload bytes, records a turn, turns: each laps less than one segment, so that no round pays for a new one
CASES = [
    ("300 B, 1 a turn", 300, 1, 20_000),
    ("300 B, 10 a turn", 300, 10, 5_000),
    ("300 B, 100 a turn", 300, 100, 1_000),
    ("300 B, 500 a turn", 300, 500, 300),
    ("4 KB, 10 a turn", 4096, 10, 500),
    ("100 KB, 1 a turn", 100_000, 1, 500),
]
Way = Callable[[Path, bytes, int, int], float]


def write_each(folder: Path, payload: bytes, records: int, turns: int) -> float:
    descriptor = os.open(folder / "each", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    seed = seed_of(JOURNAL)
    began = time.process_time()
    for _ in range(turns):
        for _ in range(records):
            times = encode_times(time.time_ns(), time.monotonic_ns())
            header = encode_header(Kind.RESPONSE_BYTES, 1, times, payload, seed)
            if len(payload) <= 4096:
                os.write(descriptor, header + payload)
            else:
                os.writev(descriptor, (header, payload))
    spent = time.process_time() - began
    os.close(descriptor)
    return spent


def writev_turn(folder: Path, payload: bytes, records: int, turns: int) -> float:
    return asyncio.run(_writev_turn(folder, payload, records, turns))


async def _writev_turn(folder: Path, payload: bytes, records: int, turns: int) -> float:
    """Inside a loop, as in the relay; it never comes to the timer that would sync."""
    writer = JournalWriter.open(folder / "turn", Journal(segment_mb=1024))
    began = time.process_time()
    for _ in range(turns):
        for _ in range(records):
            writer.append(Kind.RESPONSE_BYTES, 1, payload)
        if not writer.commit():
            raise SystemExit("the disk is full")
    spent = time.process_time() - began
    writer.close()
    return spent


def copy_into_map(folder: Path, payload: bytes, records: int, turns: int) -> float:
    with open(folder / "map", "w+b") as file:
        os.posix_fallocate(file.fileno(), 0, SEGMENT_BYTES)
        with mmap.mmap(file.fileno(), SEGMENT_BYTES) as segment:
            seed, end = seed_of(JOURNAL), 0
            began = time.process_time()
            for _ in range(turns):
                times = encode_times(time.time_ns(), time.monotonic_ns())
                for _ in range(records):
                    header = encode_header(Kind.RESPONSE_BYTES, 1, times, payload, seed)
                    behind = end + len(header)
                    segment[end:behind] = header
                    end = behind + len(payload)
                    segment[behind:end] = payload
            return time.process_time() - began


WAYS: dict[str, Way] = {"write each": write_each, "writev a turn": writev_turn, "memory map": copy_into_map}


def main() -> None:
    place = sys.argv[1] if len(sys.argv) > 1 else None
    print(f"{'us of CPU a record':20}" + "".join(f"{name:>24}" for name in WAYS))
    for case, size, records, turns in CASES:
        spent: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(ROUNDS):
            for name, way in WAYS.items():
                # A folder of its own for each: what the one before left in the page cache is free to be used again.
                with tempfile.TemporaryDirectory(dir=place) as folder:
                    spent[name].append(way(Path(folder), os.urandom(size), records, turns) / records / turns * 1e6)
        middle = {name: statistics.median(found) for name, found in spent.items()}
        ratios = (f"{value:12.2f} ({value / middle['writev a turn']:5.2f} x)" for value in middle.values())
        print(f"{case:20}" + "".join(f"{ratio:>24}" for ratio in ratios))


if __name__ == "__main__":
    main()
