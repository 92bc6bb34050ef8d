"""Arguments of a function call that come in pieces: `partialArgs` of Vertex AI.

Source: "FunctionCall" and "PartialArg" in https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/
Content: each piece has a JSONPath (RFC 9535) of names and indexes, and a value; texts go on while `willContinue` says
so.
"""

from __future__ import annotations

import re

from ocproxy.model import Json, Problem
from ocproxy.protocols.problems import note

# `.name`, `['name']`, `["name"]` or `[0]`.
_STEP = re.compile(r"""\.([^.\[\]]+)|\[(?:'([^']*)'|"([^"]*)"|(\d{1,6}))\]""")
_VALUES = ("stringValue", "numberValue", "boolValue")
# A list grows one by one: an index far behind its end is no real one.
_MAX_HOLE = 1000
_MAX_STEPS = 100


class GrowingArguments:
    """The arguments of one call as far as they came."""

    def __init__(self) -> None:
        self.value: dict[str, Json] = {}
        self._open: set[str] = set()  # paths of texts that go on

    def add(self, pieces: Json, problems: list[Problem]) -> None:
        """Take the `partialArgs` of one event."""
        for piece in pieces if isinstance(pieces, list) else []:
            path = piece.get("jsonPath") if isinstance(piece, dict) else None
            steps = _steps(path) if isinstance(path, str) else None
            if not steps or not isinstance(path, str):
                note(problems, "bad_tool_input", f"a piece of a call's arguments has no place: {str(path)[:100]!r}")
                continue
            value = next((piece[kind] for kind in _VALUES if piece.get(kind) is not None), None)
            if not self._put(steps, value, append=path in self._open):
                note(
                    problems, "bad_tool_input", f"a piece of a call's arguments does not fit the others: {path[:100]!r}"
                )
            (self._open.add if piece.get("willContinue") is True else self._open.discard)(path)

    def _put(self, steps: list[str | int], value: Json, *, append: bool) -> bool:
        place: Json = self.value
        for at, step in enumerate(steps):
            if isinstance(step, int):
                if not isinstance(place, list) or step > len(place) + _MAX_HOLE:
                    return False
                place.extend([None] * (step + 1 - len(place)))
            elif not isinstance(place, dict):
                return False
            last = at == len(steps) - 1
            there = place.get(step) if isinstance(place, dict) else place[step]
            if last:
                joins = append and isinstance(there, str) and isinstance(value, str)
                place[step] = there + value if joins else value
            elif there is None:
                there = place[step] = [] if isinstance(steps[at + 1], int) else {}
            place = there
        return True


def _steps(path: str) -> list[str | int] | None:
    steps: list[str | int] = []
    at = 1 if path.startswith("$") else 0
    if not at:  # without the root: a plain name
        path = "." + path
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or len(steps) >= _MAX_STEPS:
            return None
        steps.append(
            int(found[4]) if found[4] is not None else next(name for name in found.groups() if name is not None)
        )
        at = found.end()
    return steps
