"""Write over records of a plain segment where they stand, so that it is done once it was begun, whoever dies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ocproxy.errors import JournalError
from ocproxy.exchange import Kind
from ocproxy.journal.folder import FILE_MODE
from ocproxy.journal.records import HEADER_BYTES, encode_header, encode_times
from ocproxy.journal.segments import UNFINISHED, path_of, sync_folder

NOTE: Final = "erasing"


class Patch(NamedTuple):
    """One record that is to become an ERASED one. It says nothing of what the record held."""

    offset: int  # of the record in the plain segment
    length: int  # of its payload
    exchange: int
    wall_ns: int
    mono_ns: int

    @property
    def end(self) -> int:
        return self.offset + HEADER_BYTES + self.length

    def encode(self, seed: int) -> bytes:
        """The ERASED record."""
        payload = bytes(self.length)
        times = encode_times(self.wall_ns, self.mono_ns)
        return encode_header(Kind.ERASED, self.exchange, times, payload, seed) + payload


class _Note(msgspec.Struct, frozen=True):
    """What the file `erasing` says: which records of which segment are being written over."""

    segment: int
    seed: int
    patches: list[Patch]


def overwrite(folder: Path, number: int, patches: Sequence[Patch], seed: int) -> None:
    """Write the patches into the plain segment `number`, and let that be on the disk. Only for the holder of the
    keeper's lock. Raises OSError; what was begun is finished by `finish` then."""
    unfinished = folder / (NOTE + UNFINISHED)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with open(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(_Note(number, seed, list(patches))))
        file.flush()
        os.fsync(descriptor)
    unfinished.rename(folder / NOTE)
    sync_folder(folder)
    finish(folder)


def finish(folder: Path) -> None:
    """Finish what an `overwrite` began whose process died; nothing to do without one. Only for the holder of the
    keeper's lock. Raises OSError, and JournalError when the note cannot be read."""
    place = folder / NOTE
    try:
        note = msgspec.msgpack.decode(place.read_bytes(), type=_Note)
    except FileNotFoundError:
        return
    except msgspec.DecodeError as error:
        raise JournalError(
            f"{place} cannot be read: {error}; records of a segment may be half erased",
            hint="`ocproxy journal verify` tells them; remove the file, and delete the session again",
        ) from None
    try:
        segment = open(path_of(folder, note.segment), "r+b", buffering=0)
    except FileNotFoundError:  # removed since: so are its records
        pass
    else:
        with segment:
            for patch in note.patches:
                _write(segment.fileno(), patch.encode(note.seed), patch.offset)
            os.fsync(segment.fileno())
    place.unlink()
    sync_folder(folder)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
