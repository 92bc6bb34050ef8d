"""Writes assembled exchanges into a journal, as the relay does while their bytes pass."""

from __future__ import annotations

from typing import Any

import msgspec

from ocproxy.exchange import Ended, Exchange, Kind
from ocproxy.journal import JournalWriter


def tape(writer: JournalWriter, exchange: Exchange, *, ended: Ended | None = None, **opening: Any) -> int:
    """One exchange, whole; `opening` are fields of its `Opened` that differ. Returns its number."""
    number = writer.next_exchange()
    opened = msgspec.structs.replace(exchange.opened, **opening)
    writer.append(Kind.OPENED, number, msgspec.msgpack.encode(opened))
    writer.append(Kind.REQUEST_BYTES, number, exchange.request)
    for head in exchange.heads:
        writer.append(Kind.RESPONSE_HEAD, number, head)
    writer.append(Kind.RESPONSE_BYTES, number, exchange.response)
    writer.append(Kind.ENDED, number, msgspec.msgpack.encode(ended or exchange.ended))
    assert writer.commit()
    return number
