"""Content codings and chunks of recorded bodies.

The corpus keeps bodies without their coding, as it keeps the messages of WebSockets, so that a recording can be read,
cleaned and compared; the head says which coding it was, and whoever plays the recording puts it on again.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

import zstandard

from ocproxy.protocols import http1
from ocproxy.protocols.encoding import ContentDecoder


class CannotClean(ValueError):
    """The bytes have a form that would not come out as it went in."""


def dechunked(data: bytes) -> tuple[list[int], bytes, bytes]:
    """Where the body was cut, the body, and what is left of the framing: the last chunk, or nothing. Raises
    CannotClean."""
    cuts, body = [], b""
    while (found := re.match(rb"([0-9a-f]+)\r\n", data)) and (size := int(found[1], 16)):
        end = found.end() + size
        if data[end : end + 2] != b"\r\n":
            raise CannotClean("a chunk was cut short")
        body += data[found.end() : end]
        cuts.append(len(body))
        data = data[end + 2 :]
    return cuts, body, data


def chunked(pieces: Iterable[bytes]) -> bytes:
    """Each piece a chunk; an empty one would be the last chunk and is left out."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)


def cut_at(body: bytes, places: list[int]) -> list[bytes]:
    """The pieces of a body that end at these places."""
    return [body[a:b] for a, b in zip([0, *places], places, strict=False)]


def decode(body: bytes, fields: dict[str, str]) -> bytes:
    """A body without the coding that its head names; a chunked one in chunks where the coded one was cut. `fields` are
    those of its head, by lower-case name. Raises CannotClean."""
    if "content-encoding" not in fields:
        return body
    decoder = ContentDecoder(fields["content-encoding"])
    if not _is_chunked(fields):
        found, is_whole = decoder.feed(body), True
    else:
        cuts, coded, rest = dechunked(body)
        found, is_whole = chunked(map(decoder.feed, cut_at(coded, cuts))) + rest, bool(rest)
    if (is_whole and not decoder.close()) or decoder.problems:
        raise CannotClean(f"a body cannot be decoded: {decoder.problems}")
    return found


def encode(head: bytes, body: bytes, fields: dict[str, str]) -> tuple[bytes, bytes]:
    """A head and its body in the coding that the head names: the other way round. Each chunk can be decoded when it has
    come, as servers send streams. Raises CannotClean."""
    coding = fields.get("content-encoding")
    if coding is None or not body:  # an answer to HEAD names the coding of what it leaves out
        return head, body
    if coding not in _CODINGS:
        raise CannotClean(f"nobody here writes {coding}")
    if _is_chunked(fields):
        cuts, plain, rest = dechunked(body)
        return head, chunked(_CODINGS[coding](cut_at(plain, cuts), bool(rest))) + rest
    body = b"".join(_CODINGS[coding]([body], True))
    return with_length(head, len(body)), body


def with_length(head: bytes, length: int) -> bytes:
    """A head that says this length of its body, where it says one."""
    return re.sub(rb"(?i)(\r\ncontent-length: *)\d+", rb"\g<1>%d" % length, head)


def fields_of(head: bytes) -> dict[str, str]:
    """The fields of the head of a request or a response, by lower-case name."""
    parse = http1.parse_response_head if head.startswith(b"HTTP/") else http1.parse_request_head
    return parse(head).fields


def _is_chunked(fields: dict[str, str]) -> bool:
    return "chunked" in fields.get("transfer-encoding", "").lower()


def _gzip(pieces: list[bytes], is_whole: bool) -> list[bytes]:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*packed, packer.flush()] if is_whole else packed


def _zstd(pieces: list[bytes], is_whole: bool) -> list[bytes]:
    packer = zstandard.ZstdCompressor().compressobj()
    flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    packed = [packer.compress(piece) + packer.flush(flush) for piece in pieces]
    return [*packed, packer.flush()] if is_whole else packed


_CODINGS = {"gzip": _gzip, "zstd": _zstd}
