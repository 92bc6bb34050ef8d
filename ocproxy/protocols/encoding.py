"""Content codings, decoded incrementally (RFC 9110 section 8.4): gzip, deflate, br, zstd, stacked in any order.

A stream that is cut short or broken gives all that can be decoded of it, and a Problem. Any cutting of the bytes gives
the same output.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol as Shape

import brotli
import zstandard

from ocproxy.model import Problem
from ocproxy.protocols.problems import note

# Far above any request or reply that a model takes (32 MB is the API's own limit), far below what hurts this process.
MAX_OUTPUT = 256 * 1024 * 1024
# Real messages have one coding, rarely two; each more multiplies what a bomb can do.
MAX_STACKED = 4
# One step decodes this much input. zstd cannot be told to stop: 4 bytes of input make at most one block of 128 KiB,
# so a step of 1 KiB overshoots MAX_OUTPUT by 32 MiB at the most.
_STEP = 1024
_OUTPUT_STEP = 1024 * 1024  # zlib and brotli can be told: ask for this much at a time

_ERRORS = (zlib.error, brotli.error, zstandard.ZstdError)


class ContentDecoder:
    """Undoes one Content-Encoding header, whose codings are listed in the order in which they were applied.

    `problems` says what went wrong so far. An unknown coding is left on.
    """

    def __init__(self, header: str | None, *, max_output: int = MAX_OUTPUT) -> None:
        self.problems: list[Problem] = []
        self._stages: list[_Stage] = []
        codings = [word.strip().lower() for word in (header or "").split(",")]
        codings = [coding for coding in codings if coding not in ("", "identity")]
        for coding in reversed(codings[-MAX_STACKED:]):
            if coding not in _FORMATS:
                note(self.problems, "unknown_encoding", f"the content coding {coding!r} is not known; it is left on")
                return
            self._stages.append(_Stage(coding, max_output, self.problems))
        if len(codings) > MAX_STACKED:
            note(self.problems, "unknown_encoding", f"more than {MAX_STACKED} content codings; the first are left on")

    def feed(self, data: bytes) -> bytes:
        """Take encoded bytes; returns what they decode to."""
        for stage in self._stages:
            data = stage.feed(data)
        return data

    def close(self) -> bool:
        """Say that no more comes. Returns whether everything was decoded to its end; `problems` says why not."""
        for stage in self._stages:
            stage.close()
        return not self.problems


class _Format(Shape):
    """One stream of one coding: a gzip member, a zstd frame. `feed` raises one of `_ERRORS` on broken input."""

    def feed(self, data: bytes, room: int) -> bytes:
        """Decode; stops soon after `room` bytes of output."""
        ...

    @property
    def finished(self) -> bool: ...

    @property
    def unused(self) -> bytes:
        """Input behind the end of the stream."""
        ...


class _Stage:
    """Undoes one coding: one stream after the other, within the bound, keeping what came before an error."""

    def __init__(self, coding: str, room: int, problems: list[Problem]) -> None:
        self._coding = coding
        self._new, self._repeats = _FORMATS[coding]
        self._format = self._new()
        self._fed: list[bytes] = []  # all input of the running stream, to decode it again up to the byte that is wrong
        self._limit = self._room = room
        self._broken = False
        self._problems = problems

    def feed(self, data: bytes) -> bytes:
        out: list[bytes] = []
        for at in range(0, len(data), _STEP):
            if self._broken:
                break
            out.append(self._take(data[at : at + _STEP]))
        return b"".join(out)

    def close(self) -> None:
        if not self._broken and self._fed and not self._format.finished:
            note(self._problems, "truncated", f"the {self._coding} data ends in the middle")

    def _take(self, data: bytes) -> bytes:
        out = b""
        while data and not self._broken:
            if self._format.finished and not self._start_next(data):
                break
            try:
                piece = self._format.feed(data, self._room)
            except _ERRORS as error:
                piece = self._salvage(data, str(error))
                self._broken = True
            self._fed.append(data)
            out += self._bound(piece)
            data = self._format.unused if not self._broken and self._format.finished else b""
        return out

    def _start_next(self, data: bytes) -> bool:
        """Whether another stream of the same coding may follow the one that ended."""
        if self._repeats:
            self._format, self._fed = self._new(), []
            return True
        self._broken = True
        self._note_trailing()
        return False

    def _note_trailing(self) -> None:
        note(self._problems, "trailing_bytes", f"bytes came after the end of the {self._coding} data")

    def _bound(self, piece: bytes) -> bytes:
        if len(piece) > self._room:
            self._broken = True
            note(self._problems, "too_large", f"the {self._coding} data decodes to more than {self._limit} bytes")
            piece = piece[: self._room]
        self._room -= len(piece)
        return piece

    def _salvage(self, data: bytes, reason: str) -> bytes:
        """What `data` gives before its first wrong byte: decode again, the last step byte by byte."""
        fresh = self._new()
        for piece in self._fed:
            fresh.feed(piece, self._limit)
        out: list[bytes] = []
        for at in range(len(data)):
            if fresh.finished:  # brotli raises for bytes behind the end
                self._note_trailing()
                return b"".join(out)
            try:
                out.append(fresh.feed(data[at : at + 1], self._limit))
            except _ERRORS:
                break
        note(self._problems, "bad_encoding", f"the {self._coding} data is broken: {reason}")
        return b"".join(out)


class _Zlib:
    """gzip (RFC 1952), and deflate as zlib (RFC 1950) or, as some servers have it, raw (RFC 1951)."""

    def __init__(self, wbits: int | None) -> None:
        self._head = b""
        self._object = zlib.decompressobj(wbits) if wbits is not None else None

    def feed(self, data: bytes, room: int) -> bytes:
        if self._object is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return b""
            is_zlib = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._object = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        inflater, out = self._object, []
        while room >= 0:
            piece = inflater.decompress(data, _OUTPUT_STEP)
            out.append(piece)
            room -= len(piece)
            data = inflater.unconsumed_tail
            if not data and len(piece) < _OUTPUT_STEP:
                break
        return b"".join(out)

    @property
    def finished(self) -> bool:
        return self._object is not None and self._object.eof

    @property
    def unused(self) -> bytes:
        return self._object.unused_data if self._object is not None else b""


class _Brotli:
    """br (RFC 7932)."""

    def __init__(self) -> None:
        self._object = brotli.Decompressor()

    def feed(self, data: bytes, room: int) -> bytes:
        out = [self._object.process(data, output_buffer_limit=_OUTPUT_STEP)]
        room -= len(out[0])
        while room >= 0 and not self._object.can_accept_more_data():
            out.append(self._object.process(b"", output_buffer_limit=_OUTPUT_STEP))
            room -= len(out[-1])
        return b"".join(out)

    @property
    def finished(self) -> bool:
        return bool(self._object.is_finished())

    @property
    def unused(self) -> bytes:
        return b""  # the library raises when bytes follow in the same call; either way it becomes a Problem


class _Zstd:
    """zstd (RFC 8878). A window above 128 MiB is an error of the library, and so a Problem."""

    def __init__(self) -> None:
        self._object = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, data: bytes, room: int) -> bytes:
        return self._object.decompress(data)

    @property
    def finished(self) -> bool:
        return bool(self._object.eof)

    @property
    def unused(self) -> bytes:
        return self._object.unused_data


# coding -> (a fresh decoder, whether another stream may follow in the same body: RFC 1952 section 2.2, RFC 8878
# section 3.1).
_FORMATS: dict[str, tuple[Callable[[], _Format], bool]] = {
    "gzip": (lambda: _Zlib(zlib.MAX_WBITS | 16), True),
    "x-gzip": (lambda: _Zlib(zlib.MAX_WBITS | 16), True),
    "deflate": (lambda: _Zlib(None), False),
    "br": (_Brotli, False),
    "zstd": (_Zstd, True),
}
