"""How fast the relay is, next to nginx and to no proxy at all, with the journal on.

    python bench/relay.py [--quick] [--rounds 3] [--targets direct,nginx,normal,…] [--loads TEXT] [--raw FILE]

Everything is on loopback and ephemeral ports, and is ended before this ends. Under 8 minutes; --quick under one.
What is measured and how to read it: bench/README.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a file, the project's folder is not on the path

from bench.tools.load import (
    EVENTS,
    FIREHOSE_EVENTS,
    PAUSE_MS,
    Load,
    Sample,
    compile_tools,
    filesystem,
    machine,
    measure,
    mock_upstream,
)
from bench.tools.report import Results, report
from bench.tools.targets import Bed, Direct, Nginx, NotReady, Ocproxy, Target, Worker, find_nginx, relay_form

TARGETS: dict[str, Target] = {
    "direct": Direct(),
    "nginx": Nginx(),
    "normal": Ocproxy("normal"),
    "strict": Ocproxy("strict"),
    "ingest": Ocproxy("normal", ingest=True),
    "worker": Worker("normal"),  # only on request: ocproxy's relay worker alone
}
DESCRIPTORS = 16384  # 1,000 streams need 2,000 in a proxy


def loads(quick: bool) -> list[Load]:
    """What is put on each target, in this order."""
    at_once = [64] if quick else [1, 16, 64]
    small = [Load(f"1 KB requests, {n} connections", n, with_ingest=n == 64) for n in at_once]
    seconds = 1.7 if quick else 2.4
    streams = [
        Load(f"{n} streams", n, 4000, EVENTS, PAUSE_MS, warm=1.3, seconds=seconds, ramp=1.0, with_ingest=not quick)
        for n in ([500, 1000] if quick else [100, 500, 1000])
    ]
    if quick:
        return [*small, *streams]
    large = Load("100 KB requests, 64 connections", 64, 100_000)
    return [*small, large, *streams, Load("firehose, 16 streams without pause", 16, 4000, FIREHOSE_EVENTS, 0)]


def main() -> int:
    options = read_options()
    if sys.platform != "linux":
        print("bench/relay.py needs Linux (epoll, /proc): skipped")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    raise_descriptors()
    targets = [TARGETS[name] for name in options.targets.split(",")]
    if any(isinstance(target, Nginx) for target in targets) and not find_nginx():
        print("There is no nginx and it could not be installed (apt-get install nginx-light): measured without it.\n")
        targets = [target for target in targets if not isinstance(target, Nginx)]
    chosen = [load for load in loads(options.quick) if options.loads in load.name]
    with tempfile.TemporaryDirectory(prefix="ocproxy-bench-", dir=options.scratch) as scratch:
        results = Results(chosen, [target.name for target in targets], {})
        rounds = options.rounds or (1 if options.quick else 3)
        print(f"{machine()}, journal on {filesystem(Path(scratch))}, rounds: {rounds}, {relay_form()}\n")
        run(results, targets, rounds, Path(scratch))
    print(report(results))
    if options.raw:
        found = {
            name: {t: [as_json(s) for s in samples] for t, samples in r.items()} for name, r in results.rounds.items()
        }
        Path(options.raw).write_text(json.dumps(found, indent=1))
    return 0


def run(results: Results, targets: list[Target], rounds: int, folder: Path) -> None:
    """Interleaved: each load goes over all targets before the next; every other round backwards."""
    compile_tools(folder)
    cpus = sorted(os.sched_getaffinity(0))
    first, last = {cpus[0]}, {cpus[-1]}
    os.sched_setaffinity(0, last)
    began = time.monotonic()
    with mock_upstream(folder, last) as upstream:
        bed = Bed(folder, upstream, target_cpus=first, load_cpus=last)
        for number in range(rounds):
            for load in results.loads:
                for target in targets if number % 2 == 0 else reversed(targets):
                    if isinstance(target, Ocproxy) and target.ingest and not load.with_ingest:
                        continue
                    note(f"{time.monotonic() - began:4.0f} s  round {number + 1}/{rounds}  {load.name}: {target.name}")
                    results.take(load, target.name, attempt(load, target, bed))


def attempt(load: Load, target: Target, bed: Bed) -> Sample | None:
    """One sample; None when the target did not come up, which is told."""
    try:
        with target.run(bed) as running:
            sample = measure(load, running, bed)
    except NotReady as failure:
        note(f"  {target.name} did not serve: {failure}")
        return None
    for complaint in sample.complaints:
        note(f"  {target.name}: {complaint}")
    return sample


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of three loads")
    parser.add_argument("--rounds", type=int, default=0, help="3, or 1 with --quick")
    parser.add_argument("--targets", default="direct,nginx,normal,strict,ingest", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--loads", default="", metavar="TEXT", help="only loads with this in their name")
    parser.add_argument(
        "--scratch", metavar="DIR", help="where to put journals and logs meanwhile; must be a real disk"
    )
    parser.add_argument("--raw", metavar="FILE", help="write every sample as JSON")
    return parser.parse_args()


def raise_descriptors() -> None:
    """For the load generator and the mock upstream; targets inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))


def as_json(sample: Sample | None) -> dict[str, object] | None:
    return None if sample is None else dataclasses.asdict(sample)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
