"""Reads `tests/corpus/<protocol>/<case>/`: request.http and response.http as they crossed the wire, expected.json; and
the exchanges of whole sessions (`tests.support.sessions`), of which the session's file says what must be told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ocproxy import registry
from ocproxy.exchange import Ended, Exchange, Opened, Outcome, Position
from ocproxy.model import Delta
from ocproxy.protocols.base import Protocol
from ocproxy.protocols.body import RequestBody, ResponseBody, request_body, response_body
from tests.support import sessions

PROTOCOLS: dict[str, Protocol] = registry.load("ocproxy.protocols", "PROTOCOL")
CORPUS = Path(__file__).parent.parent / "corpus"


class Case(msgspec.Struct, frozen=True):
    """One case of the corpus."""

    name: str
    folder: Path
    protocol: Protocol
    exchange: Exchange

    @property
    def expected(self) -> Any:
        return msgspec.json.decode((self.folder / "expected.json").read_bytes())

    @property
    def path(self) -> str:
        return self.exchange.opened.target.partition("?")[0]

    @property
    def request(self) -> RequestBody:
        return request_body(self.exchange)

    @property
    def response(self) -> ResponseBody:
        return response_body(self.exchange)


def load_cases(plugin: str) -> list[Case]:
    """All cases of `tests/corpus/<plugin>`, in alphabetical order; `plugin` is the name of the protocol's module."""
    return [load_case(plugin, folder) for folder in sorted((CORPUS / plugin).iterdir()) if folder.is_dir()]


def load_case(plugin: str, folder: Path) -> Case:
    request_head, request = _split((folder / "request.http").read_bytes())
    response_head, response = _split((folder / "response.http").read_bytes())
    exchange = make_exchange((request_head, request), (response_head, response))
    return Case(folder.name, folder, PROTOCOLS[plugin], exchange)


def load_session_cases(name: str) -> list[Case]:
    """The exchanges of a recorded session that end well, but for WebSockets, accepted or refused, and for what belongs
    to no protocol."""
    return [
        Case(f"{name}-{number:02}", sessions.CORPUS / name, protocol, exchange)
        for number, exchange in enumerate(sessions.load(name).as_exchanges(), 1)
        for protocol in PROTOCOLS.values()
        if exchange.ended.outcome is Outcome.COMPLETE and exchange.request and protocol.matches(*_asked(exchange))
    ]


def _asked(exchange: Exchange) -> tuple[str, str, dict[str, str]]:
    head = request_body(exchange).head
    return head.method, exchange.opened.target.partition("?")[0], head.fields


def make_exchange(
    request: tuple[bytes, bytes], response: tuple[bytes, bytes], *, outcome: Outcome = Outcome.COMPLETE
) -> Exchange:
    """An exchange as the ingest assembles it, of (head, framed body) of both sides."""
    target = request[0].split(b" ", 2)[1].decode("latin-1")
    opened = Opened(request[0], target, "anthropic", "https://api.example", "127.0.0.1:50000")
    ended = Ended(outcome)
    place = Position(1, 0)
    return Exchange("0" * 32, 1, place, opened, 1, 2, 3, ended, request[1], (response[0],), response[1])


def decode(case: Case, pieces: list[bytes]) -> Any:
    """What `case` decodes to, as plain data in the shape of expected.json; the response is fed in `pieces`."""
    protocol, request, response = case.protocol, case.request, case.response
    assert protocol.matches(request.head.method, case.path, request.head.fields)
    model_request, request_problems = protocol.decode_request(case.path, request.data)
    assert response.head is not None
    decoder = protocol.reply_decoder(case.path, response.head.status, response.head.fields)
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    reply = decoder.close()
    found = {
        "request": model_request,
        "request_problems": [*request.problems, *request_problems],
        "status": response.head.status,
        "reply": reply,
        "reply_problems": [*response.problems, *decoder.problems],
        "deltas": join(deltas),
    }
    return msgspec.json.decode(msgspec.json.encode(found))


def join(deltas: list[Delta]) -> list[Delta]:
    """Neighbouring deltas of one kind and block as one."""
    joined: list[Delta] = []
    for delta in deltas:
        last = joined[-1] if joined else None
        if last and delta.text and (last.kind, last.index) == (delta.kind, delta.index) and delta.kind != "start":
            joined[-1] = Delta(last.kind, last.index, last.text + delta.text)
        else:
            joined.append(delta)
    return joined


def _split(data: bytes) -> tuple[bytes, bytes]:
    end = data.index(b"\r\n\r\n") + 4
    return data[:end], data[end:]
