"""The state of one session: its message tree and what its tools did. A fold over its messages, in their order.

Live, `hear` and `say` take the messages of calls and return the rows to store. After a restart `restore` folds the
stored messages again, so that a session goes on exactly as if there had been no interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.files.derive import FileLedger
from ocproxy.files.folding import count_inherited, ledger_of, parts_of
from ocproxy.model import (
    Batch,
    CallKind,
    Json,
    Message,
    MessageRow,
    Opaque,
    Part,
    Reasoning,
    SessionRow,
    Text,
    ToolResult,
    ToolUse,
    ToolUseRow,
    digest,
)
from ocproxy.protocols.base import REFERENCE
from ocproxy.sessions.call_ids import CallIds
from ocproxy.sessions.chain import Chain, Node, Step, message_key
from ocproxy.sessions.joined import Known, Sent, Texts, follow, without_calls
from ocproxy.sessions.linker import delegation_key

# Roughly: a session without messages, and the node of a message in the tree, which is ids and digests.
_LEAST_SIZE, _NODE_BYTES = 4_096, 1_024


class Conversation:
    """One session as it stands. Not safe for use by two tasks at once."""

    def __init__(self, row: SessionRow, agent: Agent) -> None:
        self.row = row
        self.agent = agent
        self.ledger = FileLedger(row.id, row.workdir, agent)
        self._chain = Chain(row.id)
        self._asides: set[str] = set()  # keys of messages told beside the conversation
        self._call_ids = CallIds()
        self._known = Known(agent, self._chain, self._call_ids)
        self._texts = Texts()
        self._items: dict[str, str] = {}  # the provider's id of a part -> its message
        self._cut: dict[str, str] = {}  # keys of answers that broke off inside a call, by `_again` of them
        self._asking: tuple[str, tuple[ToolUse, ...]] | None = None  # the newest answer, and its uses without a result
        self._seq = 0
        self.size = _LEAST_SIZE  # memory that it takes, approximately: what of files is known came with its messages

    def restore(self, messages: Sequence[MessageRow]) -> None:
        """Fold the stored messages of the session, in the order in which they were stored.

        Those without a key have lost their place in it (a downgrade drops it), and get it back when they are told anew.
        """
        for message in filter(_is_placed, messages):
            if message.history:
                self._chain.restore(message.id, message.parent_id, message.key, message.history)
                self._rename(message.role, message.parts, message.id)
                self._index(message)
                if message.role == "assistant":
                    self._texts.take(parts_of(message), message.id, self._known)
            else:
                self._asides.add(message.key)
            self._call_ids.restore(message)
            self._seq = max(self._seq, message.seq + 1)
            self.size += _size_of(message)
        self.refold(messages)

    def refold(self, messages: Sequence[MessageRow]) -> None:
        """Tell the ledger everything anew: the working folder, which names of files are relative to, became known."""
        placed = list(filter(_is_placed, messages))
        self.ledger = ledger_of(self.row, self.agent, placed)
        last = next((row for row in reversed(placed) if row.role == "assistant" or _has_results(row)), None)
        if last is not None:
            self._ask(last.id, last.role, parts_of(last))

    def update(self, row: SessionRow) -> None:
        """Take what a call newly says of the session."""
        self.row = row
        self.ledger.workdir = row.workdir

    @property
    def is_begun(self) -> bool:
        """Whether it has a message."""
        return self._seq > 0

    def begins_with(self, messages: Sequence[Message]) -> bool:
        """Whether it has a message in the place of the first of these, which is a known one."""
        first = next((key for message in messages if (key := self._key(message)) is not None), None)
        return first is not None and self._chain.child(None, first) is not None

    def is_resumed(self, messages: Sequence[Message]) -> bool:
        """Whether it has the first answer in these messages where it stands, with calls that it may be sent without."""
        at: str | None = None
        for message in messages:
            if (key := self._key(message)) is not None:
                is_answer = message.role == "assistant"
                at = self._chain.child(at, key) or (self._chain.child(at, without_calls(key)) if is_answer else None)
                if at is None or is_answer:
                    return at is not None
        return False

    def is_joined(self, messages: Sequence[Message]) -> bool:
        """Whether the first answer in these messages is several of its own, where it stands."""
        at: str | None = None
        for message in messages:
            if (key := self._key(message)) is not None:
                if message.role == "assistant":
                    return self._chain.joined(at, key) is not None
                if (at := self._chain.child(at, key)) is None:
                    return False
        return False

    @property
    def last_seq(self) -> int:
        """The `seq` of its last message; -1: it has none."""
        return self._seq - 1

    def is_answered(self, message_id: str) -> bool:
        """Whether another message follows the message."""
        return self._chain.is_followed(message_id)

    def hear(
        self,
        messages: Sequence[Message],
        call_id: str,
        at: datetime,
        batch: Batch,
        after: str | None = None,
        *,
        is_anew: bool = False,
    ) -> str | None:
        """Take the history that a request sent, from the message `after` on (None: all of it). New messages go into
        `batch`. `is_anew`: its first message stands for a longer history. Returns the id of its last message."""
        sent = [Sent(message, key) for message in messages if (key := self._key(message)) is not None]
        steps = follow(sent, self._known, after, is_anew=is_anew)
        inherited = count_inherited(self.agent, [message.parts for message, _ in steps]) if after is None else 0
        for number, (message, step) in enumerate(steps):
            if step.is_new:
                self._store(message, step.node, call_id, at, batch, is_inherited=number < inherited)
        for message in messages:
            if (aside := self.agent.aside(message)) is not None:
                self._store_aside(message, digest("aside", aside), call_id, at, batch)
        return steps[-1][1].node.id if steps else after

    def overhear(self, messages: Sequence[Message], call_id: str, at: datetime, batch: Batch) -> None:
        """Take of a history that is to be made shorter the results that are told nowhere else: of the calls that were
        under way. What follows them is no part of the conversation."""
        if self._asking is not None and (told := self.agent.retold(messages, self._asking[1])):
            self.hear([Message("user", told)], call_id, at, batch, self._asking[0])
            return
        last = max((n for n, m in enumerate(messages) if any(isinstance(p, ToolResult) for p in m.parts)), default=None)
        first = message_key(self.agent, messages[0]) if messages else None
        if last is None or first is None or self._chain.child(None, first) is None:
            return  # it is told as text, in another order, or not the history that we know
        results = tuple([part for part in messages[last].parts if isinstance(part, ToolResult)])
        rest = msgspec.structs.replace(messages[last], parts=results)
        self.hear([*messages[:last], rest], call_id, at, batch)

    def _key(self, message: Message) -> str | None:
        """The key of a message, some parts of which may be references to a known one: then it is that."""
        references = [part.raw for part in message.parts if isinstance(part, Opaque) and part.kind == REFERENCE]
        meant = {self._items.get(str(raw.get("id"))) for raw in references if isinstance(raw, dict)}
        id = meant.pop() if len(meant) == 1 else None
        return message_key(self.agent, message) if id is None else self._chain.key(id)

    def _index(self, message: MessageRow) -> None:
        for part in message.parts:
            if isinstance(id := part.get("extra", {}).get("id"), str):
                self._items.setdefault(id, message.id)

    def _rename(self, role: str, parts: Sequence[Json], id: str) -> None:
        """An answer that broke off may be sent again without the call that it broke off in, or with no more of its
        calls than the client got to: either way it is the same. So it is without any, but only where it is sent again:
        an answer that says no more comes from another try. But another try with the same call ids (small servers
        have no others) is another answer; the one that came whole is what is sent again."""
        uses = [at for at, part in enumerate(parts) if part["type"] == "tool_use"] if role == "assistant" else []
        forms = [(parts[:at], _same) for at in uses[1:]]
        if uses:
            forms.append(([part for part in parts if part["type"] != "tool_use"], without_calls))
        if any(parts[at].get("complete") is False for at in uses):
            self._cut[_again(self._chain.key(id))] = self._chain.key(id)
            forms.append(([part for part in parts if part.get("complete") is not False], _same))
        for form, spelled in forms:
            said = msgspec.convert(form, tuple[Part, ...])
            key = message_key(self.agent, Message("assistant", said))
            if key and any(not isinstance(part, Reasoning) for part in said):
                self._chain.rename(id, spelled(key))
        if (cut := self._cut.get(self._chain.key(id))) is not None:
            self._chain.supersede(id, cut)

    def _store_aside(self, message: Message, key: str, call_id: str, at: datetime, batch: Batch) -> None:
        """Each is stored once, behind the messages of its request: it shows how things stand then. It has no place in
        the tree; without a history nothing links to it."""
        if key not in self._asides:
            self._asides.add(key)
            self._store(message, Node(digest(self.row.id, key), None, key, 0, ""), call_id, at, batch)

    def say(self, parts: tuple[Part, ...], after: str | None, call_id: str, at: datetime, batch: Batch) -> str | None:
        """Take a reply to the message `after`. Returns the id of its message, or None where it says nothing."""
        message = Message("assistant", parts)
        key = message_key(self.agent, message) if any(map(_says_something, parts)) else None
        if key is None:
            return None
        step: Step = self._chain.walk([key], after)[0]
        if not step.is_new and _again(step.node.key) in self._cut and all(map(_is_whole, parts)):
            step = self._chain.walk([_again(step.node.key)], after)[0]
        if step.is_new:
            self._store(message, step.node, call_id, at, batch)
        return step.node.id

    def _store(
        self, message: Message, node: Node, call_id: str, at: datetime, batch: Batch, *, is_inherited: bool = False
    ) -> None:
        """What the tools of an inherited message did is told in the session that it comes from."""
        parts = self._call_ids.settle(message.parts, node.id, node.parent)
        message = msgspec.structs.replace(message, parts=parts)
        row = MessageRow(
            id=node.id,
            session_id=self.row.id,
            role=message.role,
            content=content_of(message.parts),
            parts=[msgspec.to_builtins(_slim(part)) for part in message.parts],
            created_at=at,
            parent_id=node.parent,
            depth=node.depth,
            key=node.key,
            history=node.history,
            call_id=call_id,
            seq=self._seq,
        )
        batch.messages.append(row)
        if node.history:
            self._rename(row.role, row.parts, row.id)
            self._index(row)
            if message.role == "assistant":
                self._texts.take(message.parts, node.id, self._known)
        self.size += _size_of(row)
        self._seq += 1
        for use in () if is_inherited else message.parts:
            if isinstance(use, ToolUse) and use.executor == "agent":
                prompt = self.agent.delegated(use)
                key = delegation_key(prompt) if prompt else None
                batch.tool_uses.append(ToolUseRow(self.row.id, use.id, node.id, use.name, key))
        self._ask(node.id, message.role, message.parts)
        if is_inherited:
            self.ledger.inherit(message.role, message.parts, node.id, at)
        else:
            batch.file_events += self.ledger.take(message.role, message.parts, node.id, at)

    def _ask(self, message_id: str, role: str, parts: Sequence[Part]) -> None:
        """Remember which calls are under way behind this message."""
        if role == "assistant":
            uses = tuple([part for part in parts if isinstance(part, ToolUse) and part.executor == "agent"])
            self._asking = (message_id, uses) if uses else None
        elif any(isinstance(part, ToolResult) for part in parts):
            self._asking = None


def _is_whole(part: Part) -> bool:
    return not isinstance(part, ToolUse) or part.complete


def _again(key: str) -> str:
    """The key of an answer of which another try broke off inside a call, and which is told by the same call ids."""
    return digest("again", key)


def _same(key: str) -> str:
    return key


def _says_something(part: Part) -> bool:
    """Not so: a text that was begun, and broke off before its first word."""
    return not isinstance(part, Text) or part.text != ""


def _size_of(message: MessageRow) -> int:
    return _NODE_BYTES + len(repr(message.parts))  # repr: as long as the texts in it, and takes whatever they hold


def _has_results(message: MessageRow) -> bool:
    return any(part["type"] == "tool_result" for part in message.parts)


def _is_placed(message: MessageRow) -> bool:
    return message.key != ""


def content_of(parts: Sequence[Part]) -> str | None:
    """All text that a message shows, newline-joined: its own and that of tool results. None where there is none."""
    texts = [part.text for part in parts if isinstance(part, Text | ToolResult)]
    return "\n".join(texts) if texts else None


def _slim(part: Part) -> Part:
    """A tool result without its content where that is its text over again: file contents are most of a session."""
    if isinstance(part, ToolResult) and part.content in (part.text, [{"type": "text", "text": part.text}]):
        return msgspec.structs.replace(part, content=None)
    return part


def is_conversation(kind: CallKind) -> bool:
    """Whether a call of this kind makes messages and events."""
    return kind is CallKind.MAIN
