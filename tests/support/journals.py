"""What is in the journals of a data folder, read by the records alone: the other side of every promise."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ocproxy.exchange import Ended, Gap, Kind, Opened, Record
from ocproxy.journal import JournalReader, list_journals


@dataclass
class Taped:
    """One exchange as it lies in the journal."""

    opened: Opened
    request: bytes = b""
    heads: list[bytes] = field(default_factory=list)
    response: bytes = b""
    ended: Ended | None = None


@dataclass
class Tapes:
    """All journals of one data folder. `exchanges` are grouped by their run; `orphans` counts records of exchanges
    whose opening is not there, which only a gap may explain."""

    exchanges: dict[str, list[Taped]]
    gaps: list[Gap]
    orphans: int = 0

    @property
    def count(self) -> int:
        return sum(map(len, self.exchanges.values()))


def read_tapes(data: Path) -> Tapes:
    """Everything that `data` holds."""
    exchanges: dict[str, list[Taped]] = defaultdict(list)
    gaps: list[Gap] = []
    orphans = 0
    for folder in list_journals(data / "journal"):
        open_: dict[int, Taped] = {}
        with JournalReader(folder) as reader:
            for _, record in reader.follow():
                if record.kind == Kind.OPENED:
                    opened = msgspec.msgpack.decode(record.payload, type=Opened)
                    open_[record.exchange] = Taped(opened)
                    exchanges[opened.run or ""].append(open_[record.exchange])
                elif record.kind == Kind.GAP:
                    gaps.append(msgspec.msgpack.decode(record.payload, type=Gap))
                elif record.kind == Kind.BEGAN:
                    continue
                elif taped := open_.get(record.exchange):
                    _add(taped, record)
                else:
                    orphans += 1
    return Tapes(dict(exchanges), gaps, orphans)


def _add(taped: Taped, record: Record) -> None:
    match record.kind:
        case Kind.REQUEST_BYTES | Kind.CLIENT_BYTES:
            taped.request += record.payload
        case Kind.RESPONSE_HEAD:
            taped.heads.append(record.payload)
        case Kind.RESPONSE_BYTES | Kind.SERVER_BYTES:
            taped.response += record.payload
        case Kind.ENDED:
            taped.ended = msgspec.msgpack.decode(record.payload, type=Ended)
