"""Request heads that were read before: all but the digits of Content-Length is as it was.

An agent sends the same fields for hours; only its bodies differ. What a head means, what is journalled of it and what
is forwarded is then known but for those digits. llhttp judges each head all the same. Pure.
"""

from __future__ import annotations

from typing import Any, Final

_MARK: Final = b"ength: "  # the beginning of Content-Length is written in capitals or not
_NAME: Final = b"content-length: "
# Heads of agents have 0.5 to 3 KB, and one session uses some five of them. Each is kept three times: 1.5 MB at most.
HEADS: Final = 128
HEAD_BYTES: Final = 4096
_DIGITS: Final = 18  # any more is no length


class Repeat:
    """What is known of one such head. `fields` are those of RequestHead that do not change."""

    __slots__ = ("asked", "fields", "forwarded", "redacted", "redactor")

    def __init__(self, fields: tuple[Any, ...]) -> None:
        self.fields = fields
        self.redactor: object = None  # who made `redacted`
        self.redacted = (b"", b"")
        self.asked: tuple[bytes, bytes | None] | None = None  # target and host of `forwarded`
        self.forwarded = (b"", b"")


class Repeats(dict[bytes, Repeat]):
    """By what `cut` returns first. Starts anew when it is full."""

    def keep(self, key: bytes, repeat: Repeat) -> Repeat:
        if len(self) >= HEADS:
            self.clear()
        self[key] = repeat
        return repeat


def cut(head: bytes) -> tuple[bytes, bytes] | None:
    """The head without the digits of its Content-Length, and the digits. None: that cannot be told simply.

    The digits stand behind the first `ength: `, so no two heads with other lines give the same. Whether that is
    Content-Length at all says `is_length`: once for each head that is kept.
    """
    start = head.find(_MARK) + 7
    end = head.find(b"\r", start)
    digits = head[start:end]
    if start < 7 or not digits.isdigit() or len(digits) > _DIGITS or len(head) > HEAD_BYTES:
        return None
    return head[:start] + head[end:], digits


def is_length(head: bytes) -> bool:
    """Whether what `cut` cuts is the value of Content-Length."""
    start = head.find(_MARK) + 7
    return head[head.rfind(b"\n", 0, start) + 1 : start].lower() == _NAME


def halves(head: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind the digits."""
    start = head.find(_MARK) + 7
    return head[:start], head[head.find(b"\r", start) :]
