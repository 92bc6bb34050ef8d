"""The form of a reply is told by its first bytes."""

from __future__ import annotations

import pytest

from ocproxy.protocols.form import Form, form_of


@pytest.mark.parametrize(
    ("start", "content_type", "expected"),
    [
        (b'{"type":', "application/json", "json"),
        (b' \r\n{"type":', "", "json"),
        (b"\xef\xbb\xbf{}", "", "json"),
        (b"[", "", "json"),
        (b"{", "text/event-stream", "json"),
        (b"event: message_start\n", "", "events"),
        (b"data: {}\n", "application/json", "events"),
        (b": ping\n\n", "", "events"),
        (b"\xef\xbb\xbfdata: x", "", "events"),
        (b"retry: 100\n", "", "events"),
        (b"unheard: of\n", "Text/Event-Stream; charset=utf-8", "events"),
        (b"<html>", "text/html", "other"),
        (b"database is down", "", "other"),
        (b"\0\1\2\3\4\5\6", "application/vnd.amazon.eventstream", "other"),
    ],
)
def test_the_form_is_told_by_the_first_bytes(start: bytes, content_type: str, expected: Form) -> None:
    assert form_of(start, content_type, ended=True) == expected
    told = [form_of(start[:end], content_type, ended=False) for end in range(len(start) + 1)]
    assert set(told) <= {None, expected}
    assert told == sorted(told, key=lambda form: form is not None)  # once told, it stays


@pytest.mark.parametrize(
    ("start", "content_type", "expected"),
    [(b"", "", "other"), (b"", "text/event-stream", "events"), (b"  \n", "application/json", "other")],
)
def test_nothing_has_the_form_that_was_announced(start: bytes, content_type: str, expected: Form) -> None:
    assert form_of(start, content_type, ended=False) is None
    assert form_of(start, content_type, ended=True) == expected
