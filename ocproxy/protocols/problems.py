"""Collects Problems without letting a broken body collect a hundred thousand of them."""

from __future__ import annotations

from ocproxy.model import Problem

# A call's problems are stored with it and read by people: past this many different ones nobody reads on.
MAX_PROBLEMS = 50
# A message may quote what came; what came may be megabytes.
MAX_MESSAGE = 500


def note(problems: list[Problem], code: str, message: str) -> None:
    """Add a Problem to `problems`, once; past `MAX_PROBLEMS` only a last one that says so."""
    problem = Problem(code, message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "…")
    if problem in problems or len(problems) > MAX_PROBLEMS:
        return
    if len(problems) == MAX_PROBLEMS:
        problem = Problem("more_problems", f"more than {MAX_PROBLEMS} different problems; the rest is not listed")
    problems.append(problem)
