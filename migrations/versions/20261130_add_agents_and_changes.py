"""Add what is known of the work: agents in sessions, runs, changes to review, folders, programs; and an inbox.

Revision ID: 20261130_add_agents_and_changes
Revises: 20261130_add_search

The tables are filled from the calls, sessions and file events that are there. What these do not hold comes with the
next calls, or with a rebuild from the journal: branches and commits of folders, how a program calls itself and talks.
"""

import posixpath
import re
from collections.abc import Iterator
from hashlib import blake2b, sha256
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261130_add_agents_and_changes"
down_revision = "20261130_add_search"
branch_labels = None
depends_on = None

TOKENS = ("input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "reasoning")
COUNTED = [f"{name}_tokens" for name in TOKENS]
SUMS = ["calls", *COUNTED, "cost", "priced_calls", "unpriced_calls"]
LARGEST = 2**63 - 1
AT_ONCE = 2_000  # rows read, and written, together

INBOX = """
CREATE VIEW human_inbox AS
SELECT id AS task_id, state, reason, run, title, agent, model, session_id,
       COALESCE(ended_at, turn_at, updated_at) AS since
FROM tasks WHERE state IN ('blocked', 'failed')
"""


def upgrade() -> None:
    op.create_index("ix_tool_uses_message_id", "tool_uses", ["message_id"])
    create_agent_sessions()
    create_worktrees()
    create_tasks()
    create_pending_changes()
    op.create_table(
        "available_agents",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("machine", sa.Text(), primary_key=True),
        *texts("label", "version", "transport", "install_path"),
        sa.Column("models", json_of_ours(), nullable=False),
        sa.Column("commands", json_of_ours(), nullable=True),
        sa.Column("supports_mcp_client", sa.Boolean(), nullable=True),
        *moments("first_seen_at", "last_seen_at", "last_probed_at"),
    )
    op.execute(INBOX)
    if not op.get_context().as_sql:  # as a script there is nothing to read from
        fill_worktrees()
        fill_sums()
        fill_pending_changes()


def downgrade() -> None:
    op.execute("DROP VIEW human_inbox")
    for table in ("available_agents", "pending_changes", "tasks", "worktrees", "agent_sessions"):
        op.drop_table(table)
    op.drop_index("ix_tool_uses_message_id", table_name="tool_uses")


# --- the tables


def texts(*names: str, optional: bool = True) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=optional) for name in names]


def moments(*names: str, optional: bool = True) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=optional) for name in names]


def json_of_ours() -> Any:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def totals() -> list[sa.Column[Any]]:
    sums: list[sa.Column[Any]] = [sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS]
    return [*sums, *moments("started_at", "last_call_at", "turn_at"), *texts("turn_call_id")]


def key(table: str, column: str, target: str, rule: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}", ondelete=rule)


def one_of(table: str, column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"ck_{table}_{column}")


def create_agent_sessions() -> None:
    op.create_table(
        "agent_sessions",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("agent", sa.Text(), primary_key=True),
        *texts("backend", "config_hash"),
        *texts("status", optional=False),
        *totals(),
        *moments("closed_at"),
        key("agent_sessions", "session_id", "opencode_sessions", "CASCADE"),
        one_of("agent_sessions", "status", "active", "idle", "crashed", "closed"),
    )


def create_worktrees() -> None:
    op.create_table(
        "worktrees",
        sa.Column("id", sa.Text(), primary_key=True),
        *texts("path", "slug", "machine", "status", optional=False),
        *texts("branch", "base_commit"),
        *moments("created_at", "last_seen_at", optional=False),
        *moments("archived_at"),
        one_of("worktrees", "status", "active", "archived"),
    )
    is_active = sa.text("status = 'active'")
    op.create_index(
        "uq_worktrees_active_path",
        "worktrees",
        ["path", "machine"],
        unique=True,
        sqlite_where=is_active,
        postgresql_where=is_active,
    )


