"""Bodies of an assembled exchange, as the decoders want them: framing and codings removed, with the parsed heads.

    request_body(exchange)  -> RequestBody(head, data, complete, problems)
    response_body(exchange) -> ResponseBody(head, data, complete, problems)     head is None when no response came

Those of one call of an upgraded connection have neither framing nor codings; their heads are those of the handshake.

`data` is what came, whatever went wrong; `complete` is False when something is missing of it, and `problems` says what.
Nothing raises. `exchange.opened.target` without its query is the path for `Protocol.matches` and its kin, `head.fields`
are their `headers`:

    request, response = request_body(exchange), response_body(exchange)
    path = exchange.opened.target.partition("?")[0]
    if protocol.matches(request.head.method, path, request.head.fields):
        model_request, problems = protocol.decode_request(path, request.data)
        if response.head is not None:
            decoder = protocol.reply_decoder(path, response.head.status, response.head.fields)
            decoder.feed(response.data)
            reply = decoder.close()
"""

from __future__ import annotations

import msgspec

from ocproxy.exchange import Exchange, Outcome
from ocproxy.model import Problem
from ocproxy.protocols import http1
from ocproxy.protocols.encoding import ContentDecoder
from ocproxy.protocols.http1 import Framing, RequestHead, ResponseHead
from ocproxy.protocols.problems import note


class RequestBody(msgspec.Struct, frozen=True):
    """A request: parsed head and decoded body."""

    head: RequestHead
    data: bytes
    complete: bool
    problems: tuple[Problem, ...]


class ResponseBody(msgspec.Struct, frozen=True):
    """A response: the final (not 1xx) head, parsed, and the decoded body."""

    head: ResponseHead | None
    data: bytes
    complete: bool
    problems: tuple[Problem, ...]


def request_body(exchange: Exchange) -> RequestBody:
    """The request of `exchange`. Complete also means that the relay saw its end and no byte of the record is lost."""
    head = http1.parse_request_head(exchange.opened.head)
    problems = list(head.problems)
    _note_gaps(exchange, problems)
    if exchange.ordinal:
        return RequestBody(head, exchange.request, not exchange.gaps, tuple(problems))
    data, complete = _decode(exchange.request, http1.request_framing(head), head.fields, problems)
    whole = complete and exchange.ended.request_complete and not exchange.gaps
    return RequestBody(head, data, whole, tuple(problems))


def response_body(exchange: Exchange) -> ResponseBody:
    """The response of `exchange`. A body that only the end of the connection delimits is complete when the relay says
    that the exchange was."""
    problems: list[Problem] = []
    _note_gaps(exchange, problems)
    if not exchange.heads:
        return ResponseBody(None, exchange.response, False, tuple(problems))
    head = http1.parse_response_head(exchange.heads[-1])
    for problem in head.problems:
        note(problems, problem.code, problem.message)
    if exchange.ordinal:
        whole = exchange.ended.outcome is Outcome.COMPLETE and not exchange.gaps
        return ResponseBody(head, exchange.response, whole, tuple(problems))
    if 100 <= head.status < 200 and head.status != 101:  # only interim heads came
        return ResponseBody(None, exchange.response, False, tuple(problems))
    method = http1.parse_request_head(exchange.opened.head).method
    framing = http1.response_framing(head, method)
    data, complete = _decode(exchange.response, framing, head.fields, problems)
    if framing.kind == "close":
        complete = complete and exchange.ended.outcome is Outcome.COMPLETE
    return ResponseBody(head, data, complete and not exchange.gaps, tuple(problems))


def _note_gaps(exchange: Exchange, problems: list[Problem]) -> None:
    for code, message in exchange.problems:
        note(problems, code, message)
    for gap in exchange.gaps:
        note(problems, "gap", f"{gap.bytes} bytes of this exchange were not recorded: {gap.reason}")


def _decode(raw: bytes, framing: Framing, fields: dict[str, str], problems: list[Problem]) -> tuple[bytes, bool]:
    deframed = http1.deframe(raw, framing)
    for problem in deframed.problems:
        note(problems, problem.code, problem.message)
    data, whole = deframed.data, deframed.complete
    # Transfer codings were applied last, so they come off first.
    for header in (", ".join(framing.codings), fields.get("content-encoding")):
        decoder = ContentDecoder(header)
        data = decoder.feed(data)
        whole = decoder.close() and whole
        for problem in decoder.problems:
            note(problems, problem.code, problem.message)
    return data, whole
