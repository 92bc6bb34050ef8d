"""Values of the wire: what the relay writes to the journal and the ingest reads from it.

Nothing here understands HTTP bodies. All values are immutable. Byte strings are as they crossed the wire, framing
included, except that credentials in heads and targets were replaced (see `ocproxy.relay.redaction`).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from hashlib import blake2b
from typing import NamedTuple

import msgspec


class Kind(IntEnum):
    """Kind of a journal record. Numbers are part of the format: never reuse or renumber."""

    OPENED = 1  # payload: Opened as msgpack
    REQUEST_BYTES = 2  # body bytes of the request, client -> upstream, with their framing
    RESPONSE_HEAD = (
        3  # one response head, redacted, with its final empty line; 1xx heads come first, each its own record
    )
    RESPONSE_BYTES = 4  # body bytes of the response, upstream -> client, with their framing
    CLIENT_BYTES = 5  # after a 101 (or CONNECT 200): opaque bytes client -> upstream
    SERVER_BYTES = 6  # after a 101 (or CONNECT 200): opaque bytes upstream -> client
    GAP = 7  # payload: Gap as msgpack; exchange 0 = the whole journal
    ENDED = 8  # payload: Ended as msgpack
    BEGAN = 9  # a writer's life began; no payload; exchange = its first segment << 32: whatever was open is over
    ERASED = 10  # what was a record of this exchange; payload: as many zero bytes as it had (`ocproxy.journal.erasing`)


class Outcome(StrEnum):
    """How an exchange ended, as seen on the wire."""

    COMPLETE = "complete"  # the response ended by its own framing
    CLIENT_DISCONNECTED = "client_disconnected"  # the client went away before the end
    UPSTREAM_DISCONNECTED = "upstream_disconnected"  # the upstream broke off inside head or body
    UPSTREAM_UNREACHABLE = "upstream_unreachable"  # no connection, or no TLS; the client got our 502
    REFUSED = "refused"  # never forwarded: bad framing, no route, journal full; the client got our 4xx/5xx
    DRAINED = "drained"  # ocproxy was told to stop and the time to drain ran out
    RECORDER_DIED = "recorder_died"  # no ENDED record: the relay died; set by the reader, never written


class Position(NamedTuple):
    """A place in one journal: byte `offset` of segment `segment`, always at a record boundary. Orders as a tuple."""

    segment: int
    offset: int

    def __str__(self) -> str:
        return f"{self.segment:010d}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read back what `str()` printed. Raises ValueError on anything else."""
        segment, _, offset = text.partition(":")
        return cls(int(segment), int(offset))


class Record(NamedTuple):
    """One journal record. `exchange` 0 belongs to no exchange. Times in ns: Unix epoch, and CLOCK_MONOTONIC."""

    kind: int  # a Kind, or a number from a newer version
    exchange: int
    wall_ns: int
    mono_ns: int
    payload: bytes


class Opened(msgspec.Struct, frozen=True):
    """The payload of an OPENED record: a request head arrived and was given an upstream."""

    head: bytes  # the request head as the client sent it, credentials replaced, with its final empty line
    target: str  # path and query as sent to the upstream, credentials replaced (latin-1)
    upstream: str  # name of the upstream in the configuration; "" when none was chosen
    upstream_url: str  # base URL of that upstream
    client: str  # "127.0.0.1:53422"
    run: str | None = None  # NAME of a /run/NAME/ prefix
    tags: dict[str, str] = {}  # x-ocproxy-* headers without their prefix: session, agent, thread, workdir, title


class Ended(msgspec.Struct, frozen=True):
    """The payload of an ENDED record: nothing more will be written for this exchange."""

    outcome: Outcome
    detail: str = ""  # a sentence for the user when the outcome is not `complete`
    request_complete: bool = True  # the request body arrived whole
    lost_bytes: int = 0  # bytes of this exchange that could not be journalled (see GAP records)


class Gap(msgspec.Struct, frozen=True):
    """The payload of a GAP record: something could not be recorded. Written as soon as writing works again."""

    reason: str  # "disk full: [Errno 28] …"
    records: int  # records that were dropped
    bytes: int  # payload bytes that were dropped
    since_ns: int  # Unix time of the first loss


class Exchange(msgspec.Struct, frozen=True):
    """One assembled exchange: all records between OPENED and ENDED. Built by `ocproxy.ingest.assemble`."""

    journal: str  # id of the journal (32 hex digits)
    number: int  # exchange number, unique in its journal
    position: Position  # just behind the last record of the exchange
    opened: Opened
    opened_ns: int  # Unix time of OPENED
    first_byte_ns: int | None  # Unix time of the first response head or body record
    ended_ns: int
    ended: Ended
    request: bytes  # body bytes with framing
    heads: tuple[bytes, ...]  # response heads, 1xx first
    response: bytes  # body bytes with framing
    client_bytes: bytes = b""
    server_bytes: bytes = b""
    gaps: tuple[Gap, ...] = ()
    beyond: dict[int, int] = {}  # by Kind: bytes at the end of a direction that are in the journal only, not here
    # One call of an upgraded connection: the which, from 1. `request` and `response` are bodies without framing then,
    # put together from its messages, `sizes` the bytes of these both ways, `position` and times those of the call.
    ordinal: int = 0
    sizes: tuple[int, int] | None = None
    problems: tuple[tuple[str, str], ...] = ()  # (code, message), of putting it together

    @property
    def call_id(self) -> str:
        """Stable id of this exchange: the same at every replay of the journal."""
        return call_id(self.journal, self.number, self.ordinal)


def call_id(journal: str, number: int, ordinal: int = 0) -> str:
    """Id of the exchange `number` of the journal `journal` (20 hex digits), or of one call of its connection."""
    place = f"{journal}:{number}:{ordinal}" if ordinal else f"{journal}:{number}"
    return blake2b(place.encode(), digest_size=10).hexdigest()
