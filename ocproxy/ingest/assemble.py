"""Journal records to whole exchanges. Keeps what is open; knows where to read again after a restart.

What is kept has a bound. Beyond it the bodies of the largest open exchange are dropped, and read from the journal again
when it ends: nothing is removed from there that is not behind `resume`.

A WebSocket of a protocol that is known is not kept: its calls are told one by one, each when it ends, and itself only
when it had none or something in it belongs to none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from ocproxy.errors import JournalError
from ocproxy.exchange import Ended, Exchange, Gap, Kind, Opened, Outcome, Position, Record
from ocproxy.ingest.sockets import Connection, connection_of
from ocproxy.protocols.base import SocketCall

# Bytes of one direction of one exchange that are held: twice what the API takes in a request, whose answers are far
# smaller still. Uploads, downloads and upgraded connections go on for as long as they like; what is beyond is counted.
MOST_BYTES = 64 * 1024 * 1024

# Bytes that the open exchanges of all journals together hold. Agents' calls have some megabytes at most, so a hundred
# of them run before anything is read twice.
MOST_HELD = 256 * 1024 * 1024

# What a piece costs besides its bytes: the object, and its place in a list.
_PIECE_BYTES = 48

Reread = Callable[[Position], Iterator[tuple[Position, Record]]]


class Budget:
    """What open exchanges may hold together, and what they do hold."""

    def __init__(self, most: int | None = None) -> None:
        self.most = MOST_HELD if most is None else most
        self.held = 0


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
    cost: int = 0  # memory of all that, approximately
    dropped: bool = False  # its bodies are in the journal only
    socket: Connection | None = None
    socket_cost: int = 0  # memory of that; it cannot be dropped

    def drop(self) -> None:
        """Forget the bodies."""
        self.heads, self.request, self.response, self.client, self.server = [], [], [], [], []
        self.held, self.beyond, self.cost, self.dropped = {}, {}, 0, True


class Assembler:
    """Assembles the exchanges of the journal with this id. `position` is behind the last record that was fed.

    `reread` gives its records from a position on once more; without it nothing is dropped.
    """

    def __init__(
        self, journal: str, position: Position, reread: Reread | None = None, budget: Budget | None = None
    ) -> None:
        self._journal = journal
        self._reread = reread
        self._budget = budget or Budget()
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

        Raises JournalError and OSError when what was dropped cannot be read again: the record was not taken then.
        """
        start = self.position
        try:
            return self._feed(start, position, record)
        except (JournalError, OSError):
            self.position = start
            raise

    def release(self) -> None:
        """Give what is held back to the budget: this assembler is not used any more."""
        self._budget.held -= sum(entry.cost + entry.socket_cost for entry in self._open.values())
        self._open.clear()

    def _feed(self, start: Position, position: Position, record: Record) -> list[Exchange | FoundGap]:
        self.position = position
        life = record.exchange >> 32
        done: list[Exchange | FoundGap] = []
        if life > self._life:
            done += self._bury(life, position)
        entry = self._open.get(record.exchange)
        try:
            if record.kind == Kind.OPENED:
                opened = msgspec.msgpack.decode(record.payload, type=Opened)
                if entry:  # never twice; if it is, the order above must hold
                    self._forget(record.exchange)
                self._open[record.exchange] = _Open(start, opened, record.wall_ns, record.wall_ns)
            elif record.kind == Kind.GAP:
                gap = msgspec.msgpack.decode(record.payload, type=Gap)
                if entry:
                    entry.gaps.append(gap)
                    if entry.socket:
                        entry.socket.lose()
                done.append(FoundGap(self._journal, position, record.wall_ns, gap))
            elif entry is None:
                # Its opening was lost, and a gap told that. Once more here, at its end, with its number.
                if record.kind == Kind.ENDED:
                    done.append(self._orphan(position, record))
            elif record.kind == Kind.ENDED:
                ended = msgspec.msgpack.decode(record.payload, type=Ended)
                done += self._close(record.exchange, entry, ended, position, record.wall_ns)
                self._forget(record.exchange)
            elif entry.socket and record.kind in (Kind.CLIENT_BYTES, Kind.SERVER_BYTES):
                entry.last_ns = record.wall_ns
                done += [self._call(record.exchange, entry, call, position) for call in entry.socket.feed(record)]
                self._hold_socket(entry, entry.socket.size)
            else:
                self._budget.held += _collect(entry, record)
                if record.kind == Kind.RESPONSE_HEAD:
                    entry.socket = connection_of(entry.opened, record.payload)
                self._make_room()
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
        dead = [(number, entry) for number, entry in self._open.items() if number >> 32 < life]
        ended = Ended(Outcome.RECORDER_DIED, "ocproxy was ended before the exchange was", request_complete=False)
        done: list[Exchange | FoundGap] = []
        for number, entry in dead:
            done += self._close(number, entry, ended, position, entry.last_ns)
        for number, _ in dead:
            self._forget(number)
        self._life = life
        return done

    def _forget(self, number: int) -> None:
        entry = self._open.pop(number)
        self._budget.held -= entry.cost + entry.socket_cost

    def _hold_socket(self, entry: _Open, size: int) -> None:
        self._budget.held += size - entry.socket_cost
        entry.socket_cost = size
        self._make_room()

    def _make_room(self) -> None:
        """Drop the largest of ours until all fits."""
        while self._reread is not None and self._budget.held > self._budget.most:
            largest = max(self._open.values(), key=lambda entry: entry.cost)
            if not largest.cost:
                return  # the others have it all
            self._budget.held -= largest.cost
            largest.drop()

    def _read_again(self, number: int, entry: _Open, end: Position) -> _Open:
        """The exchange with its bodies, for the moment."""
        whole = _Open(entry.start, entry.opened, entry.opened_ns, entry.last_ns, entry.first_byte_ns, gaps=entry.gaps)
        assert self._reread is not None
        for place, record in self._reread(entry.start):
            if place > end:
                break
            if record.exchange == number and record.kind not in (Kind.OPENED, Kind.ENDED, Kind.GAP):
                _collect(whole, record)
        return whole

    def _close(
        self, number: int, entry: _Open, ended: Ended, position: Position, ended_ns: int
    ) -> list[Exchange | FoundGap]:
        socket = entry.socket
        if socket is None:
            return [self._whole(number, entry, ended, position, ended_ns)]
        calls = socket.end(ended_ns)
        done: list[Exchange | FoundGap] = [self._call(number, entry, call, position, ended) for call in calls]
        if not socket.told or socket.problems:
            done.append(self._whole(number, entry, ended, position, ended_ns))
        return done

    def _call(
        self, number: int, entry: _Open, call: SocketCall, position: Position, ended: Ended | None = None
    ) -> Exchange:
        """One call of a connection, which ended so; None: it goes on."""
        assert entry.socket is not None
        return Exchange(
            journal=self._journal,
            number=number,
            position=position,
            opened=entry.opened,
            opened_ns=call.began,
            first_byte_ns=call.answered,
            ended_ns=call.ended,
            ended=entry.socket.end_of(call, ended or Ended(Outcome.COMPLETE)),
            request=call.request,
            heads=(entry.socket.head,),
            response=call.response,
            gaps=tuple(entry.gaps),
            ordinal=call.ordinal,
            sizes=call.sizes,
            problems=tuple((problem.code, problem.message) for problem in call.problems),
        )

    def _whole(self, number: int, entry: _Open, ended: Ended, position: Position, ended_ns: int) -> Exchange:
        if entry.dropped and entry.socket is None:
            entry = self._read_again(number, entry, position)
        problems = entry.socket.problems if entry.socket else []
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
            heads=(entry.socket.head,) if entry.socket else tuple(entry.heads),
            response=b"".join(entry.response),
            client_bytes=b"".join(entry.client),
            server_bytes=b"".join(entry.server),
            gaps=tuple(entry.gaps),
            beyond=entry.beyond,
            problems=tuple((problem.code, problem.message) for problem in problems),
        )


def _collect(entry: _Open, record: Record) -> int:
    """Take a piece. Returns what it costs."""
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
    if entry.dropped or record.kind not in places:  # kinds of newer versions are passed over: the journal keeps them
        return 0
    room = MOST_BYTES - entry.held.get(record.kind, 0)
    taken = record.payload[:room]
    if taken:
        places[record.kind].append(taken)
        entry.held[record.kind] = MOST_BYTES - room + len(taken)
    if len(taken) < len(record.payload):
        entry.beyond[record.kind] = entry.beyond.get(record.kind, 0) + len(record.payload) - len(taken)
    cost = len(taken) + _PIECE_BYTES if taken else 0
    entry.cost += cost
    return cost
