"""Server-sent events, decoded incrementally: HTML Living Standard, section 9.2.6 "Interpreting an event stream".

Any cutting of the bytes gives the same events. Lines are found on bytes: a CR, LF or colon is never part of a longer
UTF-8 sequence, broken or not, so decoding first (as the standard words it) finds the same ones.
"""

from __future__ import annotations

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One dispatched event. `data` is UTF-8 as it came, its lines joined by LF."""

    name: str  # "message" when the stream names none
    data: bytes
    last_id: str = ""

    @property
    def text(self) -> str:
        """`data` as text; bytes that are not UTF-8 become U+FFFD, as the standard says."""
        return self.data.decode("utf-8", "replace")


class EventStream:
    """Decodes one event stream. `retry_ms` is the last reconnection time that the stream asked for."""

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._head: bytes | None = b""  # the first bytes, until it is known whether they are a byte order mark
        self._after_cr = False
        self._pending: list[bytes] = []  # pieces of a line that has not ended
        self._name = ""
        self._data: list[bytes] = []
        self._last_id = ""
        self._lines = 0  # lines of the event that has not ended

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; returns the events that they end."""
        if self._head is not None:
            data = self._head + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._head = data
                return []
            self._head, data = None, data.removeprefix(_BOM)
        if not data:
            return []
        if self._after_cr and data[0] == 10:
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            if data:
                self._pending.append(data)
            return []
        if self._pending:
            data = b"".join(self._pending) + data
        lines = data.split(b"\n")
        last = lines.pop()
        self._pending = [last] if last else []
        return self._take_lines(lines)

    @property
    def rest(self) -> bytes:
        """What came of an event that has not ended, as `data` of it plus the unfinished line. The standard discards
        it; empty when the stream ended between two events."""
        pending = b"".join(self._pending) or (self._head or b"")
        return b"\n".join([*self._data, pending]) if self._data and pending else b"\n".join(self._data) or pending

    @property
    def unfinished(self) -> bool:
        """Whether the stream stands inside an event."""
        return bool(self._lines or self._pending or self._head)

    def _take_lines(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(Event(self._name or "message", b"\n".join(self._data), self._last_id))
                    self._data = []
                self._name = ""
                self._lines = 0
            elif line.startswith(b"data: "):
                self._data.append(line[6:])
                self._lines += 1
            elif line.startswith(b"event: "):
                self._name = line[7:].decode("utf-8", "replace")
                self._lines += 1
            elif line[0] != 58:  # a line that begins with a colon is a comment
                self._lines += 1
                self._take_field(line)
        return events

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._last_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            self.retry_ms = int(value[:18])
