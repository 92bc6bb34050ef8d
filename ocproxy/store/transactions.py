"""What is done in one transaction: a function of a connection, which a kind of database runs where it can.

Such a function is plain, not a coroutine: SQLite runs all of it in one thread (changing threads for each statement
would cost more than most statements do), asyncpg's connections run it beside the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

Result = TypeVar("Result")
Work = Callable[[sa.Connection], Result]
