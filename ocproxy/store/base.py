"""The contract of a store, and the door to it: `open_store(url)`.

A store module defines `BACKEND`, an object of the shape `Backend`. Writing is one method, `commit`: a Batch in one
transaction, all of it or nothing. Reading returns rows of `ocproxy.model`. All methods raise StoreBusy when the
database is locked or away for the moment (trying again later makes sense) and StoreError when it cannot be used.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeVar
from typing import Protocol as Shape
from urllib.parse import urlsplit, urlunsplit

from ocproxy import registry
from ocproxy.errors import StoreError
from ocproxy.model import (
    Batch,
    CallRow,
    FileEvent,
    GapRow,
    IngestPosition,
    IngestTurn,
    MessageRow,
    PromptRow,
    SessionRow,
)
from ocproxy.store.removal import Removals
from ocproxy.store.sizes import Sizes
from ocproxy.store.terms import Term
from ocproxy.work import AgentSession, AvailableAgent, ChangeStatus, InboxItem, PendingChange, Task, TaskState, Worktree

Result = TypeVar("Result")
Bell = Callable[[], Awaitable[None]]  # returns when it has rung, and some seconds later at most


class HistoryMatch(NamedTuple):
    """A stored message whose history digest was asked for."""

    history: str
    session_id: str
    message_id: str
    answered: bool  # another message follows it in its session
    created_at: datetime


class Change(NamedTuple):
    """One row that was inserted or updated."""

    seq: int  # grows with every change
    what: str  # "session", "message", "file_event", "call"
    id: str


class Changes(NamedTuple):
    """What changed after a cursor."""

    found: list[Change]  # oldest first
    cursor: int  # the new one
    missed: int  # changes after the cursor that are no longer kept, before the first that was found


class SessionSummary(NamedTuple):
    """A session with its totals: counts of rows and sums of tokens over all its calls, side calls included."""

    row: SessionRow
    calls: int
    messages: int
    file_events: int
    tokens: dict[str, int]  # input_tokens, output_tokens, cache_read_tokens, cache_write_tokens
    cost: int | None = None  # nano-dollars of all calls that have a cost; None: none has
    unpriced: int = 0  # calls that used tokens and have no cost


# Days begin at full quarters of an hour of UTC in every time zone, so whoever asks can put these together to its own.
SLOT_SECONDS = 900
UsageBy = Literal["slot", "model", "agent", "session", "workdir"]


class Spending(NamedTuple):
    """What the calls of one kind used and cost, of one model, agent, … Tokens that were only counted are not in it."""

    key: Any  # text or None; for "slot" the number of a quarter of an hour since the Unix epoch
    kind: str  # a CallKind
    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    cost: int | None  # nano-dollars; None: no call has a cost
    unpriced: int  # calls that used tokens and have no cost
    without_usage: int  # calls that were answered and whose usage the wire did not say
    failed: int  # calls that were answered with an error, or not at all
    retried: int  # calls that failed or broke off and were made again
    cut_short: int  # calls that broke off and have a cost: of what the wire had said so far


class Unpriced(NamedTuple):
    """Calls that used tokens and have no cost."""

    model: str | None
    upstream: str
    note: str | None
    calls: int


class CallCost(NamedTuple):
    """The new cost of a call."""

    id: str
    cost: int | None
    price_version: str | None
    price_note: str | None


class Scope(NamedTuple):
    """Where to search; None: everywhere."""

    session_ids: Sequence[str] | None = None  # not thousands of them: they go into one statement
    agent: str | None = None  # by the name of the session, or that of the plug-in that reads it
    since: datetime | None = None


class Hit(NamedTuple):
    """A row that holds all terms: a message, or a file event with its command and its paths."""

    what: str  # "message" or "file_event", as `Change.what`
    id: str
    session_id: str
    message_id: str
    created_at: datetime
    text: str  # that was searched
    role: str | None = None  # of a message
    event_type: str | None = None  # of an event, as the rest
    status: str | None = None
    tool_name: str | None = None
    file_path: str | None = None
    destination: str | None = None
    command: str | None = None


class Store(Removals, Sizes, Shape):
    """One database."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    is_shared: bool
    """Whether other processes with journals of their own may store here: then they take turns (`ingest.turns`)."""

    async def commit(self, batch: Batch, after: Mapping[str, int] | None = None, removals: int | None = None) -> None:
        """Store all rows of the batch and its positions in one transaction.

        Rows are upserts by id: messages, tool uses, prompts, calls and gaps stay as they were first stored, but a call
        may get a session later; sessions keep a title and widen their times; file events take the new status, diff and
        outcome, and pending changes with them, unless they were reverted. What is known of agents in sessions and of
        runs is brought up to date with it (`store.accounts`).

        `after` are the counts of commits of all journals but the batch's own (`IngestTurn.commits`) when what the batch
        rests on was read, and `removals` was the count of removals. Raises StoreMoved, and stores nothing, when one of
        them has stored calls since, or a session that the batch adds to was removed.
        """
        ...

    async def turns(self) -> dict[str, IngestTurn]:
        """By journal id."""
        ...

    def turn_bell(self) -> AbstractAsyncContextManager[Bell]:
        """Rings when the turns of others may have changed; what rang before it was waited for is not lost."""
        ...

    async def leave_behind(self, turn: IngestTurn) -> None:
        """Let nobody wait for this journal any more, if nothing was heard of it since `turn` was read."""
        ...

    async def ends(self, ids: Sequence[str]) -> dict[str, tuple[SessionRow, int]]:
        """The rows of these sessions, and the `seq` of their last messages (-1: they have none)."""
        ...

    async def summaries(self, *, limit: int | None = None, parent_id: str | None = None) -> list[SessionSummary]:
        """Sessions, or the subagents of one, with their totals, newest first (by `updated_at`)."""
        ...

    async def summary(self, session_id: str) -> SessionSummary | None: ...

    async def find_sessions(self, prefix: str) -> list[str]:
        """Ids of the sessions whose id or opencode_id begins with `prefix`; where one is equal to it, only that."""
        ...

    async def messages(self, session_id: str) -> list[MessageRow]:
        """In the order in which they were stored."""
        ...

    async def file_events(self, session_id: str | None = None) -> list[FileEvent]:
        """Of one session, or all, in the order of the calls."""
        ...

    async def events_of_files(self, part: str) -> list[str]:
        """Ids of the file events in whose path, or new path, this part occurs, whatever its case; of all with a path
        where it is empty. In the order of the calls."""
        ...

    def search(self, terms: Sequence[Term], scope: Scope) -> AsyncIterator[Hit]:
        """The messages and file events that hold all terms, newest first."""
        ...

    async def search_is_indexed(self) -> bool:
        """Whether there is an index to search by; without one, everything is read each time."""
        ...

    async def calls(self, session_id: str | None = None, *, limit: int | None = None) -> list[CallRow]:
        """Of one session, or all, oldest first; with `limit` the newest ones."""
        ...

    async def spending(
        self, by: UsageBy | None, since: datetime | None = None, until: datetime | None = None
    ) -> list[Spending]:
        """Sums over the calls that began in that time, by kind and by `by`, in no order."""
        ...

    async def unpriced(self, since: datetime | None = None, until: datetime | None = None) -> list[Unpriced]:
        """What of them has no cost, most calls first."""
        ...

    async def calls_to_price(
        self, after: str, *, since: datetime | None = None, model: str | None = None, limit: int
    ) -> list[CallRow]:
        """Calls of models in the order of their ids, those behind the id `after`."""
        ...

    async def set_costs(self, costs: Sequence[CallCost]) -> None:
        """Give stored calls other costs, and the sums over them, in one transaction."""
        ...

    async def agent_sessions(self, session_ids: Sequence[str] | None = None) -> list[AgentSession]:
        """The agents in these sessions, or in all, in the order of the ids."""
        ...

    async def pending_changes(
        self,
        session_id: str | None = None,
        *,
        task_id: str | None = None,
        status: ChangeStatus | None = None,
        limit: int | None = None,
    ) -> list[PendingChange]:
        """Of one session, of one run, or all, oldest first; with `limit` the newest ones."""
        ...

    async def tasks(self, *, state: TaskState | None = None, limit: int | None = None) -> list[Task]:
        """Newest first."""
        ...

    async def inbox(self) -> list[InboxItem]:
        """The tasks that need a person, those that wait longest first."""
        ...

    async def worktrees(self) -> list[Worktree]:
        """Those in which something was done last, last."""
        ...

    async def available_agents(self) -> list[AvailableAgent]:
        """By name."""
        ...

    async def calls_of_reply(self, reply_id: str) -> list[CallRow]:
        """The calls that were answered with this reply, oldest first."""
        ...

    async def calls_of_summaries(self, keys: Sequence[str], agent: str, run: str | None) -> list[CallRow]:
        """The calls of this agent and this run that were answered with a summary that has one of the keys, oldest
        first."""
        ...

    async def prompt(self, hash: str) -> PromptRow | None: ...

    async def gaps(self) -> list[GapRow]: ...

    async def positions(self) -> dict[str, IngestPosition]:
        """By journal id."""
        ...

    async def sessions_of_tool_uses(self, ids: Sequence[str], agent: str, run: str | None) -> dict[str, set[str]]:
        """Which sessions of this agent and this run each tool call id belongs to. Two where there are more: weak ids
        (`call_0`) are in thousands."""
        ...

    async def begun_with(self, prompt: str, agent: str, run: str | None) -> list[SessionRow]:
        """Sessions of this agent and this run whose `prompt` is this one."""
        ...

    async def calls_about(self, prompt: str, agent: str, run: str | None) -> list[CallRow]:
        """Calls of this agent and this run without a session that are about one which began with this prompt."""
        ...

    async def delegators(self, keys: Sequence[str], agent: str, run: str | None) -> list[str]:
        """Sessions of this agent and this run with a tool use that gave a prompt with one of the keys to a subagent,
        oldest first."""
        ...

    async def matches_of_histories(self, histories: Sequence[str]) -> list[HistoryMatch]:
        """In no order."""
        ...

    async def changes(self, after: int | None) -> Changes:
        """What changed after a cursor; 0 is the beginning. `None` asks for the present cursor alone. Only the newest
        changes are kept."""
        ...

    def follow(self, after: int | None) -> AsyncIterator[Changes]:
        """What changes after a cursor (None: from now on), as it comes and for ever; it waits for a database that is
        away. Other processes' changes come as fast as the kind of database tells of them."""
        ...

    async def rows_of(self, what: str, ids: Sequence[str]) -> dict[str, Any]:
        """Rows by id: SessionRow, MessageRow, FileEvent or CallRow as `what` says ("session", "message", …)."""
        ...


