"""What one exchange means: decoded by its protocol, recognised by its agent. Pure, and it never raises."""

from __future__ import annotations

import traceback
from functools import cache

import msgspec

from ocproxy import registry
from ocproxy.agents.base import Agent, CallFacts
from ocproxy.agents.catalog import agent_of
from ocproxy.agents.generic import AGENT as GENERIC
from ocproxy.exchange import Exchange, Outcome
from ocproxy.model import CallKind, Identity, ModelRequest, Problem, Reply, ToolUse
from ocproxy.protocols.base import Protocol
from ocproxy.protocols.body import RequestBody, ResponseBody, request_body, response_body


class Interpretation(msgspec.Struct, frozen=True):
    """An exchange and what is understood of it. `request` and `reply` are in `facts`."""

    exchange: Exchange
    facts: CallFacts
    agent: Agent
    identity: Identity
    kind: CallKind
    protocol: str | None
    status: int | None  # HTTP status; None when no response came
    outcome: Outcome
    problems: tuple[Problem, ...]


@cache
def protocols() -> tuple[Protocol, ...]:
    """All protocols there are."""
    return tuple(registry.load("ocproxy.protocols", "PROTOCOL").values())


def interpret(exchange: Exchange) -> Interpretation:
    """What `exchange` means. A mistake of ours in doing so is a Problem of that call, with the place it happened."""
    try:
        return _interpret(exchange)
    except Exception as error:  # one bad body costs one call, whatever a decoder did not foresee
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('ocproxy/')[2]}:{place.lineno}"
        return _uninterpreted(exchange, Problem("internal_error", f"{type(error).__name__}: {error} ({where})"))


def _interpret(exchange: Exchange) -> Interpretation:
    request, response = request_body(exchange), response_body(exchange)
    path = exchange.opened.target.partition("?")[0]
    method, headers = request.head.method, request.head.fields
    problems = [*_too_large(exchange), *request.problems, *response.problems]
    decoded: ModelRequest | None = None
    reply: Reply | None = None
    protocol = next((p for p in protocols() if p.matches(method, path, headers)), None)
    asks_upgrade = headers.get("upgrade", "").lower() == "websocket" and not exchange.ordinal  # it has no body
    if protocol is not None and not asks_upgrade:
        decoded, found = protocol.decode_request(path, request.data)
        problems += found
    if protocol is not None and not (asks_upgrade and response.head is not None and response.head.status == 101):
        reply, found = _decode_reply(protocol, path, response)
        problems += found
    outcome = _outcome(exchange, request, reply)
    if outcome is not exchange.ended.outcome:  # the client left unread what it does not need, and no more is missing
        problems = [p for p in problems if p.code != "truncated" or p not in response.problems]
    facts = CallFacts(method, path, headers, exchange.opened.tags, exchange.opened.run, decoded, reply)
    agent = agent_of(facts)
    return Interpretation(
        exchange=exchange,
        facts=facts,
        agent=agent,
        identity=agent.identity(facts),
        kind=agent.kind(facts),
        protocol=protocol.name if protocol else None,
        status=response.head.status if response.head else None,
        outcome=outcome,
        problems=tuple(dict.fromkeys([*problems, *_unknown_shapes(agent, reply)])),
    )


def _unknown_shapes(agent: Agent, reply: Reply | None) -> list[Problem]:
    """Tool uses of the reply whose input is not of the shape that the agent's tool is known to take."""
    uses = [part for part in (reply.parts if reply else ()) if isinstance(part, ToolUse)]
    return [
        Problem("unknown_tool_shape", action.doubt)
        for use in uses
        if use.complete and use.executor == "agent"
        for action in agent.actions(use)
        if action.unknown_shape and action.doubt
    ]


def _too_large(exchange: Exchange) -> list[Problem]:
    count = sum(exchange.beyond.values())
    what = f"the last {count} bytes of this exchange are in the journal only: it is too large to be interpreted whole"
    return [Problem("too_large", what)] if count else []


def _decode_reply(protocol: Protocol, path: str, response: ResponseBody) -> tuple[Reply | None, list[Problem]]:
    if response.head is None:
        return None, []
    decoder = protocol.reply_decoder(path, response.head.status, response.head.fields)
    decoder.feed(response.data)
    reply = decoder.close()
    return reply, decoder.problems


def _outcome(exchange: Exchange, request: RequestBody, reply: Reply | None) -> Outcome:
    """The wire's outcome, but for clients that hang up once the protocol's own end came: theirs is complete."""
    if exchange.ended.outcome is Outcome.CLIENT_DISCONNECTED and reply is not None and reply.complete:
        return Outcome.COMPLETE
    return exchange.ended.outcome


def _uninterpreted(exchange: Exchange, problem: Problem) -> Interpretation:
    path = exchange.opened.target.partition("?")[0]
    method = exchange.opened.head.partition(b" ")[0].decode("latin-1")
    facts = CallFacts(method, path, {}, exchange.opened.tags, exchange.opened.run, None, None)
    return Interpretation(
        exchange=exchange,
        facts=facts,
        agent=GENERIC,
        identity=Identity(agent=GENERIC.name),
        kind=CallKind.OTHER,
        protocol=None,
        status=None,
        outcome=exchange.ended.outcome,
        problems=(problem,),
    )
