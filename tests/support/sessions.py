"""Whole sessions of real agents as the corpus keeps them: their exchanges in order, and what must be told of them.

A case is a folder of `tests/corpus/sessions`:

    session.json        the exchanges: which upstream, how they ended, and when they began and ended, counted in steps
    NN.request.http     head and body of the exchange NN, as they crossed the wire, framing included, but for a content
                        coding: that is taken off, and put on again where the session is played
    NN.response.http
    NN.socket.jsonl     the messages of the WebSocket that it became, unmasked and decompressed, with their steps
    expected.json       the rows that they make (`tests.support.told`)
    README

`tests/support/record_corpus.py` makes one from the journal of a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ocproxy.exchange import Ended, Exchange, Kind, Opened, Outcome, Position
from ocproxy.journal import JournalWriter
from ocproxy.protocols.websocket import agreed_deflate
from tests.support.coding import encode, fields_of
from tests.support.frames import Sender
from tests.support.sockets import drop_extensions

CORPUS = Path(__file__).parent.parent / "corpus" / "sessions"
Json = dict[str, Any]
Cut = Callable[[bytes], Iterable[bytes]]


class Message(msgspec.Struct, omit_defaults=True):
    """One message of a WebSocket."""

    at: int
    client: str | None = None
    server: str | None = None


class Taken(msgspec.Struct):
    """One exchange, its bodies without a content coding. `begins`, `ends` and the messages' `at` are places in one
    order of all that happened."""

    opened: Opened
    begins: int
    ends: int = 0
    ended: Ended | None = None  # None: it never was
    request: bytes = b""
    heads: list[bytes] = []
    response: bytes = b""
    messages: list[Message] = []


class _Line(msgspec.Struct, omit_defaults=True):
    """One exchange in session.json; the bytes are in files of their own."""

    name: str
    upstream: str
    begins: int
    ends: int
    outcome: Outcome | None  # None: it never ended
    detail: str = ""
    request_complete: bool = True
    heads: int = 1
    run: str | None = None
    tags: dict[str, str] = {}


class RecordedSession(msgspec.Struct):
    """One case."""

    name: str
    exchanges: list[Taken]

    @property
    def expected(self) -> Any:
        return json.loads((CORPUS / self.name / "expected.json").read_text("utf-8"))

    @property
    def has_sockets(self) -> bool:
        return any(taken.messages for taken in self.exchanges)

    def as_exchanges(self) -> list[Exchange]:
        """Those over HTTP, as the ingest assembles them."""
        return [_assembled(_coded(taken)) for taken in self.exchanges if not taken.messages]

    def play(
        self, writer: JournalWriter, cut: Cut = lambda data: [data], *, deflate: bool | None = None
    ) -> Iterator[Kind]:
        """Appends it all to a journal, a record a step, bodies and frames in the pieces that `cut` makes of them.
        `deflate` says whether connections are compressed; None: as they were. Gives the kind of each record that was
        appended; committing is the caller's."""
        tape = _Tape(writer, cut, deflate)
        for _, action in sorted(self._steps(tape), key=lambda step: step[0]):
            yield from action()

    def _steps(self, tape: _Tape) -> Iterator[tuple[int, Callable[[], Iterator[Kind]]]]:
        for place, taken in enumerate(map(_coded, self.exchanges)):
            yield taken.begins, partial(tape.begin, place, taken)
            if taken.ended is not None:
                yield taken.ends, partial(tape.end, place, taken)
            for message in taken.messages:
                yield message.at, partial(tape.say, place, message)


class _Tape:
    """Writes exchanges as the relay would."""

    def __init__(self, writer: JournalWriter, cut: Cut, deflate: bool | None) -> None:
        self._writer = writer
        self._cut = cut
        self._deflate = deflate
        self._numbers: dict[int, int] = {}
        self._senders: dict[tuple[int, bool], Sender] = {}

    def begin(self, place: int, taken: Taken) -> Iterator[Kind]:
        self._numbers[place] = self._writer.next_exchange()
        yield self._append(place, Kind.OPENED, msgspec.msgpack.encode(taken.opened))
        yield from self._body(place, Kind.REQUEST_BYTES, taken.request)
        if taken.messages:
            (head,) = taken.heads
            head = self._handshake(head)
            yield self._append(place, Kind.RESPONSE_HEAD, head)
            deflate = agreed_deflate(fields_of(head).get("sec-websocket-extensions", ""))
            keeps = (deflate.keeps_client, deflate.keeps_server) if deflate else (None, None)
            self._senders[place, True] = Sender(deflate=keeps[0], mask=b"\x11\x22\x33\x44")
            self._senders[place, False] = Sender(deflate=keeps[1])

    def _handshake(self, head: bytes) -> bytes:
        if self._deflate is False:
            return drop_extensions(head.decode("latin-1")).encode("latin-1")
        if self._deflate and "sec-websocket-extensions" not in fields_of(head):
            return head.removesuffix(b"\r\n") + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        return head

    def say(self, place: int, message: Message) -> Iterator[Kind]:
        is_client = message.client is not None
        data = self._senders[place, is_client].message((message.client or message.server or "").encode())
        yield from self._body(place, Kind.CLIENT_BYTES if is_client else Kind.SERVER_BYTES, data)

    def end(self, place: int, taken: Taken) -> Iterator[Kind]:
        assert taken.ended is not None
        if not taken.messages:
            for head in taken.heads:
                yield self._append(place, Kind.RESPONSE_HEAD, head)
            yield from self._body(place, Kind.RESPONSE_BYTES, taken.response)
        yield self._append(place, Kind.ENDED, msgspec.msgpack.encode(taken.ended))

    def _body(self, place: int, kind: Kind, data: bytes) -> Iterator[Kind]:
        for piece in self._cut(data) if data else ():
            yield self._append(place, kind, piece)

    def _append(self, place: int, kind: Kind, payload: bytes) -> Kind:
        self._writer.append(kind, self._numbers[place], payload)
        return kind