def create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text(), primary_key=True),
        *texts("run", "parent_id", "session_id", "worktree_id", "reason", "title", "input", "output_summary"),
        *texts("agent", "model", "execution_path", "mode", "thinking", "arena_id"),
        *texts("state", optional=False),
        sa.Column("is_launched", sa.Boolean(), nullable=False),
        sa.Column("features", json_of_ours(), nullable=True),
        sa.Column("exit_code", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("cost_tokens", sa.BigInteger(), nullable=False),
        *totals(),
        *moments("created_at", "updated_at", optional=False),
        *moments("ended_at"),
        key("tasks", "parent_id", "tasks", "SET NULL"),
        key("tasks", "session_id", "opencode_sessions", "SET NULL"),
        key("tasks", "worktree_id", "worktrees", "SET NULL"),
        one_of("tasks", "state", "pending", "running", "completed", "failed", "blocked", "cancelled"),
    )
    op.create_index("ix_tasks_created_at", "tasks", ["created_at"])
    op.create_index("ix_tasks_state_created", "tasks", ["state", "created_at"])
    for name in ("session_id", "parent_id", "arena_id"):
        op.create_index(f"ix_tasks_{name}", "tasks", [name])


def create_pending_changes() -> None:
    op.create_table(
        "pending_changes",
        sa.Column("id", sa.Text(), primary_key=True),
        *texts("session_id", "file_event_id", "path", "operation", "status", "agent", optional=False),
        *texts("task_id", "destination", "diff"),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        *moments("created_at", "updated_at", optional=False),
        key("pending_changes", "session_id", "opencode_sessions", "CASCADE"),
        key("pending_changes", "file_event_id", "opencode_file_events", "CASCADE"),
        key("pending_changes", "task_id", "tasks", "SET NULL"),
        one_of("pending_changes", "operation", "create", "edit", "delete", "move"),
        one_of("pending_changes", "status", "pending", "applied", "rejected", "reverted"),
    )
    op.create_index("ix_pending_changes_session_ordinal", "pending_changes", ["session_id", "ordinal"])
    op.create_index("ix_pending_changes_status_created", "pending_changes", ["status", "created_at"])
    for name in ("created_at", "file_event_id", "task_id"):
        op.create_index(f"ix_pending_changes_{name}", "pending_changes", [name])


# --- what is in them


def fill_worktrees() -> None:
    found: dict[str, dict[str, Any]] = {}
    for session in read_sessions(SESSIONS.c.workdir != ""):
        path = session["workdir"]
        row = found.setdefault(
            shorten(path),
            {
                "id": digest("worktree", path),
                "path": shorten(path),
                "slug": slug_of(path),
                "machine": "",
                "status": "active",
                "created_at": session["created_at"],
                "last_seen_at": minute(session["updated_at"]),
            },
        )
        row["created_at"] = min(row["created_at"], session["created_at"])
        row["last_seen_at"] = max(row["last_seen_at"], minute(session["updated_at"]))
    insert("worktrees", list(found.values()))


def fill_sums() -> None:
    """All that is added up over calls, in one passage over them."""
    agents: dict[tuple[str, str], Sums] = {}
    tasks: dict[str, Sums] = {}
    programs: dict[str, Program] = {}
    for session in read_sessions(SESSIONS.c.run.is_not(None)):
        tasks.setdefault(session["run"], Sums()).meet(session["created_at"])
    for call in read_calls():
        if call["session_id"] is not None:
            agents.setdefault((call["session_id"], shorten(call["agent"])), Sums()).add(call, is_root=True)
            if call["plugin"] not in (None, "generic"):
                programs.setdefault(call["plugin"], Program()).add(call)
        if call["run"] is not None:
            tasks.setdefault(call["run"], Sums()).add(
                call, is_root=call["session_id"] is not None and call["parent_id"] is None
            )
    everywhere = [*agents.values(), *tasks.values()]
    asking = asked_for({sums.turn["message_id"] for sums in everywhere if sums.turn and sums.turn["message_id"]})
    said = beginnings({sums.said["message_id"] for sums in tasks.values() if sums.said})
    insert("agent_sessions", [agent_session(id, agent, sums, asking) for (id, agent), sums in agents.items()])
    insert("tasks", [task(run, sums, asking, said) for run, sums in tasks.items()])
    insert("available_agents", [program.row(name) for name, program in programs.items()])


