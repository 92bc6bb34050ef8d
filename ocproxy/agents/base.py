"""The contract of an agent plug-in. Pure: no IO, no clock, no state.

An agent module defines `AGENT`, an object of this shape. `ocproxy.agents.generic` is the fallback for all calls that
no other agent recognises; subclass `generic.Generic` to change only what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from typing import Protocol as Shape

import msgspec

from ocproxy.model import (
    CallKind,
    Certainty,
    EventType,
    Identity,
    Message,
    ModelRequest,
    Part,
    Reply,
    Status,
    Text,
    ToolResult,
    ToolUse,
)


class CallFacts(msgspec.Struct, frozen=True):
    """What is known of a call before it is linked. `headers` have lower-case names, credentials replaced."""

    method: str
    path: str
    headers: dict[str, str]
    tags: dict[str, str]  # x-ocproxy-* headers
    run: str | None
    request: ModelRequest | None  # None: no decoder knew it
    reply: Reply | None


class Cell(msgspec.Struct, frozen=True):
    """The cell of a notebook that an edit is about: the one named (None: the beginning), or a new one behind it."""

    name: str | None
    mode: str = "replace"  # "replace", "insert" or "delete"
    kind: str | None = None  # "code" or "markdown"; None: as it was
    new_name: str | None = None  # of a new cell, as the result tells it


class Replacement(msgspec.Struct, frozen=True):
    """One edit: `old` is replaced by `new`, once or everywhere.

    With `whole_lines` it is a hunk of a patch: `old` and `new` are whole lines, and the first place that fits is meant,
    behind the line `anchor` where there is one.
    """

    old: str
    new: str
    everywhere: bool = False
    whole_lines: bool = False
    anchor: str | None = None
    at_end: bool = False  # a hunk that names the end of the file as its place
    first: bool = False  # the first place that fits, by the rules of the MCP filesystem server
    cell: Cell | None = None  # `new` is the source of this cell of a notebook, `old` is empty


class Action(msgspec.Struct, frozen=True):
    """One thing that a tool use asks for. A tool use gives none, one or many."""

    event_type: EventType
    path: str | None = None  # as the agent wrote it, absolute or relative
    command: str | None = None  # bash; the pattern of a search
    content: str | None = None  # write: the whole new content
    replacements: tuple[Replacement, ...] = ()  # edit: in order
    insert_after: tuple[int, str] | None = None  # edit: (line number, text)
    destination: str | None = None  # move
    first_line: int | None = None  # read: 1-based
    line_count: int | None = None  # read
    creates: bool = False  # write: succeeds only where there is no file yet
    follows_shell: bool = True  # a relative path is relative to where the shell went; False: to the session's folder
    certainty: Certainty = "exact"
    doubt: str | None = None  # why it is inferred, one line
    unknown_shape: bool = False  # its use has not the fields that the tool is known to take: a newer version's, perhaps


class Answer(msgspec.Struct, frozen=True):
    """What a tool result says of its tool use. `None` everywhere = the result does not say; nothing is invented."""

    status: Status
    exit_code: int | None = None
    output_bytes: int | None = None
    lines: tuple[tuple[int, str], ...] | None = None  # read: (line number, text without its newline), unwrapped
    whole: bool | None = None  # read: `lines` are the whole file
    final_newline: bool | None = None  # read: the last line of the file ends in a newline
    ending_assumed: bool = False  # read: `final_newline` is not said, but taken to be as in most files
    supposed: bool = False  # read: the result shows a text, and does not say that it is `lines`, the whole file
    created: bool | None = None  # write: the file did not exist before
    note: str | None = None  # why it failed or was rejected, one line
    missing: bool = False  # the file was not there
    altered: bool = False  # applied, but not as the tool use says (the user changed the proposal)
    stale: bool = False  # applied, and the file had been changed since it was last read
    by_path: dict[str, Literal["applied", "failed"]] = {}  # when one result answers for several files
    each: tuple[Answer, ...] = ()  # one for each of the use's actions, when one result answers them apart
    new_cell: str | None = None  # edit of a notebook: the name of the cell that was put in
    background: str | None = None  # bash: it was started, and its end is told under this id (see `News`)


class CommandEnd(msgspec.Struct, frozen=True):
    """The end of a command that ran in the background. `background` is the id that its own result gave it."""

    background: str
    status: Status
    exit_code: int | None = None
    note: str | None = None


class News(msgspec.Struct, frozen=True):
    """What a part of a message tells beside the answer to a tool use.

    `folder` is where the agent's shell stands from now on, absolute or relative to where it stood; `inferred` where it
    was worked out from a command.
    """

    ended: tuple[CommandEnd, ...] = ()
    folder: str | None = None
    certainty: Certainty = "exact"


class Checkout(msgspec.Struct, frozen=True):
    """What a call tells of the repository in its working folder."""

    branch: str | None = None
    commit: str | None = None  # hexadecimal


class Flattened(msgspec.Struct, frozen=True):
    """A conversation that a request holds as one text instead of as messages, since it is to be made shorter."""

    texts: tuple[str, ...]  # beginnings of what users, models and tools said, in their order
    before: str | None = None  # the summary of what was said before that


class Agent(Shape):
    """One coding agent."""

    name: str  # "claude-code"

    def recognises(self, facts: CallFacts) -> bool:
        """Whether this agent made the call."""
        ...

    def identity(self, facts: CallFacts) -> Identity:
        """What the call says of its session."""
        ...

    def checkout(self, facts: CallFacts) -> Checkout:
        """What the call says of the repository that it works in."""
        ...

    def kind(self, facts: CallFacts) -> CallKind:
        """What the call was for. Only MAIN calls make messages and events."""
        ...

    def title(self, facts: CallFacts) -> str | None:
        """The session's title, when the call is a TITLE call and its reply holds one."""
        ...

    def about(self, facts: CallFacts) -> str | None:
        """The prompt that the session began with which a side call that names no session is about; None: not told."""
        ...

    def flattened(self, facts: CallFacts) -> Flattened | None:
        """The conversation that a SUMMARY call is about, when it holds it as text; None when it does not, or not so."""
        ...

    def recap(self, messages: Sequence[Message]) -> int:
        """How many messages at the beginning of a conversation the program wrote by itself, on both sides, to go on
        from a summary. Only those after which an answer stands that no model gave need be told."""
        ...

    def key(self, message: Message) -> str | None:
        """The message reduced to what stays the same when the agent sends it again (a text to be hashed), or None for a
        message that must not be part of the conversation at all. Tool uses and results count by their call id only."""
        ...

    def aside(self, message: Message) -> str | None:
        """The key of a message that is told beside the conversation, because the program puts it before the newest
        prompt each time (contents of files); `key` is None for it. None: it is no such message."""
        ...

    def inherited(self, messages: Sequence[Sequence[Part]]) -> int:
        """How many messages at the beginning of a conversation, of which the parts are given, another session had
        before: a subagent took them over. What their tools did is told there."""
        ...

    def spoken(self, text: str) -> str:
        """A text without what the agent's program attached to it by itself (reminders, environment): what was said,
        and what stays the same whenever the text is sent again."""
        ...

    def system_key(self, request: ModelRequest) -> str:
        """System prompt and tools reduced to what stays the same between calls of one configuration."""
        ...

    def actions(self, use: ToolUse) -> tuple[Action, ...]:
        """What a tool use asks for, by this agent's own catalogue. Unknown tools: by field names, `inferred`."""
        ...

    def answer(self, use: ToolUse, result: ToolResult) -> Answer:
        """What the result says, by this agent's own wording and flags."""
        ...

    def news(self, said: Text | ToolResult, use: ToolUse | None) -> News:
        """What a text that no model wrote, or the result of `use`, tells of background commands and of the shell."""
        ...

    def attached(self, parts: Sequence[Part]) -> tuple[tuple[str, Answer], ...]:
        """Files that the agent's program put into a message that no model wrote: their paths, and what it shows of
        them, as a read's answer. `parts` begin with the last one of the message before, when no model wrote it."""
        ...

    def uses_in(self, parts: Sequence[Part]) -> tuple[ToolUse, ...]:
        """Tool uses that the model wrote into the text of an answer, for agents that offer it no tools. Their ids need
        only differ within the answer."""
        ...

    def results_in(self, parts: Sequence[Part], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
        """What became of `uses`, those of the last answer that have no result yet, as far as `parts` tell it: all that
        was said since by others than the model."""
        ...

    def retold(self, messages: Sequence[Message], uses: Sequence[ToolUse]) -> tuple[ToolResult, ...]:
        """The results of `uses`, all tool uses of the last answer, in a request for a summary that tells the history as
        text. They name the uses as their message does (`alias`, where there is one). None: it does not tell them so."""
        ...

    def delegated(self, use: ToolUse) -> str | None:
        """The prompt with which a subagent's conversation begins, for agents that do not say whose a subagent is. None
        for a tool use that starts none."""
        ...

    def replace(self, text: str, replacement: Replacement) -> str | None:
        """`text` (a whole file, or consecutive lines of one) after this edit, by this agent's own rules of matching.
        None when the edit does not apply to it: not there, or there more than once and not `everywhere`."""
        ...

    def replace_all(self, text: str, replacements: Sequence[Replacement]) -> str | None:
        """`text`, a whole file, after all edits of one action in their order; None when one of them does not apply."""
        ...

    def written(self, old: str | None, content: str) -> str:
        """What a file holds after a write of `content` over `old` (None: not known, or no file)."""
        ...
