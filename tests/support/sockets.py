"""WebSocket connections of the corpus, as they cross the wire again: frames of chosen compression and cutting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ocproxy.exchange import Ended, Kind, Opened, Outcome
from ocproxy.journal import JournalWriter
from tests.support.frames import Sender

CORPUS = Path(__file__).parent.parent / "corpus" / "websocket"


class Line(NamedTuple):
    """One line of a recorded run."""

    connection: int
    request: str | None = None
    response: str | None = None
    client: str | None = None
    server: str | None = None
    ended: str | None = None
    at: int = 0


def load_run(case: str) -> list[Line]:
    """The recorded run `case`."""
    lines = (CORPUS / case / "messages.jsonl").read_text("utf-8").splitlines()
    return [Line(**json.loads(line)) for line in lines]


def drop_extensions(head: str) -> str:
    """The head of a handshake without any extension."""
    return "\r\n".join(line for line in head.split("\r\n") if not line.lower().startswith("sec-websocket-extensions"))


class SocketTape:
    """Writes a run into a journal as the relay would. `cut` is the greatest size of a record."""

    def __init__(self, writer: JournalWriter, *, deflate: bool = True, cut: int = 1 << 20) -> None:
        self.numbers: dict[int, int] = {}
        self._writer = writer
        self._deflate = True if deflate else None
        self._cut = cut
        self._senders: dict[tuple[int, str], Sender] = {}

    def play(self, lines: list[Line]) -> None:
        """Write these lines, each committed."""
        for line in lines:
            if line.request is not None and line.response is not None:
                self._open(line)
            elif line.ended is not None:
                self._append(Kind.ENDED, line.connection, msgspec.msgpack.encode(Ended(Outcome(line.ended))))
            else:
                kind, side = (Kind.CLIENT_BYTES, "client") if line.client is not None else (Kind.SERVER_BYTES, "server")
                text = line.client if line.client is not None else line.server
                data = self._senders[line.connection, side].message((text or "").encode())
                for at in range(0, len(data), self._cut):
                    self._append(kind, line.connection, data[at : at + self._cut])
            assert self._writer.commit()

    def _open(self, line: Line) -> None:
        assert line.request is not None and line.response is not None
        number = self.numbers[line.connection] = self._writer.next_exchange()
        response = drop_extensions(line.response)
        if self._deflate:
            response = response.removesuffix("\r\n") + "sec-websocket-extensions: permessage-deflate\r\n\r\n"
        target = line.request.split(" ", 2)[1]
        opened = Opened(line.request.encode(), target, "openai", "http://127.0.0.1:1", "127.0.0.1:2")
        self._writer.append(Kind.OPENED, number, msgspec.msgpack.encode(opened))
        self._writer.append(Kind.RESPONSE_HEAD, number, response.encode())
        self._senders[line.connection, "client"] = Sender(deflate=self._deflate, mask=b"\x11\x22\x33\x44")
        self._senders[line.connection, "server"] = Sender(deflate=self._deflate)

    def _append(self, kind: Kind, connection: int, payload: bytes) -> None:
        self._writer.append(kind, self.numbers[connection], payload)


def requests_of(lines: list[Line]) -> list[Any]:
    """The client's messages."""
    return [json.loads(line.client) for line in lines if line.client is not None]