class Sums:
    """Of some calls. Calls come in any order; which is the newest is decided by their ends."""

    def __init__(self) -> None:
        self.sums = dict.fromkeys(SUMS, 0)
        self.met: Any = None  # when it was first heard of
        self.started: Any = None
        self.last: Any = None
        self.plugin: Any = None
        self.first_turn: Any = None
        self.turn: Any = None  # the newest main call
        self.said: Any = None  # the newest that was answered
        self.configured: Any = None  # the newest that was answered and sent a system prompt or tools
        self.modelled: Any = None  # the newest that was answered and has a model
        self.tried: Any = None  # the first that has a model

    def meet(self, at: Any) -> None:
        self.met = at if self.met is None else min(self.met, at)

    def add(self, call: Any, *, is_root: bool) -> None:
        self.sums["calls"] += 1
        self.plugin = call["plugin"]
        if call["kind"] != "count":
            for name in COUNTED:
                self.sums[name] += call[name] or 0
            if call["cost"] is not None:
                self.sums["cost"] += call["cost"]
                self.sums["priced_calls"] += 1
            elif call["input_tokens"] is not None or call["output_tokens"] is not None:
                self.sums["unpriced_calls"] += 1
        self.started = call["started_at"] if self.started is None else min(self.started, call["started_at"])
        self.last = call["ended_at"] if self.last is None else max(self.last, call["ended_at"])
        if call["kind"] != "main" or not is_root:
            return
        self.first_turn = older(self.first_turn, call)
        self.turn = newer(self.turn, call)
        if call["model"]:
            self.tried = older(self.tried, call)
        if call["message_id"]:
            self.said = newer(self.said, call)
        if not failed(call):
            if call["model"]:
                self.modelled = newer(self.modelled, call)
            if call["message_id"] and call["prompt_hash"]:
                self.configured = newer(self.configured, call)

    def row(self) -> dict[str, Any]:
        return {
            **{name: min(value, LARGEST) for name, value in self.sums.items()},
            "started_at": self.started,
            "last_call_at": self.last,
            "turn_at": self.turn["ended_at"] if self.turn else None,
            "turn_call_id": self.turn["id"] if self.turn else None,
        }


def agent_session(id: str, agent: str, sums: Sums, asking: set[str]) -> dict[str, Any]:
    told = {"works": "active", "said": "idle", "blocked": "crashed", "failed": "crashed"}
    config = sums.configured
    return {
        **sums.row(),
        "session_id": id,
        "agent": agent,
        "backend": sums.plugin,
        "status": told[judge(sums.turn, asking)] if sums.turn else "idle",
        "config_hash": digest("config", config["model"] or "", config["prompt_hash"]) if config else None,
    }


def task(run: str, sums: Sums, asking: set[str], said: dict[str, str]) -> dict[str, Any]:
    first, turn = sums.first_turn, sums.turn
    judgement = judge(turn, asking) if turn else None
    why = None
    if turn and judgement in ("blocked", "failed"):
        why = turn["error"] or turn["detail"] or (f"HTTP {turn['status']}" if turn["status"] else turn["outcome"])
    model = sums.modelled or sums.tried
    folder = (first["workdir"] or "") if first else ""
    used = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    told = {"works": "running", "said": "completed", "blocked": "blocked", "failed": "failed", None: "pending"}
    return {
        **sums.row(),
        "id": digest("task", run),
        "run": run,
        "state": told[judgement],
        "reason": why[:500] if why else None,
        "is_launched": False,
        "cost_tokens": min(sum(sums.sums[name] for name in used), LARGEST),
        "session_id": first["session_id"] if first else None,
        "agent": first["agent"] if first else None,
        "model": model["model"] if model else None,
        "input": first["prompt"] or None if first else None,
        "worktree_id": digest("worktree", folder) if 0 < len(folder) <= 512 else None,
        "output_summary": said.get(sums.said["message_id"]) if sums.said else None,
        "created_at": sums.started or sums.met,
        "updated_at": sums.last or sums.met,
        "ended_at": turn["ended_at"] if judgement in ("said", "failed") else None,
    }