class Backend(Shape):
    """One kind of database. URLs are of this kind; StoreError is raised where one is no proper URL."""

    schemes: tuple[str, ...]  # of its URLs
    example: str  # a URL, for messages
    dialect: str  # as SQLAlchemy calls it

    async def open(self, url: str, *, migrate: bool) -> Store:
        """Open it, migrated to the newest revision first unless `migrate` is False. Raises StoreBusy, StoreError."""
        ...

    def migrate(self, url: str, action: Callable[[Any], Result]) -> Result:
        """Run `action` on a SQLAlchemy Connection to the database, which is made where the kind makes its databases
        itself. All of it is one transaction, and no other process migrates meanwhile. Raises StoreBusy, StoreError, and
        what `action` raises."""
        ...

    def read(self, url: str, action: Callable[[Any], Result]) -> Result | None:
        """Run `action`, which only reads, on a SQLAlchemy Connection; None where there is no such database yet, and it
        would be made by using it. Raises as `migrate`."""
        ...

    def file(self, url: str) -> Path | None:
        """The file that is the database; None for a kind whose databases are none."""
        ...


def backend_of(url: str) -> Backend:
    """Raises StoreError when the kind is unknown."""
    scheme = url.partition(":")[0]
    backends: list[Backend] = list(registry.load("ocproxy.store", "BACKEND").values())
    for backend in backends:
        if scheme in backend.schemes:
            return backend
    known = ", ".join(backend.example for backend in backends)
    raise StoreError(f"databases of the kind {scheme!r} are not supported", hint=f"known: {known}")


async def open_store(url: str, *, migrate: bool = True) -> Store:
    """Open the database at `url`, migrated to the newest revision first unless `migrate` is False.

    Use as `async with await open_store(url) as store`. Raises StoreError when the kind is unknown or it cannot be used.
    """
    return await backend_of(url).open(url, migrate=migrate)


def mask(url: str) -> str:
    """A database URL to be shown: without its password, wherever that stands."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL: whatever it is, it may hold one
        return f"{url.partition(':')[0]}:***"
    query = re.sub(r"(?i)((?:^|&)[^&=]*(?:password|secret)[^&=]*=)[^&]*", r"\1***", parts.query)
    secret, at, host = parts.netloc.rpartition("@")
    user, colon, _ = secret.partition(":")
    netloc = f"{user}:***@{host}" if at and colon else parts.netloc
    return (
        urlunsplit(parts._replace(netloc=netloc, query=query))
        if (netloc, query) != (parts.netloc, parts.query)
        else url
    )
