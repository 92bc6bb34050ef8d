"""Every content coding, whole, cut, broken, stacked, and as a bomb."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ocproxy.protocols.encoding import ContentDecoder

# Text that compresses, and noise that does not, so that streams have several blocks and literals.
NOISE = bytes((at * 7919 ^ at >> 3) & 255 for at in range(600))
PLAIN = NOISE + b"event: ping\ndata: {}\n\n" * 40 + NOISE[::-1]


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


def streamed_zstd(data: bytes) -> bytes:
    """As a server streams: a block is decoded when it is whole, so it ends one for each thing it sends."""
    encoder = zstandard.ZstdCompressor().compressobj()
    pieces = [encoder.compress(data[at : at + 100]) + encoder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
              for at in range(0, len(data), 100)]  # fmt: skip
    return b"".join(pieces) + encoder.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", lambda data: gzip.compress(data, mtime=0)),
    "x-gzip": ("X-GZIP", lambda data: gzip.compress(data, mtime=0)),
    "gzip of two members": (
        "gzip",
        lambda data: gzip.compress(data[:700], mtime=0) + gzip.compress(data[700:], mtime=0),
    ),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", streamed_zstd),
    "zstd in one block": ("zstd", zstandard.compress),
    "zstd of two frames": ("zstd", lambda data: zstandard.compress(data[:700]) + zstandard.compress(data[700:])),
    "zstd with a skippable frame": ("zstd", lambda data: b"\x50\x2a\x4d\x18\x02\0\0\0hi" + zstandard.compress(data)),
    "gzip, then br": ("gzip, br", lambda data: brotli.compress(gzip.compress(data, mtime=0))),
    "identity": ("identity", bytes),
    "identity among others": ("identity, gzip,", lambda data: gzip.compress(data, mtime=0)),
    "no header": ("", bytes),
}
ONE_STREAM = ["gzip", "deflate", "raw deflate", "br", "zstd"]


def decode(header: str, pieces: list[bytes]) -> tuple[bytes, bool, list[str]]:
    decoder = ContentDecoder(header)
    out = b"".join([decoder.feed(piece) for piece in pieces])
    complete = decoder.close()
    return out, complete, [problem.code for problem in decoder.problems]


def cut(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("name", ENCODERS)
def test_a_coding_is_undone_whole_and_byte_by_byte(name: str) -> None:
    header, encode = ENCODERS[name]
    encoded = encode(PLAIN)
    assert decode(header, [encoded]) == decode(header, cut(encoded)) == (PLAIN, True, [])


@pytest.mark.parametrize("name", ONE_STREAM)
def test_a_stream_cut_at_every_byte_gives_what_it_can_and_says_so(name: str) -> None:
    header, encode = ENCODERS[name]
    encoded = encode(PLAIN)
    longest = 0
    for end in range(1, len(encoded)):
        out, complete, codes = decode(header, [encoded[:end]])
        assert PLAIN.startswith(out)
        assert len(out) >= longest
        assert (complete, codes) == (False, ["truncated"])
        longest = len(out)
    assert longest > len(PLAIN) // 2


@pytest.mark.parametrize("name", ONE_STREAM)
def test_nothing_at_all_is_complete(name: str) -> None:
    assert decode(ENCODERS[name][0], [b""]) == (b"", True, [])


@pytest.mark.parametrize("name", ONE_STREAM)
def test_bytes_behind_the_end_are_told_and_cost_nothing(name: str) -> None:
    header, encode = ENCODERS[name]
    encoded = encode(PLAIN)
    for pieces in ([encoded + b"tail"], [encoded, b"tail"], cut(encoded + b"tail")):
        out, complete, codes = decode(header, pieces)
        assert (out, complete) == (PLAIN, False)
        assert codes in (["trailing_bytes"], ["bad_encoding"])


@pytest.mark.parametrize("name", [name for name in ENCODERS if "identity" not in name and name != "no header"])
@settings(max_examples=40, deadline=None)
@given(choice=st.data())
def test_broken_data_gives_what_came_before_however_it_is_cut(name: str, choice: st.DataObject) -> None:
    header, encode = ENCODERS[name]
    encoded = bytearray(encode(PLAIN))
    at = choice.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= choice.draw(st.integers(1, 255))
    whole, bytewise = decode(header, [bytes(encoded)]), decode(header, cut(bytes(encoded)))
    assert whole == bytewise


def test_a_checksum_that_does_not_match_keeps_the_text() -> None:
    encoded = bytearray(gzip.compress(PLAIN, mtime=0))
    encoded[-8] ^= 1
    assert decode("gzip", [bytes(encoded)]) == (PLAIN, False, ["bad_encoding"])


def test_an_unknown_coding_is_left_on() -> None:
    assert decode("compress", [b"abc"]) == (b"abc", False, ["unknown_encoding"])
    out, complete, codes = decode("sdch, gzip", [gzip.compress(b"abc")])
    assert (out, complete, codes) == (b"abc", False, ["unknown_encoding"])


def test_codings_are_not_stacked_without_end() -> None:
    data = b"x"
    for _ in range(6):
        data = gzip.compress(data)
    out, complete, codes = decode(", ".join(["gzip"] * 6), [data])
    assert (complete, codes) == (False, ["unknown_encoding"])
    assert out.startswith(b"\x1f\x8b")


@pytest.mark.parametrize(
    ("header", "bomb"),
    [
        ("gzip", gzip.compress(bytes(50_000_000), 1)),
        ("deflate", zlib.compress(bytes(50_000_000), 1)),
        ("br", brotli.compress(bytes(50_000_000), quality=1)),
        ("zstd", zstandard.compress(bytes(50_000_000))),
    ],
)
def test_a_bomb_is_stopped_at_the_bound(header: str, bomb: bytes) -> None:
    decoder = ContentDecoder(header, max_output=1_000_000)
    assert decoder.feed(bomb) == bytes(1_000_000)
    assert decoder.feed(b"more") == b""
    assert not decoder.close()
    assert [problem.code for problem in decoder.problems] == ["too_large"]


@given(header=st.sampled_from(["gzip", "deflate", "br", "zstd", "br, zstd", "x y", ",,"]), data=st.binary(max_size=100))
def test_garbage_never_raises(header: str, data: bytes) -> None:
    assert decode(header, [data]) == decode(header, cut(data))
