"""Small journals for tests: written by the real writer, read by the real reader."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from ocproxy.config import Journal
from ocproxy.exchange import Gap, Kind, Position, Record
from ocproxy.journal import JournalReader, JournalWriter, syncing

SETTINGS = Journal()
RECORD_BYTES = 36  # in front of every payload
HEADER_BYTES = 64  # of a segment
START = HEADER_BYTES + RECORD_BYTES  # offset of the first record behind BEGAN, which every writer writes first


def write(folder: Path, *payloads: bytes) -> int:
    """Write one segment with these request bytes of one exchange. Returns the exchange."""
    writer = JournalWriter.open(folder, SETTINGS)
    exchange = writer.next_exchange()
    for payload in payloads:
        writer.append(Kind.REQUEST_BYTES, exchange, payload)
    writer.close()
    return exchange


Found = list[tuple[Position, Record]]


def seen(found: Iterable[tuple[Position, Record]]) -> Found:
    """All but the BEGAN records."""
    return [(position, record) for position, record in found if record.kind != Kind.BEGAN]


def read(folder: Path, position: Position | None = None) -> Found:
    with JournalReader(folder) as reader:
        return seen(reader.follow(position))


def payloads(found: Iterable[tuple[Position, Record]]) -> list[bytes]:
    """Of all records but BEGANs and GAPs."""
    return [record.payload for _, record in seen(found) if record.kind != Kind.GAP]


def gaps(found: Iterable[tuple[Position, Record]]) -> list[Gap]:
    return [msgspec.msgpack.decode(record.payload, type=Gap) for _, record in found if record.kind == Kind.GAP]


def plain(folder: Path, number: int) -> Path:
    return folder / f"{number:010d}.seg"


def packed(folder: Path, number: int) -> Path:
    return folder / f"{number:010d}.seg.zst"


def crash(folder: Path, target: Path, cut: int | None = None) -> Path:
    """A copy of the journal as a killed writer leaves it, its last segment cut after `cut` bytes."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    last = max(target.glob("*.seg"))
    if cut is not None:
        with open(last, "r+b") as file:
            file.truncate(cut)
    return target


def without_syncs(patch: pytest.MonkeyPatch) -> None:
    """For tests that open hundreds of journals and are not about power cuts: a busy disk takes milliseconds a sync."""
    patch.setattr(os, "fsync", lambda descriptor: None)
    patch.setattr(syncing, "_fdatasync", lambda descriptor: None)
