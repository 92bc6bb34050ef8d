"""What a relay worker is told when it starts: one msgpack map on its standard input, then end of file."""

from __future__ import annotations

import msgspec

from ocproxy.config import Journal, Upstream


class WorkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a worker needs to know. Written by the supervisor, read once."""

    host: str
    port: int  # 0: any free port; then only one worker can serve
    journal_folder: str  # this worker's own folder
    redaction_key: bytes  # 32 bytes, the content of <data_dir>/redaction.key (`redaction.load_key`)
    upstreams: dict[str, Upstream]
    default_upstream: str
    control: str = ""  # "host:port", or the path of a unix socket (starts with "/"); empty: no control process
    worker: int = 0
    journal: Journal = Journal()
    drain_seconds: float = 30.0

    def encode(self) -> bytes:
        """The bytes to write to the worker's standard input."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> WorkerSettings:
        """Read back what `encode` made. Raises msgspec.ValidationError."""
        return msgspec.msgpack.decode(data, type=cls)
