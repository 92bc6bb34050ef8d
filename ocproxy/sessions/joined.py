"""The way of a resent history through the messages of its session, where a client made one message of several.

What a broken stream left of an answer, and what came when it was asked for again, many clients send back as one
message. Taken apart, each piece meets its own message, and each call is asked for in one message only. Measured:

- Claude Code 2.1.332 puts the parts of both one behind the other: the message begins as a known one does.
- Qwen Code 0.24.4 sends a broken answer back without its calls and asks to go on. Later it leaves that prompt out, and
  what both answers said alike: only the calls say that the message stands some levels down.
- Cline 3.0.65 runs the calls of both tries. Their answers stand beside each other, since both were given to the same
  request; their texts come as one, and their results in one message behind it.
- opencode 1.18.33 (Chat Completions) sends the calls of the broken try in a message without its text.

So a message whose calls are all known, under the place where it stands, is the messages that ask for them. The results
of each go behind it; the conversation goes on behind the one whose result comes last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from ocproxy.agents.base import Agent
from ocproxy.model import Message, Part, Reasoning, ToolResult, ToolUse, digest
from ocproxy.sessions.call_ids import CallIds, drawn_ids
from ocproxy.sessions.chain import Chain, Step, message_key


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
    if (id := chain.child(at, without_calls(sent.key))) is not None:
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