class Program:
    """What calls tell of one agent's program."""

    def __init__(self) -> None:
        self.models: set[str] = set()
        self.first: Any = None
        self.last: Any = None
        self.version: Any = None

    def add(self, call: Any) -> None:
        if call["kind"] == "main" and call["error"] is None and 0 < (call["status"] or 0) < 400 and call["model"]:
            self.models.add(call["model"])
        self.first = call["started_at"] if self.first is None else min(self.first, call["started_at"])
        if self.last is None or call["ended_at"] >= self.last:
            self.last, self.version = call["ended_at"], call["agent_version"] or self.version

    def row(self, name: str) -> dict[str, Any]:
        seen = {"first_seen_at": self.first, "last_seen_at": minute(self.last)}
        return {"name": name, "machine": "", "version": self.version, "models": sorted(self.models), **seen}


def fill_pending_changes() -> None:
    statuses = {"applied": "applied", "failed": "rejected", "rejected": "rejected"}
    operations = {"write": "edit", "edit": "edit", "delete": "delete", "move": "move"}
    told = EVENTS.c.status.is_not(None) & EVENTS.c.event_type.in_(operations) & (EVENTS.c.file_path != "")
    rows: list[dict[str, Any]] = []
    for event in read_changes(told):
        operation = operations[event["event_type"]]
        mode = (event["diff"] or "").partition("\n")[2] if operation == "edit" else ""
        if mode.startswith("new file mode "):
            operation = "create"
        elif mode.startswith("deleted file mode "):
            operation = "delete"
        rows.append(
            {
                "id": digest("change", event["id"]),
                "session_id": event["session_id"],
                "file_event_id": event["id"],
                "path": event["file_path"],
                "operation": operation,
                "status": statuses.get(event["status"], "pending"),
                "agent": event["agent_name"],
                "task_id": digest("task", event["run"]) if event["run"] is not None else None,
                "destination": event["destination"],
                "diff": event["diff"],
                "ordinal": event["ordinal"] or 0,
                "created_at": event["created_at"],
                "updated_at": event["updated_at"] or event["created_at"],
            }
        )
        if len(rows) >= AT_ONCE:
            insert("pending_changes", rows)
            rows.clear()
    insert("pending_changes", rows)


def judge(call: Any, asking: set[str]) -> str:
    """How things stood when this main call had ended."""
    if failed(call):
        return "blocked" if call["status"] in (401, 402, 403, 429) else "failed"
    return "works" if call["message_id"] in asking else "said"


def failed(call: Any) -> bool:
    status = call["status"]
    return call["error"] is not None or status is None or status >= 400 or call["outcome"] != "complete"


def newer(one: Any, other: Any) -> Any:
    return other if one is None or (other["ended_at"], other["id"]) > (one["ended_at"], one["id"]) else one


def older(one: Any, other: Any) -> Any:
    return other if one is None or (other["ended_at"], other["id"]) < (one["ended_at"], one["id"]) else one


def digest(*parts: str) -> str:
    state = blake2b(digest_size=10)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()


def shorten(value: str) -> str:
    """As `columns.shorten` did when this revision was made."""
    full = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return value if len(value) <= 512 else f"{value[: 512 - len(full) - 1]}~{full}"


def minute(moment: Any) -> Any:
    return moment.replace(second=0, microsecond=0)


