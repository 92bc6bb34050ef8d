"""The elements of a JSON array that arrives in pieces: `streamGenerateContent` without `alt=sse` is one array.

Source: the method's reference, https://ai.google.dev/api/generate-content: without `alt=sse` the stream of responses is
a JSON list (RFC 8259, section 5). Any cutting of the bytes gives the same elements.
"""

from __future__ import annotations

import re

# Everything that changes where we stand. Bytes of longer UTF-8 sequences are never among them.
_MARK = re.compile(rb'["\\{}\[\]]')
_STRING_MARK = re.compile(rb'["\\]')
_OPENING, _CLOSING = b"{[", b"}]"


class ArrayStream:
    """Splits one top-level array. Only elements that are objects or arrays are given; others are passed over."""

    def __init__(self) -> None:
        self.ended = False  # the closing bracket came
        self._buffer = bytearray()  # begins where the element that has not ended begins, once one has
        self._at = 0  # scanned so far
        self._depth = 0
        self._in_string = False

    @property
    def unfinished(self) -> bytes:
        """What came of an element that has not ended."""
        return bytes(self._buffer) if self._depth > 1 else b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; returns the elements that they end."""
        if self.ended:
            return []
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        start = 0
        while True:
            mark = (_STRING_MARK if self._in_string else _MARK).search(buffer, self._at)
            if mark is None:
                self._at = len(buffer)
                break
            place, byte = mark.start(), mark[0]
            self._at = place + 1
            if byte == b"\\":
                if self._at == len(buffer):  # what it escapes is yet to come: look again then
                    self._at = place
                    break
                self._at += 1
            elif byte == b'"':
                self._in_string = not self._in_string
            elif byte in _OPENING:
                self._depth += 1
                if self._depth == 2:
                    start = place
            elif byte in _CLOSING:
                self._depth -= 1
                if self._depth == 1:
                    found.append(bytes(buffer[start : self._at]))
                    start = self._at
                elif self._depth <= 0:
                    self.ended = True
                    break
        self._drop(start if self._depth > 1 else self._at)
        return found

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._at -= count
