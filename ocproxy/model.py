"""Values of the meaning: what a protocol decodes to, what an agent's tools did, and what is stored.

Times are aware datetimes in UTC. Anything typed `Json` is plain JSON data (dict, list, str, int, float, bool, None).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

from ocproxy.digest import digest as digest
from ocproxy.work import AvailableAgent, PendingChange, Worktree

Json = Any
Certainty = Literal["exact", "inferred"]


# Begins the id of a call that its protocol need not name: it tells the calls of one message apart, no more, and comes
# from name and input, so that the call has the same one in the reply and in every later history. `sessions.call_ids`
# gives such a call the id under which it is stored.
UNNAMED = "noid_"


class Problem(msgspec.Struct, frozen=True):
    """Something that could not be understood. It costs one call at most and never raises."""

    code: str  # "bad_json", "unknown_block", "truncated", … one word for programs
    message: str  # a sentence for the user


# --- parts of a message ---------------------------------------------------------------------------


class Text(msgspec.Struct, frozen=True, omit_defaults=True, tag="text"):
    """Plain text. `citations` and other provider fields stay in `extra`."""

    text: str
    extra: dict[str, Json] = {}


class Reasoning(msgspec.Struct, frozen=True, omit_defaults=True, tag="reasoning"):
    """Thinking. `redacted` holds the opaque data of redacted thinking; then `text` is empty."""

    text: str
    signature: str | None = None
    redacted: str | None = None
    extra: dict[str, Json] = {}


class ToolUse(msgspec.Struct, frozen=True, omit_defaults=True, tag="tool_use"):
    """The model asks for a tool. `input` is the parsed arguments; a freeform tool has {"input": text}.

    `complete` is False when the stream ended inside the arguments: `input` then holds {} and `raw` what came.
    `executor` is "provider" for server tools (web search, code execution, MCP connector), "other session" for what the
    session that this one was forked from did, else "agent".
    Where `id` begins with `UNNAMED`, `alias` is the id that the provider gave, if it did; once stored, the other way
    round. A stored call has an alias too where the provider gave it the id of an earlier one (`call_0` in every reply).
    """

    id: str
    name: str
    input: dict[str, Json]
    executor: Literal["agent", "provider", "other session"] = "agent"
    complete: bool = True
    raw: str | None = None
    extra: dict[str, Json] = {}
    alias: str | None = None


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="tool_result"):
    """What a tool answered. `text` is all text content joined by newlines; `content` is the provider's own form.
    `alias` is to `tool_use_id` what it is to the id of a `ToolUse`."""

    tool_use_id: str
    text: str
    is_error: bool | None = None  # None: the wire does not say
    name: str | None = None
    content: Json = None
    executor: Literal["agent", "provider", "other session"] = "agent"
    extra: dict[str, Json] = {}
    alias: str | None = None


class Media(msgspec.Struct, frozen=True, omit_defaults=True, tag="media"):
    """An image, document, audio … `raw` is the provider's own block."""

    kind: str  # "image", "document", …
    media_type: str | None
    raw: Json


class Opaque(msgspec.Struct, frozen=True, omit_defaults=True, tag="opaque"):
    """A block that we do not know, kept as it came."""

    kind: str
    raw: Json


Part = Text | Reasoning | ToolUse | ToolResult | Media | Opaque


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation as one protocol sent it."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]
    extra: dict[str, Json] = {}  # other fields of the message, such as a turn's own output settings


# --- a decoded call -------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one call. `input` excludes everything read from or written to a cache. None = the wire did not say."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None  # total of all cache writes
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    extra: dict[str, Json] = {}  # server tool counts, service tier, …


class ModelRequest(msgspec.Struct, frozen=True):
    """A request for a model's answer, independent of protocol."""

    model: str | None
    stream: bool
    system: tuple[Part, ...]
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Json], ...]  # as the protocol has them
    params: dict[str, Json] = {}  # every other top-level field, as sent
    endpoint: str = "generate"  # "generate", "count_tokens", "models", …
    continues: str | msgspec.UnsetType = msgspec.UNSET  # id of the reply that `messages` follow; unset: they are all
    conversation: str | msgspec.UnsetType = msgspec.UNSET  # id of one that the provider keeps: `messages` are new in it