def slug_of(path: str) -> str:
    name = posixpath.basename(path.replace("\\", "/").rstrip("/"))
    return re.sub(r"[^\w.]+", "-", name).strip("-").lower()


# --- statements


MOMENT = sa.DateTime(timezone=True)


def table(name: str, *columns: str, kinds: dict[str, Any] | None = None) -> sa.TableClause:
    return sa.table(
        name,
        *[sa.column(column, sa.Text()) for column in columns],
        *[sa.column(column, kind) for column, kind in (kinds or {}).items()],
    )


SESSIONS = table(
    *("opencode_sessions", "id", "workdir", "run", "agent_name", "plugin", "parent_id", "prompt", "agent_version"),
    kinds={"created_at": MOMENT, "updated_at": MOMENT},
)
CALLS = table(
    *("calls", "id", "session_id", "agent_name", "run", "kind", "outcome", "detail", "error", "model", "message_id"),
    "prompt_hash",
    kinds={
        "status": sa.Integer(),
        "started_at": MOMENT,
        "ended_at": MOMENT,
        **dict.fromkeys((*COUNTED, "cost"), sa.BigInteger()),
    },
)
EVENTS = table(
    *("opencode_file_events", "id", "session_id", "event_type", "status", "file_path", "destination", "diff"),
    kinds={"ordinal": sa.Integer(), "created_at": MOMENT, "updated_at": MOMENT},
)
MESSAGES = table("opencode_messages", "id", "content")
TOOL_USES = table("tool_uses", "message_id")


def read_sessions(where: Any) -> Iterator[Any]:
    return pages(sa.select(SESSIONS).where(where), SESSIONS.c.id)


def read_calls() -> Iterator[Any]:
    """With what their sessions say."""
    told = [SESSIONS.c[name] for name in ("plugin", "parent_id", "prompt", "workdir", "agent_version")]
    agent = sa.func.coalesce(CALLS.c.agent_name, SESSIONS.c.agent_name).label("agent")
    query = sa.select(CALLS, *told, agent).join_from(CALLS, SESSIONS, SESSIONS.c.id == CALLS.c.session_id, isouter=True)
    return pages(query, CALLS.c.id)


def read_changes(where: Any) -> Iterator[Any]:
    query = sa.select(EVENTS, SESSIONS.c.agent_name, SESSIONS.c.run)
    return pages(query.join_from(EVENTS, SESSIONS, SESSIONS.c.id == EVENTS.c.session_id).where(where), EVENTS.c.id)


def pages(query: sa.Select[Any], id: sa.ColumnClause[Any]) -> Iterator[Any]:
    """The rows, some at a time: a database may be larger than the memory."""
    last = ""
    while rows := op.get_bind().execute(query.where(id > last).order_by(id).limit(AT_ONCE)).mappings().all():
        yield from rows
        last = rows[-1]["id"]


def by_ids(query: sa.Select[Any], column: sa.ColumnClause[Any], ids: list[str]) -> Iterator[Any]:
    for start in range(0, len(ids), 500):
        yield from op.get_bind().execute(query.where(column.in_(ids[start : start + 500]))).mappings()


def asked_for(messages: set[str]) -> set[str]:
    """Those of the messages that ask for tools."""
    use = TOOL_USES.c.message_id
    return {row["message_id"] for row in by_ids(sa.select(use).distinct(), use, sorted(messages))}


def beginnings(messages: set[str]) -> dict[str, str]:
    begins = sa.func.substr(MESSAGES.c.content, 1, 400).label("begins")
    rows = by_ids(sa.select(MESSAGES.c.id, begins), MESSAGES.c.id, sorted(messages))
    return {row["id"]: row["begins"] for row in rows if row["begins"]}


def insert(name: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    found = sa.Table(name, sa.MetaData(), autoload_with=op.get_bind())
    for start in range(0, len(rows), AT_ONCE):
        op.get_bind().execute(sa.insert(found), rows[start : start + AT_ONCE])
