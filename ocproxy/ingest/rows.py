"""The rows of one call that depend on nothing else: the call itself, and its system prompt with its tools."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ocproxy.exchange import Kind
from ocproxy.ingest.conversation import Conversation
from ocproxy.ingest.interpret import Interpretation
from ocproxy.model import CallKind, CallRow, Json, PromptRow, Text, digest
from ocproxy.pricing.bills import billing_of
from ocproxy.sessions.summaries import summary_key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Enough to recognise a session in a list; the message itself has it all.
_PROMPT_CHARACTERS = 200


def moment(ns: int) -> datetime:
    """Nanoseconds since the Unix epoch as a datetime in UTC; what is below a microsecond is cut off."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def brief(said: str) -> str:
    """The first line of what was said, as `SessionRow.prompt` holds it."""
    return said.strip().partition("\n")[0][:_PROMPT_CHARACTERS]


def subject(item: Interpretation) -> str | None:
    """The prompt, in brief, with which the session began that a side call without a session is about."""
    about = item.agent.about(item.facts) if item.identity.session is None else None
    return brief(item.agent.spoken(about)) or None if about else None


def prompt_row(item: Interpretation) -> PromptRow | None:
    """System prompt and tools of the call; None where it sent neither."""
    request = item.facts.request
    if request is None or not (request.system or request.tools):
        return None
    return PromptRow(
        hash=digest("prompt", item.agent.system_key(request)),
        system=[msgspec.to_builtins(part) for part in request.system],
        tools=list(request.tools),
    )


def call_row(
    item: Interpretation,
    session: Conversation | None,
    prompt: PromptRow | None,
    asked: str | None = None,
    said: str | None = None,
) -> CallRow:
    """The call itself. `asked` is the id of the request's last message, `said` that of the reply's."""
    exchange, reply, request = item.exchange, item.facts.reply, item.facts.request
    sizes = exchange.sizes or (len(exchange.request), len(exchange.response))
    return CallRow(
        id=exchange.call_id,
        journal=exchange.journal,
        exchange=exchange.number,
        position=str(exchange.position),
        session_id=session.row.id if session else None,
        run=exchange.opened.run,
        agent_name=item.identity.agent,
        protocol=item.protocol,
        upstream=exchange.opened.upstream,
        method=item.facts.method,
        path=exchange.opened.target,
        kind=item.kind.value,
        about=subject(item) if session is None else None,
        summary_key=_summary_key(item),
        title=item.agent.title(item.facts),
        status=item.status,
        outcome=item.outcome.value,
        detail=exchange.ended.detail if item.outcome is exchange.ended.outcome else "",
        started_at=moment(exchange.opened_ns),
        first_byte_at=moment(exchange.first_byte_ns) if exchange.first_byte_ns else None,
        ended_at=moment(exchange.ended_ns),
        request_bytes=sizes[0] + exchange.beyond.get(Kind.REQUEST_BYTES, 0),
        response_bytes=sizes[1] + exchange.beyond.get(Kind.RESPONSE_BYTES, 0),
        model=(reply.model if reply else None) or (request.model if request else None),
        reply_id=reply.id if reply else None,
        request_message_id=asked,
        message_id=said,
        prompt_hash=prompt.hash if prompt else None,
        stop_reason=reply.stop_reason if reply else None,
        error=reply.error if reply else None,
        problems=[msgspec.to_builtins(problem) for problem in item.problems],
        billing=_billing(item),
        **_tokens(item),
    )


def _summary_key(item: Interpretation) -> str | None:
    reply = item.facts.reply if item.kind is CallKind.SUMMARY else None
    texts = [part.text for part in reply.parts if isinstance(part, Text)] if reply else []
    return summary_key("\n".join(texts))


def _billing(item: Interpretation) -> Json:
    opened, facts = item.exchange.opened, item.facts
    found = billing_of(opened.upstream, opened.upstream_url, opened.target, facts.request, facts.reply)
    return msgspec.to_builtins(found) if found else None


def _tokens(item: Interpretation) -> dict[str, Any]:
    usage = item.facts.reply.usage if item.facts.reply else None
    names: Sequence[str] = (
        "input",
        "output",
        "cache_read",
        "cache_write",
        "cache_write_5m",
        "cache_write_1h",
        "reasoning",
    )
    return {f"{name}_tokens": getattr(usage, name) if usage else None for name in names}