class Reply(msgspec.Struct, frozen=True):
    """The model's answer as far as it came. `complete` = the protocol's own terminal event or a whole JSON body."""

    id: str | None = None
    model: str | None = None
    parts: tuple[Part, ...] = ()
    stop_reason: str | None = None
    usage: Usage = Usage()
    error: str | None = None  # "overloaded_error: Overloaded"
    complete: bool = True
    extra: dict[str, Json] = {}


class Delta(msgspec.Struct, frozen=True):
    """A step of a streamed reply, for whoever follows it live. `index` is the block it belongs to."""

    kind: Literal["start", "text", "reasoning", "tool_input", "stop", "error"]
    index: int
    text: str = ""


class CallKind(StrEnum):
    """What a call was for. Only `main` calls are part of the conversation."""

    MAIN = "main"
    TITLE = "title"
    TOPIC = "topic"
    QUOTA = "quota"
    COUNT = "count"
    SUMMARY = "summary"  # compaction
    SAFETY = "safety"  # classifier and auto-mode checks
    CHECK = "check"  # a question of the client itself about the conversation: who speaks next, a loop, a routing, a fix
    MEMORY = "memory"  # what is worth remembering
    COMMIT = "commit"  # the message of a git commit
    MODELS = "models"
    PROBE = "probe"
    OTHER = "other"  # forwarded and journalled; no decoder knows it


class Identity(msgspec.Struct, frozen=True):
    """What a call says of its session. All fields as the wire has them; None = not said."""

    agent: str  # "claude-code", "generic", …
    session: str | None = None  # the agent's own session id
    agent_id: str | None = None  # id of the subagent within the session
    parent_agent_id: str | None = None  # the subagent's parent subagent; None with agent_id set = the main agent
    parent_session: str | None = None  # the parent's session id, for agents whose subagents have sessions of their own
    workdir: str | None = None
    version: str | None = None
    title: str | None = None
    thread: str | None = None  # abi_thread_id


# --- file events ----------------------------------------------------------------------------------


class EventType(StrEnum):
    """The seed schema's four, and three more."""

    READ = "read"
    WRITE = "write"
    EDIT = "edit"
    BASH = "bash"
    DELETE = "delete"
    MOVE = "move"
    SEARCH = "search"


class Status(StrEnum):
    """What became of a tool use. `requested` = no result seen; never invented."""

    REQUESTED = "requested"
    APPLIED = "applied"
    FAILED = "failed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class FileEvent(msgspec.Struct, frozen=True):
    """One thing a tool did to one file, or one command."""

    id: str
    session_id: str
    message_id: str
    tool_use_id: str
    tool_name: str
    event_type: EventType
    ordinal: int  # place among the events of its session, from 0
    created_at: datetime
    updated_at: datetime
    status: Status = Status.REQUESTED
    certainty: Certainty = "exact"
    file_path: str | None = None
    destination: str | None = None  # of a move
    diff: str | None = None  # unified diff, a/ and b/ prefixes
    command: str | None = None
    exit_code: int | None = None
    output_bytes: int | None = None
    note: str | None = None  # why it failed, or why the diff is inferred


# --- what is stored -------------------------------------------------------------------------------


class SessionRow(msgspec.Struct, frozen=True):
    """One conversation of one agent; a subagent's has a parent."""

    id: str
    opencode_id: str  # the agent's own id; ours where it has none
    agent_name: str
    workdir: str
    created_at: datetime
    updated_at: datetime
    abi_thread_id: str | None = None
    title: str | None = None
    parent_id: str | None = None
    protocol: str | None = None
    model: str | None = None
    agent_version: str | None = None
    run: str | None = None
    prompt: str | None = None  # how its first message begins, for lists
    parent_certainty: Certainty | None = None  # "inferred": told from the prompt that the parent gave it
    plugin: str | None = None  # the agent plug-in that reads it; agent_name may be the user's own word (a tag)


