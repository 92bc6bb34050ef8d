"""Responses of our own: health and errors, shaped like the error body of the protocol that the client speaks, so that
its SDK shows the sentence. Built from templates; strings are escaped by RFC 8259 section 7.

Sources: platform.claude.com/docs/en/api/errors, platform.openai.com/docs/guides/error-codes, and google.rpc.Status
(cloud.google.com/apis/design/errors).
"""

from __future__ import annotations

import re

_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
_GOOGLE = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 405: "INVALID_ARGUMENT", 431: "INVALID_ARGUMENT"}
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f-\uffff\U00010000-\U0010ffff]')

HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"
HEALTHY_BODY = b"ok"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return "\\" + found[0] if found[0] in '"\\' else f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def quote(text: str) -> str:
    """`text` as a JSON string in ASCII, with its quotation marks."""
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def error_body(dialect: str, status: int, message: str) -> bytes:
    """The JSON error body of `dialect` ("anthropic", "openai", "gemini")."""
    said = quote("ocproxy: " + message)
    client_fault = status < 500
    if dialect == "anthropic":
        kind = "not_found_error" if status == 404 else "invalid_request_error" if client_fault else "api_error"
        text = f'{{"type":"error","error":{{"type":"{kind}","message":{said}}}}}'
    elif dialect == "gemini":
        name = _GOOGLE.get(status, "UNAVAILABLE")
        text = f'{{"error":{{"code":{status},"message":{said},"status":"{name}"}}}}'
    else:
        kind = "invalid_request_error" if client_fault else "server_error"
        text = f'{{"error":{{"message":{said},"type":"{kind}","param":null,"code":"ocproxy_{status}"}}}}'
    return text.encode("ascii")


def error_head(status: int, length: int, *, close: bool) -> bytes:
    """The head of an error response with a JSON body of `length` bytes."""
    return b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n" % (
        status,
        _REASONS[status],
        length,
        b"Connection: close\r\n" if close else b"",
    )
