"""What a request shows of the conversation that it belongs to: how it began, and what it goes on from. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ocproxy.ingest.interpret import Interpretation
from ocproxy.ingest.rows import brief
from ocproxy.model import Message, ModelRequest, Text, ToolResult
from ocproxy.sessions.chain import histories, message_key
from ocproxy.sessions.linker import Evidence, delegation_key

# In how many texts of a first request a subagent's prompt is looked for.
_TEXTS_ASKED = 20

# How many of the newest tool results are asked about when a call names no session: the first is nearly always enough.
_RESULTS_ASKED = 20


def first_words(item: Interpretation) -> str | None:
    """How the user began: the first line with words in it, of the first message of the conversation that has one."""
    for message in _own(item, item.facts.request.messages) if item.facts.request else ():
        if message.role == "user" and item.agent.key(message) is not None:
            for part in message.parts:
                if isinstance(part, Text) and (said := item.agent.spoken(part.text)):
                    return brief(said)
    return None


def _own(item: Interpretation, messages: Sequence[Message]) -> Sequence[Message]:
    """Without those that another session had before."""
    return messages[item.agent.inherited([message.parts for message in messages]) :]


def prompt_keys(item: Interpretation, request: ModelRequest) -> list[str]:
    """Of all that is said in a first request: a subagent's prompt may stand behind an environment or a role."""
    own = _own(item, request.messages)
    texts = [part.text for message in own for part in message.parts if isinstance(part, Text)]
    said = [spoken for text in texts[:_TEXTS_ASKED] if (spoken := item.agent.spoken(text))]
    return [delegation_key(text) for text in said]


def evidence_of(item: Interpretation, request: ModelRequest) -> Evidence:
    """Histories, answers and results of a request, without what the program itself wrote or another session said."""
    kept: list[Message] = []
    keys: list[str] = []
    numbers: list[int] = []
    recap = item.agent.recap(request.messages)
    for number, message in enumerate(request.messages):
        key = message_key(item.agent, message)
        if key is not None:
            kept.append(message)
            keys.append(key)
            numbers.append(number)
    own = len(kept) - len(_own(item, kept))  # a fork begins behind what its parent said
    said = enumerate(zip(kept, numbers, strict=True))
    answers = [n + 1 for n, (one, number) in said if one.role == "assistant" and n >= own and number >= recap] or [0]
    results = [part for message in reversed(kept[own:]) for part in message.parts if isinstance(part, ToolResult)]
    ids = [part.alias or part.tool_use_id for part in results[:_RESULTS_ASKED]]
    return Evidence(histories(keys), answers[0], answers[-1], ids)
