"""What a store holds, to be compared between runs that must not differ."""

from __future__ import annotations

from typing import Any

from ocproxy.store.base import Store
from tests.support.tables import tables

# These tell how the rows came and went, which may differ: how far journals are read, whose turn it is, the feed of
# changes, what was removed and is to be erased.
_OF_THE_WAY = {"ingest_positions", "ingest_turns", "changes", "removals", "erasures"}


async def rows(store: Store) -> dict[str, Any]:
    """Everything that is stored, in `tables` as the database has it: all tables but those of how it came."""
    sessions = await store.summaries()
    return {
        "sessions": [summary.row for summary in sessions],
        "messages": [message for summary in sessions for message in await store.messages(summary.row.id)],
        "file_events": await store.file_events(),
        "calls": await store.calls(),
        "gaps": await store.gaps(),
        "inbox": await store.inbox(),
        "tables": await tables(store, _OF_THE_WAY),
    }


def of_sessions(stored: dict[str, Any]) -> dict[str, Any]:
    """What `rows` found but for folders and programs, which outlive the sessions that told of them."""
    kept = {name: table for name, table in stored["tables"].items() if name not in ("worktrees", "available_agents")}
    return {**stored, "tables": kept}