class MessageRow(msgspec.Struct, frozen=True):
    """One message of one session. Messages form a tree: a fork is another child of the same parent."""

    id: str
    session_id: str
    role: str
    content: str | None  # all text, newline-joined
    parts: list[Json]
    created_at: datetime
    parent_id: str | None
    depth: int
    key: str  # digest of the normalised content, without parent or session
    history: str  # digest over the keys from the root to this message, without session
    call_id: str  # the call in which it was first seen
    seq: int  # place in the order in which the session's messages were stored, from 0


class ToolUseRow(msgspec.Struct, frozen=True):
    """Which session a tool call id belongs to: the link for agents that say nothing of themselves."""

    session_id: str
    tool_use_id: str
    message_id: str
    name: str
    delegated: str | None = None  # digest of the prompt that it gives a subagent, where only that links the two


class PromptRow(msgspec.Struct, frozen=True):
    """System prompt and tools of a call, stored once for all calls that sent the same."""

    hash: str
    system: list[Json]
    tools: list[Json]


class CallRow(msgspec.Struct, frozen=True):
    """One exchange."""

    id: str
    journal: str
    exchange: int
    position: str
    session_id: str | None
    run: str | None
    agent_name: str | None
    protocol: str | None
    upstream: str
    method: str
    path: str
    kind: str
    status: int | None  # HTTP status the client got
    outcome: str
    detail: str
    started_at: datetime
    first_byte_at: datetime | None
    ended_at: datetime
    request_bytes: int
    response_bytes: int
    model: str | None = None
    reply_id: str | None = None
    request_message_id: str | None = None  # the last message of its request: the same for tries of one turn
    message_id: str | None = None  # the assistant message it produced
    prompt_hash: str | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    error: str | None = None
    problems: list[Json] = []
    title: str | None = None  # that a title call found
    about: str | None = None  # how the session began that it is about, while that is not known
    summary_key: str | None = None  # of a summary that it was answered with, which the session goes on from
    billing: Json = None  # what decides its price beside its tokens: `ocproxy.pricing.book.Billing`
    cost: int | None = None  # nano-dollars; None: not known, or nothing to pay for
    price_version: str | None = None  # of the prices that the cost is by
    price_note: str | None = None  # why there is no cost, or at whose price it is told


class GapRow(msgspec.Struct, frozen=True):
    """Something that could not be recorded or read."""

    id: str
    journal: str
    position: str
    reason: str
    records: int
    bytes: int
    created_at: datetime


class IngestPosition(msgspec.Struct, frozen=True):
    """How far one journal is in the database."""

    journal: str
    position: str  # everything before it was read
    resume: str  # start of the oldest exchange that had not ended: read again from here


class IngestTurn(msgspec.Struct, frozen=True):
    """Where one journal stands among those of all replicas that store into one database (`ocproxy.ingest.turns`)."""

    journal: str
    told_ns: int  # every call of it that was told up to this time is stored
    beat_ns: int  # changes whenever its replica is heard of
    is_waiting: bool = False  # it has more, which waits for others
    is_away: bool = False  # nobody waits for it: it said farewell, or was not heard of for long
    commits: int = 0  # how often calls were stored from it; in a batch: how many times more


class Batch(msgspec.Struct):
    """What one transaction stores. Rows are upserts by their id; order within a list is kept."""

    sessions: list[SessionRow] = msgspec.field(default_factory=list)
    messages: list[MessageRow] = msgspec.field(default_factory=list)
    tool_uses: list[ToolUseRow] = msgspec.field(default_factory=list)
    file_events: list[FileEvent] = msgspec.field(default_factory=list)
    prompts: list[PromptRow] = msgspec.field(default_factory=list)
    calls: list[CallRow] = msgspec.field(default_factory=list)
    gaps: list[GapRow] = msgspec.field(default_factory=list)
    positions: list[IngestPosition] = msgspec.field(default_factory=list)
    turns: list[IngestTurn] = msgspec.field(default_factory=list)
    pending_changes: list[PendingChange] = msgspec.field(default_factory=list)
    worktrees: list[Worktree] = msgspec.field(default_factory=list)
    available_agents: list[AvailableAgent] = msgspec.field(default_factory=list)