def names() -> list[str]:
    """All cases."""
    return sorted(folder.name for folder in CORPUS.iterdir() if (folder / "session.json").exists())


def one_of_each_agent() -> list[str]:
    """The first case of each agent, for what takes long and does not hang on protocols."""
    agents = {load(name).expected["sessions"][0]["agent_name"]: name for name in reversed(names())}
    return sorted(agents.values())


def load(name: str) -> RecordedSession:
    folder = CORPUS / name
    lines = msgspec.json.decode((folder / "session.json").read_bytes(), type=list[_Line])
    return RecordedSession(name, [_load(folder, line) for line in lines])


def _load(folder: Path, line: _Line) -> Taken:
    head, request = _heads((folder / f"{line.name}.request.http").read_bytes(), 1)
    heads, response = _heads((folder / f"{line.name}.response.http").read_bytes(), line.heads)
    target = head[0].split(b" ", 2)[1].decode("latin-1")
    opened = Opened(head[0], target, line.upstream, "http://127.0.0.1:1", "127.0.0.1:2", line.run, line.tags)
    socket = folder / f"{line.name}.socket.jsonl"
    said = socket.read_bytes().splitlines() if socket.exists() else []
    messages = [msgspec.json.decode(message, type=Message) for message in said]
    ended = Ended(line.outcome, line.detail, line.request_complete) if line.outcome else None
    return Taken(opened, line.begins, line.ends, ended, request, heads, response, messages)


def _heads(data: bytes, count: int) -> tuple[list[bytes], bytes]:
    heads = []
    for _ in range(count):
        head, end, data = data.partition(b"\r\n\r\n")
        heads.append(head + end)
    return heads, data


def save(folder: Path, exchanges: list[Taken]) -> None:
    """Writes the case without what must be told of it. Whatever was in the folder is gone, but for README and that."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in ("README", "expected.json"):
            path.unlink()
    lines = []
    for number, taken in enumerate(exchanges, 1):
        name, opened = f"{number:02}", taken.opened
        (folder / f"{name}.request.http").write_bytes(opened.head + taken.request)
        (folder / f"{name}.response.http").write_bytes(b"".join(taken.heads) + taken.response)
        if taken.messages:
            said = [msgspec.json.encode(message) for message in taken.messages]
            (folder / f"{name}.socket.jsonl").write_bytes(b"\n".join([*said, b""]))
        line = _Line(name, opened.upstream, taken.begins, taken.ends, None, heads=len(taken.heads), run=opened.run)
        if ended := taken.ended:
            line.outcome, line.detail, line.request_complete = ended.outcome, ended.detail, ended.request_complete
        line.tags = opened.tags
        lines.append(line)
    spelled = b",\n".join(msgspec.json.encode(line) for line in lines)
    (folder / "session.json").write_bytes(b"[\n" + spelled + b"\n]\n")


def _coded(taken: Taken) -> Taken:
    """With the codings that the heads name."""
    head, request = encode(taken.opened.head, taken.request, fields_of(taken.opened.head))
    heads, response = list(taken.heads), taken.response
    if heads:
        heads[-1], response = encode(heads[-1], response, fields_of(heads[-1]))
    opened = msgspec.structs.replace(taken.opened, head=head)
    return msgspec.structs.replace(taken, opened=opened, request=request, heads=heads, response=response)


def _assembled(taken: Taken) -> Exchange:
    assert taken.ended is not None
    place = Position(1, 0)
    body = (taken.request, tuple(taken.heads), taken.response)
    return Exchange("0" * 32, 1, place, taken.opened, 1, 2, 3, taken.ended, *body)
