"""Programs beside ocproxy that use its database by connections of their own, as tests play them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@asynccontextmanager
async def program_of(store: Any) -> AsyncIterator[AsyncSession]:
    """An AsyncSession to the database of this store, by the driver that a program would take."""
    if store._engine.dialect.name != "sqlite":
        async with AsyncSession(store._engine) as db:
            yield db
        return
    engine = create_async_engine(store._engine.url.set(drivername="sqlite+aiosqlite"))
    async with AsyncSession(engine) as db:
        yield db
    await engine.dispose()
