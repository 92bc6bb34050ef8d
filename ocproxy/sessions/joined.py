"""The way of a resent history through the messages of its session, where a client made one message of several.

What a broken stream left of an answer, and what came when it was asked for again, many clients send back as one
message. Taken apart, each piece meets its own message, and each call is asked for in one message only. Measured:

- Claude Code 2.1.332 puts the parts of both one behind the other: the message begins as a known one does.
- Qwen Code 0.24.4 sends a broken answer back without its calls and asks to go on. Later it leaves that prompt out, and
  what both answers said alike: only the calls say that the message stands some levels down.
- Qwen Code does so with answers without calls, too. What the second one says of the end of the first once more
  is left out, from four characters on.
- Cline 3.0.65 runs the calls of both tries. Their answers stand beside each other, since both were given to the same
  request; their texts come as one, and their results in one message behind it.
- opencode 1.18.33 (Chat Completions) sends the calls of the broken try in a message without its text.

So a message whose calls are all known, under the place where it stands, is the messages that ask for them. The results
of each go behind it; the conversation goes on behind the one whose result comes last. A message without calls that
says what an answer says, and then what the next one does, is these two: that is compared letter by letter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.model import Message, Part, Reasoning, Text, ToolResult, ToolUse, digest
from ocproxy.sessions.call_ids import CallIds, drawn_ids
from ocproxy.sessions.chain import Chain, Step, message_key

# How many texts that end with the newest answer are kept, and how little of an answer is none that is said once more.
_TEXTS_KEPT, _SAID_AGAIN = 6, 4


class Sent(msgspec.Struct, frozen=True):
    """A message of a history, its key, and the known message that it is, as far as its calls or its place say so."""

    message: Message
    key: str
    id: str | None = None


class Known(msgspec.Struct, frozen=True):
    """What is known of a session: its tree, and the ids of its calls."""

    agent: Agent
    chain: Chain
    call_ids: CallIds


def follow(
    history: Sequence[Sent], known: Known, start: str | None = None, *, is_anew: bool = False
) -> list[tuple[Message, Step]]:
    """Walk a history from the message `start` on (None: the beginning), as `Chain.walk` does, which adds what is new to
    the tree. Returns the messages that it is made of, and where each stands."""
    steps: list[tuple[Message, Step]] = []
    left = deque(history)
    at, is_known = start, True
    while left:
        sent = left.popleft()
        if sent.id is not None:
            step = known.chain.step_to(sent.id)
        elif pieces := _taken_apart(sent, at, left, known, is_known=is_known):
            left.extendleft(reversed(pieces))
            continue
        else:
            following = left[0].key if left and (steps or not is_anew) else None
            step = known.chain.step(at, sent.key, following, is_unique=_is_unique(sent.message))
        steps.append((sent.message, step))
        at, is_known = step.node.id, is_known and not step.is_new
    return steps


def _taken_apart(sent: Sent, at: str | None, behind: deque[Sent], known: Known, *, is_known: bool) -> Sequence[Sent]:
    """The pieces of a message that was joined; none, where it was not. Results of its calls are taken from `behind`.
    `is_known`: all messages before it are."""
    message, chain = sent.message, known.chain
    if message.role != "assistant" or chain.child(at, sent.key) is not None:
        return ()
    if chain.meet(at, sent.key, is_unique=_is_unique(message)) is not None:
        return ()
    id = chain.child(at, without_calls(sent.key)) or chain.joined(at, sent.key)
    if id is not None:
        return [Sent(message, sent.key, id)]
    if askers := _askers(message, at, known):
        return _answers(message, askers, behind, known)
    return _beginning(message, at, known) if is_known else ()


def _askers(message: Message, at: str | None, known: Known) -> dict[str, str]:
    """The known message under `at` that asks for it, for each call of a message. Empty, where one has none."""
    ids = drawn_ids([message])
    found: dict[str, str] = {}
    for id in ids if len(ids) == sum(isinstance(part, ToolUse) for part in message.parts) else ():
        below = [asker for asker in known.call_ids.asked_by(id) if known.chain.is_below(asker, at)]
        if not below:
            return {}
        found[id] = next((asker for asker in reversed(below) if asker in found.values()), below[-1])
    return found


def _answers(message: Message, askers: dict[str, str], behind: deque[Sent], known: Known) -> Sequence[Sent]:
    """The answers that ask for the calls of a message, each with its results; last the one where it goes on."""
    results: list[Sent] = []
    while behind and any(isinstance(part, ToolResult) for part in behind[0].message.parts):
        results.append(behind.popleft())
    answered = [part.tool_use_id for sent in results for part in sent.message.parts if isinstance(part, ToolResult)]
    ids = [id for id in answered if id in askers] or list(askers)
    last = askers[ids[-1]]
    pieces: list[Sent] = []
    for answer in dict.fromkeys(askers.values()):
        own = {id for id, asker in askers.items() if asker == answer}
        if answer == last:
            continue
        pieces.append(_piece_of(message, own, answer, known))
        if not known.chain.is_below(last, answer):  # else the results of both stand on one line
            taken, results = _divided(results, own, known)
            pieces += taken
    own = {id for id, asker in askers.items() if asker == last}
    return [*pieces, _piece_of(message, own, last, known), *results]


def _piece_of(message: Message, ids: set[str], answer: str, known: Known) -> Sent:
    parts = tuple([part for part in message.parts if isinstance(part, ToolUse) and part.id in ids])
    return Sent(msgspec.structs.replace(message, parts=parts), known.chain.key(answer), answer)


def _divided(messages: Sequence[Sent], ids: set[str], known: Known) -> tuple[list[Sent], list[Sent]]:
    """Of messages with results those of the calls with these ids, and all else."""
    of_these: list[Sent] = []
    others: list[Sent] = []
    for sent in messages:
        for to, is_own in ((of_these, True), (others, False)):
            parts = tuple([part for part in sent.message.parts if _is_result_of(part, ids) == is_own])
            piece = msgspec.structs.replace(sent.message, parts=parts)
            if parts and (key := message_key(known.agent, piece)) is not None:
                to.append(Sent(piece, key))
    return of_these, others


def _is_result_of(part: Part, ids: set[str]) -> bool:
    return isinstance(part, ToolResult) and part.tool_use_id in ids


def _beginning(message: Message, at: str | None, known: Known) -> Sequence[Sent]:
    """The longest beginning of a message that is a known one behind `at`, and the rest."""
    for count in range(len(message.parts) - 1, 0, -1):
        begun = msgspec.structs.replace(message, parts=message.parts[:count])
        key = message_key(known.agent, begun)
        if key and any(not isinstance(part, Reasoning) for part in begun.parts):
            if (id := known.chain.child(at, key)) is not None:
                rest = msgspec.structs.replace(message, parts=message.parts[count:])
                behind = message_key(known.agent, rest)
                return [Sent(begun, key, id), *([Sent(rest, behind)] if behind is not None else [])]
    return ()


def without_calls(key: str) -> str:
    """The key of an answer with calls where it is sent again without them: `key` is that of what is left. No answer
    comes with it."""
    return digest("without calls", key)


def _is_unique(message: Message) -> bool:
    """Whether no two messages have its key: it asks for calls whose ids providers draw."""
    return message.role == "assistant" and bool(drawn_ids([message]))


class Texts:
    """What the newest answer of a session says, by itself and behind those before it: such a text as one message is
    they. A fold over its messages in their order; nothing but texts of the newest answer is held."""

    def __init__(self) -> None:
        self._answer: str | None = None
        self._texts: list[tuple[str | None, str]] = []  # the message that a text stands behind, and the text

    def take(self, parts: Sequence[Part], id: str, known: Known) -> None:
        """Take the answer `id`, which is in the tree and says `parts`."""
        parent = known.chain.parent(id)
        goes_on = self._answer is not None and (
            known.chain.parent(parent) == self._answer or parent == known.chain.parent(self._answer)
        )
        said = _words(parts)
        joined = [(at, one) for at, text in self._texts for one in _one_text(text, said)] if goes_on and said else []
        if not any(isinstance(part, ToolUse) for part in parts):
            for at, text in joined:
                key = message_key(known.agent, Message("assistant", (Text(text),)))
                if key is not None:
                    known.chain.join(at, key, id)
        self._answer, self._texts = id, [(parent, said), *joined][:_TEXTS_KEPT] if said else []


def _words(parts: Sequence[Part]) -> str:
    """The text of an answer; empty, where it says anything in another way but by calls."""
    if not all(isinstance(part, Text | Reasoning | ToolUse) for part in parts):
        return ""
    return "".join(part.text for part in parts if isinstance(part, Text))


def _one_text(first: str, second: str) -> list[str]:
    """Both one behind the other; and, where the second begins with the end of the first, that without doubling it."""
    begins = second[:_SAID_AGAIN]
    place = first.find(begins, max(len(first) - len(second), 0))
    while place >= 0 and not second.startswith(first[place:]):
        place = first.find(begins, place + 1)
    once = [first[:place] + second] if place >= 0 and len(begins) == _SAID_AGAIN else []
    return [first + second, *once]
