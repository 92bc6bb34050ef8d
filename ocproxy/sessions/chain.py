"""The messages of one session as a tree, and the walk of a resent history through it.

Agents send their whole history with each call, and change it: a resent message must meet itself, a fork is another
child of the same parent, and one altered message must not double everything behind it. Messages are compared by their
key alone (`Agent.key`, hashed), so the tree holds no content.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.model import Message, digest

# How many messages put in at one place the walk comes back from: a reminder, or a list of files with its answer, twice.
_PUT_IN = 4

# How many messages of a way `is_below` goes up, at most: an answer that broke off four times, each time with a prompt
# to go on behind it.
_BROKEN_WAY = 9


class Node(msgspec.Struct):
    """One message. `children` maps keys to node ids, in the order in which they were added."""

    id: str
    parent: str | None
    key: str
    depth: int
    history: str
    children: dict[str, str] = {}


class Step(msgspec.Struct, frozen=True):
    """Where one message of a walked history stands: a node that was known, or a new one."""

    node: Node
    is_new: bool


class Chain:
    """The message tree of the session `session_id`. Grows by `walk` (live) or `restore` (from stored rows)."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._nodes: dict[str, Node] = {}
        self._roots: dict[str, str] = {}
        self._joined: dict[tuple[str | None, str], str] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def restore(self, id: str, parent: str | None, key: str, history: str) -> None:
        """Put a stored message back. Parents come before their children."""
        self._put(id, parent, key, history)

    def key(self, id: str) -> str:
        """The key of the message `id`."""
        return self._nodes[id].key

    def child(self, at: str | None, key: str) -> str | None:
        """The message with this key that follows `at` (None: the beginning), or one told instead of `at`."""
        found = self._children(at).get(key)
        if found is None and at is not None:
            found = self._children(self._nodes[at].parent).get(key)
        return found

    def rename(self, id: str, key: str) -> None:
        """Let the message `id` be met by this key too, unless another one is."""
        self._children(self._nodes[id].parent).setdefault(key, id)

    def supersede(self, id: str, key: str) -> None:
        """Let the message `id` be met by this key from now on, instead of the one that was."""
        self._children(self._nodes[id].parent)[key] = id

    def join(self, at: str | None, key: str, id: str) -> None:
        """Let a message with this key behind `at` be several known ones, of which `id` is the last."""
        self._joined[at, key] = id

    def joined(self, at: str | None, key: str) -> str | None:
        """The last of the messages that one with this key behind `at` was made of; None: it was not."""
        return self._joined.get((at, key))

    def parent(self, id: str | None) -> str | None:
        """The message that the message `id` follows; None for one of the first."""
        return self._nodes[id].parent if id is not None else None

    def is_followed(self, id: str) -> bool:
        """Whether another message follows the message `id`."""
        return id in self._nodes and bool(self._nodes[id].children)

    def walk(
        self, keys: Sequence[str], start: str | None = None, *, is_anew: bool = False, unique: Collection[str] = ()
    ) -> list[Step]:
        """Follow the messages with these keys from the node `start` (None: the beginning), adding what is not known.
        `is_anew`: the first message stands for what was there before, and is no altered form of it. `unique`: those of
        the keys that no two messages have.

        Where a message is not known, one message of lookahead decides between four cases: the agent altered an old
        message (its successor is known: it is taken for the known one), left one out (the message is a known
        grandchild), put some in (a few messages later two known ones follow: they are added aside), or went another way
        (it is added, and so is all that follows).
        """
        steps: list[Step] = []
        at = start
        for index, key in enumerate(keys):
            following = keys[index + 1] if index + 1 < len(keys) else None
            steps.append(self.step(at, key, following if index or not is_anew else None, is_unique=key in unique))
            at = steps[-1].node.id
        return steps

    def step(self, at: str | None, key: str, following: str | None = None, *, is_unique: bool = False) -> Step:
        """One step of a walk, from `at`: `following` is the key of the message behind."""
        known = self.meet(at, key, following, is_unique=is_unique)
        return Step(self._put(None, at, key, None), True) if known is None else Step(known, False)

    def step_to(self, id: str) -> Step:
        """A step of a walk to the known message `id`, wherever it stands."""
        return Step(self._nodes[id], False)

    def is_below(self, id: str, at: str | None) -> bool:
        """Whether the message `id` stands some levels under the message `at` (None: in the tree's first ones)."""
        place: str | None = id
        for _ in range(_BROKEN_WAY):
            if place is None:
                break
            place = self._nodes[place].parent
            if place == at:
                return True
        return False

    def meet(self, at: str | None, key: str, following: str | None = None, *, is_unique: bool = False) -> Node | None:
        """The known message that one with this key behind `at` is; None: it is new (see `walk`)."""
        here = self._children(at)
        if key in here:
            return self._nodes[here[key]]
        for child in here.values():  # left out: the message behind it comes at once
            if key in self._nodes[child].children:
                return self._nodes[self._nodes[child].children[key]]
        if at is not None and not here and (beside := self._beside(at, key, following, is_unique)) is not None:
            return beside
        if following is not None and following not in here:  # altered: its successor is where it was
            for child in reversed(here.values()):
                if following in self._nodes[child].children:
                    return self._nodes[child]
        return None

    def _beside(self, at: str, key: str, following: str | None, is_unique: bool) -> Node | None:
        """Where to go on when `at` and perhaps those before it were put in: the known message where they left. Behind
        more than one its successor must be known too, since short messages come more than once; but not that of a
        message which comes but once."""
        place: str | None = at
        for count in range(_PUT_IN):
            if place is None:
                break
            place = self._nodes[place].parent
            found = self._children(place).get(key)
            if found not in (None, at) and (count == 0 or is_unique or following in self._nodes[found].children):
                return self._nodes[found]
        return None

    def _children(self, at: str | None) -> dict[str, str]:
        return self._roots if at is None else self._nodes[at].children

    def _put(self, id: str | None, parent: str | None, key: str, history: str | None) -> Node:
        above = self._nodes.get(parent) if parent is not None else None
        node = Node(
            id=id or digest(self._session_id, parent or "", key),
            parent=parent,
            key=key,
            depth=above.depth + 1 if above else 0,
            history=history or digest(above.history if above else "", key),
            children={},
        )
        self._nodes[node.id] = node
        self._children(parent if above else None)[key] = node.id
        return node


def message_key(agent: Agent, message: Message) -> str | None:
    """The key of a message in its tree: role and normalised content, hashed. None: no part of the conversation."""
    normal = agent.key(message)
    return None if normal is None else digest(message.role, normal)


def histories(keys: Sequence[str]) -> list[str]:
    """The history digest behind each message of a request: the same as that of the nodes they walk to."""
    found: list[str] = []
    for key in keys:
        found.append(digest(found[-1] if found else "", key))
    return found
