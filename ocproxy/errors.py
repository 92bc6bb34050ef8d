"""Every error that ocproxy raises on purpose.

    OcproxyError                 the base; `str()` is a sentence for the user
    ├── ConfigError              a setting is unknown or bad: names key, source and what would be right
    ├── NotFound                 nothing matches what was asked for (a session id, a file, a segment)
    ├── Ambiguous                a shortened id matches more than one
    ├── JournalError             the journal cannot be opened or read
    │   ├── JournalLocked        another writer holds the folder
    │   └── JournalFull          the disk refused a record and `on_full = "refuse"`
    ├── StoreError               the database cannot be used
    │   ├── StoreBusy            it is locked or away for the moment: try again later
    │   │   └── StoreMoved       another process stored something that this batch does not know: read again
    │   ├── StoreRefused         it does not take these very rows: trying again is no use
    │   └── PersistenceError     what a program gave to be stored was not; the database is as it was before
    ├── ServerError              the server could not be started or reached
    └── DecodeError              bytes are not what they claim to be (inside the meaning plane it becomes a Problem)

Each error carries `hint`: what to do next, one sentence, or None.
"""

from __future__ import annotations


class OcproxyError(Exception):
    """Base of all errors raised on purpose. `hint` tells the user what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(OcproxyError):
    """A setting is unknown or has a bad value."""


class NotFound(OcproxyError):
    """Nothing matches what was asked for."""


class Ambiguous(OcproxyError):
    """A shortened id matches more than one thing."""


class JournalError(OcproxyError):
    """The journal cannot be opened, written or read."""


class JournalLocked(JournalError):
    """Another process writes to this journal folder."""


class JournalFull(JournalError):
    """The disk took no record and the user chose to refuse traffic rather than lose its record."""


class StoreError(OcproxyError):
    """The database cannot be used."""


class StoreBusy(StoreError):
    """The database is locked or away for the moment."""


class StoreMoved(StoreBusy):
    """Another process stored something since what this batch rests on was read."""


class StoreRefused(StoreError):
    """The database does not take these very rows."""


class PersistenceError(StoreError):
    """What a program gave to be stored was not; the database is as it was before."""


class ServerError(OcproxyError):
    """The server could not be started or reached."""


class DecodeError(OcproxyError):
    """Bytes are not what they claim to be."""
