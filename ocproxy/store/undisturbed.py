"""Work that cancelling does not tear apart: what another thread does, goes on there whatever becomes of who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def undisturbed(work: Awaitable[Result]) -> Result:
    """Do `work` to its end, and be cancelled only then. Returns and raises what it does.

    Otherwise the connection would be thrown away in the middle of a statement: its thread stays behind, with the lock
    that it holds or waits for, and may die in the middle of SQLite when the process ends.
    """
    doing = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait([doing])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not doing.cancelled():
            doing.exception()  # looked at: nobody else will
        raise cancelled
    return doing.result()
