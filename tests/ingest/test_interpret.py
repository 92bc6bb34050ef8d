"""What one exchange means: real ones are understood, garbage becomes Problems and never an exception."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocproxy.agents.claude_code import AGENT as CLAUDE_CODE
from ocproxy.agents.generic import AGENT as GENERIC
from ocproxy.exchange import Ended, Exchange, Outcome
from ocproxy.files.derive import FileLedger
from ocproxy.ingest import interpret as interpret_module
from ocproxy.ingest.interpret import Interpretation, interpret
from ocproxy.model import CallKind, ToolResult, ToolUse
from tests.protocols.corpus import Case, load_cases, make_exchange

CASES = {case.name: case for case in load_cases("anthropic_messages")}
HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: h\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
GARBAGE = [
    b"",
    b"\0\xff\xfe garbage",
    b"{" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"model": 1e999, "messages": 123456789012345678901234567890}',
    b'{"model": [], "messages": {"role": "user"}, "system": 7, "tools": "none", "metadata": []}',
    b'{"messages": [null, 1, "x", [], {}, {"role": 1}, {"role": "user", "content": {"type": 3}}]}',
    b'{"messages": [{"role": "user", "content": [{"type": "tool_result"}, {"type": "tool_use", "id": 5}]}]}',
    b'{"messages": [{"role": "assistant", "content": "\\ud800 lone \\udfff"}]}',
    b'{"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": 5}]}]}',
]


def exchange(request: bytes, response: bytes, kind: bytes = b"application/json") -> Exchange:
    return make_exchange((HEAD % len(request), request), (OK % (kind, len(response)), response))


def use_fully(item: Interpretation) -> None:
    """What the recorder does with an interpretation, as far as it is pure."""
    request, reply = item.facts.request, item.facts.reply
    ledger = FileLedger("s", item.identity.workdir or "", item.agent)
    messages = [*(request.messages if request else ())]
    for message in messages:
        item.agent.key(message)
    for part in [part for message in messages for part in message.parts] + list(reply.parts if reply else ()):
        at = NOON
        if isinstance(part, ToolUse):
            ledger.requested(part, "m", at)
        elif isinstance(part, ToolResult):
            ledger.answered(part, at)
    if request:
        item.agent.system_key(request)
    msgspec.json.encode([request, reply, item.problems])


NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_case_of_the_corpus_is_understood_without_internal_errors(case: Case) -> None:
    item = interpret(case.exchange)
    assert item.protocol == "anthropic-messages"
    assert "internal_error" not in {problem.code for problem in item.problems}
    use_fully(item)


def test_a_call_of_claude_code_is_recognised_and_named() -> None:
    item = interpret(CASES["first_call"].exchange)
    assert item.agent is CLAUDE_CODE
    assert item.identity.session is not None
    assert item.identity.workdir == "/home/user/project"
    assert (item.kind, item.status, item.outcome) == (CallKind.MAIN, 200, Outcome.COMPLETE)


def test_what_no_decoder_knows_is_still_a_call() -> None:
    request = b"GET /unknown/thing?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
    item = interpret(make_exchange((request, b""), (OK % (b"text/plain", 2), b"hi")))
    assert (item.agent, item.protocol, item.kind) == (GENERIC, None, CallKind.OTHER)
    assert (item.facts.method, item.facts.path, item.status) == ("GET", "/unknown/thing", 200)


def test_a_client_that_hangs_up_after_the_terminal_event_made_a_complete_call() -> None:
    case = CASES["thinking"]
    gone = Ended(Outcome.CLIENT_DISCONNECTED, "the client went away")
    assert interpret(msgspec.structs.replace(case.exchange, ended=gone)).outcome is Outcome.COMPLETE
    cut = case.exchange.response[: len(case.exchange.response) // 2]
    half = msgspec.structs.replace(case.exchange, ended=gone, response=cut)
    assert interpret(half).outcome is Outcome.CLIENT_DISCONNECTED


def test_a_response_that_never_came_is_told_by_the_outcome() -> None:
    case = CASES["first_call"]
    ended = Ended(Outcome.UPSTREAM_UNREACHABLE, "connection refused")
    item = interpret(msgspec.structs.replace(case.exchange, ended=ended, heads=(), response=b""))
    assert (item.status, item.outcome, item.facts.reply) == (None, Outcome.UPSTREAM_UNREACHABLE, None)
    assert item.facts.request is not None


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
def test_garbage_becomes_problems(body: bytes, kind: bytes) -> None:
    item = interpret(exchange(body, b"event: message_start\ndata: " + body + b"\n\n" + body, kind))
    assert item.problems
    assert "internal_error" not in {problem.code for problem in item.problems}
    use_fully(item)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(st.sampled_from(sorted(CASES)), st.data())
def test_a_damaged_record_never_raises(name: str, data: st.DataObject) -> None:
    whole = CASES[name].exchange

    def damage(raw: bytes) -> bytes:
        at = data.draw(st.integers(0, len(raw)))
        until = min(len(raw), at + data.draw(st.integers(0, 40)))
        return raw[:at] + data.draw(st.binary(max_size=8)) + raw[until:]

    opened = msgspec.structs.replace(whole.opened, head=damage(whole.opened.head))
    damaged = msgspec.structs.replace(
        whole,
        opened=opened,
        request=damage(whole.request),
        heads=(damage(whole.heads[0]),),
        response=damage(whole.response),
    )
    item = interpret(damaged)
    assert "internal_error" not in {problem.code for problem in item.problems}
    use_fully(item)


def test_a_mistake_of_ours_is_a_problem_that_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(exchange: Exchange) -> Interpretation:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(interpret_module, "_interpret", fail)
    item = interpret(CASES["first_call"].exchange)
    assert item.problems[0].code == "internal_error"
    assert "ZeroDivisionError: oh" in item.problems[0].message
    assert item.facts.method == "POST"
