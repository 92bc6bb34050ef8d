"""The texts that come in pieces, one piece an event: found by what consecutive events have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

Json = Any
Place = tuple[str | int, ...]

_COUNTED = "sequence_number"  # differs from event to event, whatever they carry


def rewrite(values: list[Json], text: Callable[[str], str]) -> list[Json | None]:
    """The events of a stream in which each text that came in pieces was replaced as a whole. The pieces are as long as
    they were; events that are left without one are None, and what counts the events goes on without them."""
    done: list[Json | None] = []
    while len(done) < len(values):
        run, place = _run(values[len(done) :])
        done += run if place is None else _replaced(run, place, text)
    return list(_counted(done))


def _counted(values: list[Json | None]) -> Iterator[Json | None]:
    gone = 0
    for value in values:
        gone += value is None
        if gone and isinstance(value, dict) and _COUNTED in value:
            value = {**value, _COUNTED: value[_COUNTED] - gone}
        yield value


def _run(values: list[Json]) -> tuple[list[Json], Place | None]:
    """The events at the beginning that differ in one text alone, and where it stands; the first one and None else."""
    first = dict(_leaves(values[0]))
    run, place = values[:1], None
    for value in values[1:]:
        leaves = dict(_leaves(value))
        if leaves.keys() != first.keys():
            break
        changed = [at for at in leaves if leaves[at] != first[at] and at[-1:] != (_COUNTED,)]
        changed = changed or ([place] if place else [])
        if len(changed) != 1 or not isinstance(leaves[changed[0]], str) or place not in (None, changed[0]):
            break
        run, place = [*run, value], changed[0]
    return run, place


def _replaced(run: list[Json], place: Place, text: Callable[[str], str]) -> list[Json | None]:
    pieces = [_at(value, place) for value in run]
    whole = text("".join(pieces))
    if whole == "".join(pieces):
        return list(run)
    empty = next(number for number, piece in enumerate(pieces) if piece)  # some begin with an empty piece
    size = len(pieces[empty])
    done: list[Json | None] = list(run[:empty])
    for number, value in enumerate(run[empty:]):
        end = (number + 1) * size if number < len(run) - empty - 1 else len(whole)
        piece = whole[number * size : end]
        changed = copy.deepcopy(value) if piece else None
        if changed is not None:
            _at(changed, place[:-1])[place[-1]] = piece
        done.append(changed)
    return done


def _at(value: Json, place: Place) -> Json:
    for step in place:
        value = value[step]
    return value


def _leaves(value: Json, place: Place = ()) -> Iterator[tuple[Place, Json]]:
    if not value or not isinstance(value, dict | list):
        yield place, value
        return
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inner in items:
        yield from _leaves(inner, (*place, step))
