"""Where a message ends. llhttp (httptools) judges; this module only asks it.

A message's last byte is found without parsing by hand: a body with Content-Length is counted and llhttp must agree at
exactly that byte; a chunked body can only end behind a CR LF CR LF, so the judge is fed up to each such place in turn.
llhttp runs without any leniency. What it accepts beyond RFC 9112 is refused in `head`.
"""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

HEAD_END: Final = b"\r\n\r\n"
HEAD_LIMIT: Final = 65536  # bytes of one head: agents send 2-8 KB, cookies at their worst 32 KB; nginx allows 32 KB


class FramingError(Exception):
    """The bytes are not the HTTP/1 message that their head announces. `str()` is a sentence for the user."""


class Judge:
    """One llhttp parser with what it said of the message it is in. Feed it one message at a time."""

    __slots__ = ("_begun", "complete", "headed", "parser", "upgrade")

    def __init__(self, *, response: bool = False) -> None:
        # No on_header, on_url or on_body: llhttp checks all of them in C, and no object is made for them.
        self._begun = 0
        self.headed = False
        self.complete = False
        self.upgrade = False
        self.parser = HttpResponseParser(self) if response else HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_message_complete(self) -> None:
        self.complete = True

    def feed_head(self, head: bytes) -> None:
        """Take a whole head, final empty line included, or a whole message. Raises FramingError unless llhttp sees
        exactly one there."""
        self._begun = 0
        self.headed = self.complete = self.upgrade = False
        try:
            self.parser.feed_data(head)
        except HttpParserUpgrade:
            self.upgrade = True
        except HttpParserError as error:
            if not (self.complete and "Upgrade" in str(error)):  # a 101 without an Upgrade header says so this way
                raise FramingError(str(error)) from None
            self.upgrade = True
        if self._begun != 1 or not self.headed:
            raise FramingError("the head does not end where its empty line is")

    def feed_part(self, data: bytes) -> None:
        """Take the beginning of a head. Raises FramingError when no head can begin so. For one use only."""
        try:
            self.parser.feed_data(data)
        except HttpParserError as error:
            raise FramingError(str(error)) from None
        if self.headed:
            raise FramingError("the head does not end with CR LF CR LF")

    def feed_body(self, data: bytes) -> None:
        """Take body bytes. Raises FramingError when they are not what the head announced."""
        try:
            self.parser.feed_data(data)
        except HttpParserError as error:
            raise FramingError(str(error)) from None
        if self._begun != 1:
            raise FramingError("bytes beyond the end of the message")


class Body:
    """A body until the end of the connection. Base of the other two."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def take(self, data: bytes) -> int:
        """How many bytes of `data` belong to this message; sets `done` at its end. Raises FramingError."""
        return len(data)


class NoBody(Body):
    """A message without body."""

    __slots__ = ()

    def __init__(self) -> None:
        self.done = True

    def take(self, data: bytes) -> int:
        return 0


NO_BODY: Final = NoBody()


class CountedBody(Body):
    """A body with Content-Length."""

    __slots__ = ("judge", "left")

    def __init__(self, judge: Judge, length: int) -> None:
        self.done = False
        self.judge = judge
        self.left = length

    def take(self, data: bytes) -> int:
        size = len(data)
        if size > self.left:
            size = self.left
            data = data[:size]
        self.judge.feed_body(data)
        self.left -= size
        self.done = self.judge.complete
        if self.done != (self.left == 0):
            raise FramingError("the body's length is in doubt")
        return size


class ChunkedBody(Body):
    """A body in chunks, extensions and trailers included."""

    __slots__ = ("judge",)

    def __init__(self, judge: Judge) -> None:
        self.done = False
        self.judge = judge

    def take(self, data: bytes) -> int:
        judge = self.judge
        size = len(data)
        start = 0
        if data[0] in b"\r\n":  # the end may have begun in earlier data; a byte that is neither stands before each end
            while start < min(4, size) and data[start] in b"\r\n":
                judge.feed_body(data[start : start + 1])
                start += 1
                if judge.complete:
                    self.done = True
                    return start
        while start < size:
            found = data.find(HEAD_END, start)
            stop = size if found < 0 else found + 4
            judge.feed_body(data if stop - start == size else data[start:stop])
            start = stop
            if judge.complete:
                self.done = True
                return start
        return size
