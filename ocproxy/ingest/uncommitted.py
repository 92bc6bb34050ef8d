"""Rows of the batch that is not in the store yet, as later calls of the same batch look for them."""

from __future__ import annotations

from collections import defaultdict

from ocproxy.model import Batch, CallRow
from ocproxy.store.base import HistoryMatch


class Uncommitted:
    """What a query of the store does not find yet. Each table has the key that the store would be asked for."""

    def __init__(self) -> None:
        self.uses: defaultdict[str, set[str]] = defaultdict(set)  # tool use id -> sessions
        self.delegated: defaultdict[str, list[str]] = defaultdict(list)  # key of a subagent's prompt -> sessions
        self.histories: defaultdict[str, list[HistoryMatch]] = defaultdict(list)  # history -> messages
        self.replies: defaultdict[str, list[CallRow]] = defaultdict(list)  # reply id -> calls
        self.calls: defaultdict[str, list[CallRow]] = defaultdict(list)  # session -> its calls
        self.summaries: defaultdict[str, list[CallRow]] = defaultdict(list)  # key of a summary -> calls

    def note(self, part: Batch) -> None:
        """Remember the rows of one call."""
        for use in part.tool_uses:
            self.uses[use.tool_use_id].add(use.session_id)
            if use.delegated:
                self.delegated[use.delegated].append(use.session_id)
        for row in part.messages:
            match = HistoryMatch(row.history, row.session_id, row.id, False, row.created_at)
            self.histories[row.history].append(match)
        for call in part.calls:
            if call.reply_id:
                self.replies[call.reply_id].append(call)
            if call.summary_key:
                self.summaries[call.summary_key].append(call)
            if call.session_id:
                self.calls[call.session_id].append(call)

    def clear(self) -> None:
        """All of it is in the store, or given up."""
        for table in (self.uses, self.delegated, self.histories, self.replies, self.calls, self.summaries):
            table.clear()
