"""Samples as Markdown tables: medians with their extremes, ratios paired within a round, the aims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench.tools.load import Load, Sample

DIRECT, NGINX, NORMAL = "direct", "nginx", "ocproxy normal"
# The aims are for the relay; the second line tells what the ingest costs it on a machine with few CPUs.
JUDGED = (NORMAL, NORMAL + " + ingest")
# An added delay below this is the clock's and the scheduler's, and no ratio is made of it.
LEAST_DELAY_MS = 0.01
# With more of the target's CPU than this taken by others, an aim counts as judged on a noisy machine.
NOISY_PERCENT = 10

Look = Callable[[Sample], float | None]
# The samples of one load: for each target one of each round. A target that failed once has a gap there.
Rounds = dict[str, list[Sample | None]]


@dataclass
class Results:
    """All samples: by load, then by target, then by round."""

    loads: list[Load]
    targets: list[str]
    rounds: dict[str, Rounds]

    def take(self, load: Load, target: str, sample: Sample | None) -> None:
        self.rounds.setdefault(load.name, {}).setdefault(target, []).append(sample)

    def of(self, load: Load, target: str) -> list[Sample]:
        return [sample for sample in self.rounds.get(load.name, {}).get(target, []) if sample is not None]

    def named(self, name: str) -> Load | None:
        return next((load for load in self.loads if load.name == name), None)


def spread(values: list[float | None], digits: int = 0) -> str:
    """median [min..max]"""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle = f"{median(known):,.{digits}f}"
    return middle if len(known) == 1 else f"{middle} [{min(known):,.{digits}f}..{max(known):,.{digits}f}]"


def paired(rounds: Rounds, target: str, base: str, look: Look) -> list[float]:
    """look(target) / look(base) of each round that has both."""
    ratios = []
    for one, other in zip(rounds.get(target, []), rounds.get(base, []), strict=False):
        if one is not None and other is not None:
            above, below = look(one), look(other)
            if above is not None and below:
                ratios.append(above / below)
    return ratios


def added(rounds: Rounds, target: str, key: str) -> list[float | None]:
    """Milliseconds above direct of the same round; None for a round without both."""
    values: list[float | None] = []
    for one, direct in zip(rounds.get(target, []), rounds.get(DIRECT, []), strict=False):
        here = one.value(key) if one else None
        there = direct.value(key) if direct else None
        values.append((here - there) / 1000 if here is not None and there is not None else None)
    return values


def added_ratio(rounds: Rounds, target: str, key: str) -> list[float]:
    """Added delay of the target as a multiple of nginx's, of each round where nginx adds anything."""
    pairs = zip(added(rounds, target, key), added(rounds, NGINX, key), strict=False)
    return [own / theirs for own, theirs in pairs if own is not None and theirs is not None and theirs > LEAST_DELAY_MS]


def report(results: Results) -> str:
    """Everything, as Markdown."""
    parts = [requests_table(results, load) for load in results.loads if not load.events]
    parts += [streams_table(results, load) for load in results.loads if load.events]
    parts += [memory_table(results), aims(results), noise(results)]
    return "\n\n".join(parts)


def times(ratios: list[float]) -> str:
    return spread([*ratios], 2) + " x" if ratios else "-"


def failures(samples: list[Sample]) -> str:
    return f"{sum(sample.counts['errors'] + sample.counts['incomplete'] for sample in samples):.0f}"


