"""What a store holds, to be compared between runs that must not differ."""

from __future__ import annotations

from typing import Any

from ocproxy.store.base import Store


async def rows(store: Store) -> dict[str, Any]:
    """Everything that is stored, but for the positions."""
    sessions = await store.summaries()
    return {
        "sessions": [summary.row for summary in sessions],
        "messages": [message for summary in sessions for message in await store.messages(summary.row.id)],
        "file_events": await store.file_events(),
        "calls": await store.calls(),
        "gaps": await store.gaps(),
    }
