"""How much the fault tests do: all of it (`make test-faults`), or with FAULTS=short what fits into `make test`.

Single numbers can be set too: FAULT_STREAMS, FAULT_ROUNDS, FAULT_KILLS, FAULT_LOCKED_SECONDS; FAULT_SEED repeats a run.
"""

from __future__ import annotations

import os

SHORT = os.environ.get("FAULTS") == "short"


def _number(name: str, all_: int, short: int) -> int:
    return int(os.environ.get(f"FAULT_{name}", short if SHORT else all_))


STREAMS = _number("STREAMS", 200, 30)  # at once
ROUNDS = _number("ROUNDS", 50, 2)  # of killing everything
KILLS = _number("KILLS", 10, 3)  # of the control process
LOCKED_SECONDS = _number("LOCKED_SECONDS", 30, 3)  # the database
SEED = _number("SEED", 20261121, 20261121)