def requests_table(results: Results, load: Load) -> str:
    rounds = results.rounds[load.name]
    lines = [
        f"### {load.name}\n",
        "| target | requests/s | x nginx | latency p50 ms | p99 "
        "| CPU us/request: worker | x nginx | with others | failed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for target in results.targets:
        if target not in rounds:
            continue
        samples = results.of(load, target)
        cells = [
            target,
            spread([s.value("requests_s") for s in samples]),
            times(paired(rounds, target, NGINX, lambda s: s.value("requests_s"))),
            spread([(s.value("latency_p50") or 0) / 1000 for s in samples], 2),
            spread([(s.value("latency_p99") or 0) / 1000 for s in samples], 2),
            spread([s.cpu_us("requests") for s in samples]),
            times(paired(rounds, target, NGINX, lambda s: s.cpu_us("requests"))),
            spread([s.cpu_us("requests", whole=True) for s in samples]),
            failures(samples),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def streams_table(results: Results, load: Load) -> str:
    rounds = results.rounds[load.name]
    nominal = load.nominal_events
    lines = [
        f"### {load.name}\n",
        f"| target | events/s | {'of nominal' if nominal else 'x nginx'} | first byte: added ms, p50 "
        "| event delay: added ms, p50 | p99 | CPU us/event: worker | x nginx | with others | failed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for target in results.targets:
        if target not in rounds:
            continue
        samples = results.of(load, target)
        rate = [s.value("events_s") for s in samples]
        share = [value / nominal for value in rate if value is not None] if nominal else []
        cells = [
            target,
            spread(rate),
            spread([*share], 2) if nominal else times(paired(rounds, target, NGINX, lambda s: s.value("events_s"))),
            delays(rounds, target, "first_byte_p50", samples),
            delays(rounds, target, "delay_p50", samples),
            delays(rounds, target, "delay_p99", samples),
            spread([s.cpu_us("events") for s in samples], 1),
            times(paired(rounds, target, NGINX, lambda s: s.cpu_us("events"))),
            spread([s.cpu_us("events", whole=True) for s in samples], 1),
            failures(samples),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def delays(rounds: Rounds, target: str, key: str, samples: list[Sample]) -> str:
    """Added to direct; for direct itself the absolute value."""
    if target == DIRECT:
        return spread([(s.value(key) or 0) / 1000 for s in samples], 2) + " (absolute)"
    return spread(added(rounds, target, key), 2)


def memory_table(results: Results) -> str:
    most = most_streams(results)
    lines = [
        "### Memory and start\n",
        "| target | start to first served request, s | worker idle, MB | all idle "
        f"| worker at {most.connections} streams | RSS of it | all |",
        "|---|---|---|---|---|---|---|",
    ]
    for target in results.targets:
        there = results.of(most, target)
        if target == DIRECT or not there:
            continue
        everywhere = [sample for load in results.loads for sample in results.of(load, target)]
        cells = [
            target,
            spread([s.start_seconds for s in everywhere], 2),
            spread([s.idle_mb for s in everywhere], 1),
            spread([s.idle_total_mb for s in everywhere], 1),
            spread([s.worker_mb for s in there], 1),
            spread([s.worker_rss_mb for s in there], 1),
            spread([s.total_mb for s in there], 1),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("\nMemory is PSS (pages shared by several processes are divided among them) unless it says RSS.")
    return "\n".join(lines)


def most_streams(results: Results) -> Load:
    return max(results.loads, key=lambda load: load.connections)


def aims(results: Results) -> str:
    """Each aim, what was measured, and whether it is met."""
    noisy = median(foreign_shares(results) or [0.0]) > NOISY_PERCENT
    title = "### Aims (journal on, mode normal)" + (", judged on a noisy machine" if noisy else "")
    lines = [f"{title}\n", "| aim | target | measured | |", "|---|---|---|---|"]
    small, paced = results.named("1 KB requests, 64 connections"), results.named("500 streams")
    most = most_streams(results)
    for target in JUDGED:
        if small and (ratios := paired(results.rounds[small.name], target, NGINX, lambda s: s.value("requests_s"))):
            what = "at least 0.7 x nginx in requests/s, 1 KB, 64 connections"
            by_cpu = paired(results.rounds[small.name], NGINX, target, lambda s: s.cpu_us("requests"))
            lines.append(
                aim(
                    what, target, f"{times(ratios)}; by CPU {times(by_cpu)}", min(median(ratios), median(by_cpu)) >= 0.7
                )
            )
        if paced and (ratios := added_ratio(results.rounds[paced.name], target, "delay_p50")):
            what = "added p50 delay per event at 500 streams within 1.5 x nginx's"
            lines.append(aim(what, target, times(ratios), median(ratios) <= 1.5))
        if held := [sample.worker_mb for sample in results.of(most, target)]:
            what = f"one relay worker under 30 MB, at {most.connections} connections"
            lines.append(aim(what, target, spread([*held], 1) + " MB", max(held) < 30))
    if len(lines) == 3:
        return "### Aims\n\nNot measured: nginx or ocproxy is missing."
    return "\n".join(lines)


def aim(what: str, target: str, measured: str, met: bool) -> str:
    return f"| {what} | {target} | {measured} | {'met' if met else '**not met**'} |"


def foreign_shares(results: Results) -> list[float]:
    """Per cent of the target's CPU that others took, of each sample."""
    everything = [sample for load in results.loads for target in results.targets for sample in results.of(load, target)]
    return [100 * sample.foreign for sample in everything if sample.worker_cpu]


def noise(results: Results) -> str:
    """How far the figures can be believed."""
    return (
        f"Other work took {spread([*foreign_shares(results)])} % of the target's CPU during the loads. "
        f"Above {NOISY_PERCENT} %, delays and requests/s tell of the neighbours, too; CPU per request and event holds."
    )
