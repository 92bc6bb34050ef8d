"""Journal records to whole exchanges. Keeps what is open; knows where to read again after a restart."""

from __future__ import annotations

import msgspec

from ocproxy.exchange import Ended, Exchange, Gap, Kind, Opened, Outcome, Position, Record

# Bytes of one direction of one exchange that are held: twice what the API takes in a request, whose answers are far
# smaller still. Uploads, downloads and upgraded connections go on for as long as they like; what is beyond is counted.
MOST_BYTES = 64 * 1024 * 1024


class FoundGap(msgspec.Struct, frozen=True):
    """A gap in the journal: where it was read, and when it was written."""

    journal: str
    position: Position
    wall_ns: int
    gap: Gap


class _Open(msgspec.Struct):
    """An exchange whose end has not been read."""

    start: Position
    opened: Opened
    opened_ns: int
    last_ns: int
    first_byte_ns: int | None = None
    heads: list[bytes] = []
    gaps: list[Gap] = []
    request: list[bytes] = []
    response: list[bytes] = []
    client: list[bytes] = []
    server: list[bytes] = []
    held: dict[int, int] = {}  # bytes, by Kind
    beyond: dict[int, int] = {}


class Assembler:
    """Assembles the exchanges of the journal with this id. `position` is behind the last record that was fed."""

    def __init__(self, journal: str, position: Position) -> None:
        self._journal = journal
        self._open: dict[int, _Open] = {}
        self._life = 0
        self.position = position

    @property
    def resume(self) -> Position:
        """Where to read from after a restart so that no open exchange is missed."""
        # They were put in as they were opened, so the first is the oldest.
        return next((entry.start for entry in self._open.values()), self.position)

    def feed(self, position: Position, record: Record) -> list[Exchange | FoundGap]:
        """Take the record that ends at `position`. Returns what it completes, in order.

        Records that cannot be read, and exchanges whose opening was never seen, become gaps. When a new life
        of the relay begins, the exchanges that the former one left open end as `recorder_died`.
        """
        start, self.position = self.position, position
        life = record.exchange >> 32
        done: list[Exchange | FoundGap] = []
        if life > self._life:
            done += self._bury(life, position)
        entry = self._open.get(record.exchange)
        try:
            if record.kind == Kind.OPENED:
                opened = msgspec.msgpack.decode(record.payload, type=Opened)
                self._open.pop(record.exchange, None)  # never twice; if it is, the order above must hold
                self._open[record.exchange] = _Open(start, opened, record.wall_ns, record.wall_ns)
            elif record.kind == Kind.GAP:
                gap = msgspec.msgpack.decode(record.payload, type=Gap)
                if entry:
                    entry.gaps.append(gap)
                done.append(FoundGap(self._journal, position, record.wall_ns, gap))
            elif entry is None:
                # Its opening was lost, and a gap told that. Once more here, at its end, with its number.
                if record.kind == Kind.ENDED:
                    done.append(self._orphan(position, record))
            elif record.kind == Kind.ENDED:
                ended = msgspec.msgpack.decode(record.payload, type=Ended)
                del self._open[record.exchange]
                done.append(self._close(record.exchange, entry, ended, position, record.wall_ns))
            else:
                _collect(entry, record)
        except msgspec.MsgspecError as error:
            reason = f"a record of the kind {record.kind} cannot be read: {error}"
            done.append(self._lost(position, record, reason))
        return done

    def _orphan(self, position: Position, record: Record) -> FoundGap:
        reason = f"the opening of the exchange {record.exchange} is missing: it cannot be told"
        return self._lost(position, record, reason)

    def _lost(self, position: Position, record: Record, reason: str) -> FoundGap:
        gap = Gap(reason, 1, len(record.payload), record.wall_ns)
        return FoundGap(self._journal, position, record.wall_ns, gap)

    def _bury(self, life: int, position: Position) -> list[Exchange | FoundGap]:
        self._life = life
        dead = [number for number in self._open if number >> 32 < life]
        ended = Ended(Outcome.RECORDER_DIED, "ocproxy was ended before the exchange was", request_complete=False)
        return [
            self._close(number, entry, ended, position, entry.last_ns)
            for number, entry in [(number, self._open.pop(number)) for number in dead]
        ]

    def _close(self, number: int, entry: _Open, ended: Ended, position: Position, ended_ns: int) -> Exchange:
        return Exchange(
            journal=self._journal,
            number=number,
            position=position,
            opened=entry.opened,
            opened_ns=entry.opened_ns,
            first_byte_ns=entry.first_byte_ns,
            ended_ns=ended_ns,
            ended=ended,
            request=b"".join(entry.request),
            heads=tuple(entry.heads),
            response=b"".join(entry.response),
            client_bytes=b"".join(entry.client),
            server_bytes=b"".join(entry.server),
            gaps=tuple(entry.gaps),
            beyond=entry.beyond,
        )


def _collect(entry: _Open, record: Record) -> None:
    entry.last_ns = record.wall_ns
    if record.kind in (Kind.RESPONSE_HEAD, Kind.RESPONSE_BYTES) and entry.first_byte_ns is None:
        entry.first_byte_ns = record.wall_ns
    places: dict[int, list[bytes]] = {
        Kind.REQUEST_BYTES: entry.request,
        Kind.RESPONSE_HEAD: entry.heads,
        Kind.RESPONSE_BYTES: entry.response,
        Kind.CLIENT_BYTES: entry.client,
        Kind.SERVER_BYTES: entry.server,
    }
    if record.kind not in places:  # kinds of newer versions are passed over: the journal keeps them
        return
    room = MOST_BYTES - entry.held.get(record.kind, 0)
    taken = record.payload[:room]
    if taken:
        places[record.kind].append(taken)
        entry.held[record.kind] = MOST_BYTES - room + len(taken)
    if len(taken) < len(record.payload):
        entry.beyond[record.kind] = entry.beyond.get(record.kind, 0) + len(record.payload) - len(taken)
