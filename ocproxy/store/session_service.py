"""`OpencodeSessionService`: sessions, messages and file events stored by hand, in the tables that the recorder fills.

It writes the columns of the seed schema (`20260413_add_opencode_tables`) and no others, so it works on a database of
any revision, and on one that was made by that revision elsewhere.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from ocproxy.errors import PersistenceError
from ocproxy.files.parts import events_of, text_of
from ocproxy.model import Json, digest
from ocproxy.store import schema

log = logging.getLogger(__name__)

_INSERTS: dict[str, Callable[[sa.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass
class OpencodeSession:
    """A row of `opencode_sessions`, as far as the seed schema goes. Times are in UTC."""

    id: str
    opencode_id: str
    agent_name: str
    workdir: str
    abi_thread_id: str | None = None
    title: str | None = None
    created_at: datetime = field(default_factory=_now)
    updated_at: datetime = field(default_factory=_now)


@dataclass
class OpencodeMessage:
    """A row of `opencode_messages`."""

    session_id: str
    role: str
    content: str | None
    parts: list[Json]
    id: str = field(default_factory=_new_id)
    created_at: datetime = field(default_factory=_now)


@dataclass
class OpencodeFileEvent:
    """A row of `opencode_file_events`."""

    session_id: str
    message_id: str
    event_type: str
    file_path: str | None = None
    diff: str | None = None
    command: str | None = None
    id: str = field(default_factory=_new_id)
    created_at: datetime = field(default_factory=_now)


_SESSION, _MESSAGE, _EVENT = schema.SESSIONS.c, schema.MESSAGES.c, schema.FILE_EVENTS.c
_SESSION_COLUMNS = [_SESSION[name] for name in OpencodeSession.__dataclass_fields__]


class OpencodeSessionService:
    """Stores through the `AsyncSession` of the caller, or in memory where there is none.

    Every method commits what it stored. When the database does not take it, the session is rolled back (with all else
    that the caller had not committed) and PersistenceError says what was not stored; with `best_effort` that is logged
    instead, and the method returns what it would have stored. In memory, what was stored is in `sessions`, `messages`
    and `file_events`, in order; with a database these stay empty. An object serves one task at a time, as its
    AsyncSession does.
    """

    def __init__(self, db_session: AsyncSession | None = None, *, best_effort: bool = False) -> None:
        self.sessions: list[OpencodeSession] = []
        self.messages: list[OpencodeMessage] = []
        self.file_events: list[OpencodeFileEvent] = []
        self._db = db_session
        self._best_effort = best_effort
        self._agents: dict[str, str] = {}  # session -> its agent

    async def get_or_create_session(
        self,
        opencode_id: str,
        agent_name: str,
        workdir: str,
        abi_thread_id: str | None = None,
        title: str | None = None,
    ) -> OpencodeSession:
        """The session with this `opencode_id`, whoever stored it, else a new one.

        One that is there gets `updated_at` = now, `abi_thread_id` if it is given, and `title` if it is given and the
        session has none; agent and folder stay. Called by many at once, one row is made: its id comes from
        `opencode_id`, and is the one under which the recorder files opencode's session of that name.
        """
        new = OpencodeSession(
            digest("session", "opencode", opencode_id, ""), opencode_id, agent_name, workdir, abi_thread_id, title
        )
        found = new
        if self._db is None:
            found = self._remember(new)
        else:
            try:
                found = await self._get_or_create(self._db, new)
            except (sa.exc.SQLAlchemyError, OSError) as error:
                await self._fail(f"the session {opencode_id!r}", error)
        self._agents[found.id] = found.agent_name
        return found

    async def persist_message(self, session: OpencodeSession, role: str, parts: Sequence[Json]) -> OpencodeMessage:
        """Store a message with its parts as they are and their text as its `content` (see `extract_text`)."""
        message = OpencodeMessage(session.id, role, self.extract_text(parts), list(parts))
        self._agents.setdefault(session.id, session.agent_name)
        if self._db is None:
            self.messages.append(message)
        else:
            await self._insert(self._db, schema.MESSAGES, [message], f"a {role} message of the session {session.id}")
        return message

    async def persist_file_events(self, message: OpencodeMessage, parts: Sequence[Json]) -> list[OpencodeFileEvent]:
        """Store what the tool uses among the parts do (see `extract_file_events`), under the message and its session.

        The tools are those of the session's agent, where this object stored the session or a message of it.
        """
        found = events_of(parts, self._agents.get(message.session_id))
        events = [OpencodeFileEvent(message.session_id, message.id, **event) for event in found]
        if self._db is None:
            self.file_events += events
        elif events:
            await self._insert(
                self._db, schema.FILE_EVENTS, events, f"{len(events)} file events of the message {message.id}"
            )
        return events

    @staticmethod
    def extract_text(parts: Sequence[Json]) -> str | None:
        """The string values of each part's `text` or `content`, newline-joined; None if there are none."""
        return text_of(parts)

    @staticmethod
    def extract_file_events(parts: Sequence[Json]) -> list[dict[str, Any]]:
        """What the tool uses among the parts do: {"event_type", "file_path", "diff"} or {"event_type", "command"}.

        `tool_use` parts named read, write, edit and bash with `path`; `diff` or `content`; `diff`, `new_string` or
        `replace`; `command`. Beyond these what agents really send: opencode's `type: "tool"`, and the tool calls of
        Anthropic's and OpenAI's APIs, by the agents' own catalogues; then `diff` is a unified diff, and `event_type`
        may be delete, move or search.
        """
        return events_of(parts)

    # --- in memory

    def _remember(self, new: OpencodeSession) -> OpencodeSession:
        found = next((one for one in self.sessions if one.opencode_id == new.opencode_id), None)
        if found is None:
            self.sessions.append(new)
            return new
        found.updated_at = _now()
        found.abi_thread_id = new.abi_thread_id or found.abi_thread_id
        found.title = found.title or new.title
        return found

    # --- in a database

    async def _get_or_create(self, db: AsyncSession, new: OpencodeSession) -> OpencodeSession:
        insert = _INSERTS[(await db.connection()).dialect.name]
        values = [sa.literal(value, _SESSION[name].type) for name, value in vars(new).items()]
        is_there = sa.exists().where(_SESSION.opencode_id == new.opencode_id)
        # One statement, and a writing one first: SQLite turns no reader into a writer when another wrote meanwhile.
        # Where another process makes the same row at the same time, the primary key lets one of them in.
        made = insert(schema.SESSIONS).from_select(list(vars(new)), sa.select(*values).where(~is_there))
        done: Any = await db.execute(made.on_conflict_do_nothing())
        if done.rowcount == 1:
            await db.commit()
            return new
        id = await self._find(db, new.opencode_id)
        taken: dict[str, Any] = {"updated_at": _now()}
        if new.abi_thread_id:
            taken["abi_thread_id"] = new.abi_thread_id
        if new.title:
            has_none = _SESSION.title.is_(None) | (_SESSION.title == "")
            taken["title"] = sa.case((has_none, new.title), else_=_SESSION.title)
        await db.execute(sa.update(schema.SESSIONS).where(_SESSION.id == id).values(**taken))
        row = (await db.execute(sa.select(*_SESSION_COLUMNS).where(_SESSION.id == id))).mappings().one()
        await db.commit()
        return OpencodeSession(**row)

    async def _find(self, db: AsyncSession, opencode_id: str) -> str | None:
        """The oldest session of that id: the recorder may have one for each agent that uses it."""
        query = sa.select(_SESSION.id).where(_SESSION.opencode_id == opencode_id)
        found: str | None = await db.scalar(query.order_by(_SESSION.created_at, _SESSION.id).limit(1))
        return found

    async def _insert(self, db: AsyncSession, table: sa.Table, rows: Sequence[Any], what: str) -> None:
        try:
            await db.execute(sa.insert(table), [vars(row) for row in rows])
            await db.commit()
        except (sa.exc.SQLAlchemyError, OSError) as error:
            await self._fail(what, error)

    async def _fail(self, what: str, error: Exception) -> None:
        assert self._db is not None
        try:
            await self._db.rollback()
        except (sa.exc.SQLAlchemyError, OSError) as second:  # the connection is gone: there is nothing to roll back
            log.debug("the rollback failed, too: %s", second)
        reason = getattr(error, "orig", None) or error
        if not self._best_effort:
            raise PersistenceError(f"{what} was not stored: {reason}") from error
        log.warning("%s was not stored: %s", what, reason)
