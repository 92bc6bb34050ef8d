"""Contents that many rows share, once each and compressed: system prompts and tool lists.

What they are worth is in docs/architecture.md. Messages and diffs are not among them: they do not repeat, and the seed
schema says what their columns hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import msgspec
import zstandard

from ocproxy.model import Json, PromptRow

# Of zstd. On the tools of a recorded session level 9 gains 8 % for 3.5 times the time, level 19 9 % for 45 times.
_LEVEL = 3


class BlobRow(msgspec.Struct, frozen=True):
    """One content."""

    hash: str  # SHA-256 of its JSON text, in hexadecimal
    plain_bytes: int  # of that text
    data: bytes  # that text (UTF-8) as one zstd frame with its size


class PromptRefs(msgspec.Struct, frozen=True):
    """A row of `prompts` as it is stored."""

    hash: str
    system_hash: str
    tools_hash: str


def pack(prompts: Sequence[PromptRow]) -> tuple[list[BlobRow], list[PromptRefs]]:
    """The rows that store these prompts, each once, however often it comes."""
    blobs: dict[str, BlobRow] = {}
    refs: dict[str, PromptRefs] = {}

    def keep(value: Json) -> str:
        text = json.dumps(value).encode()
        hash = hashlib.sha256(text).hexdigest()
        if hash not in blobs:
            blobs[hash] = BlobRow(hash, len(text), zstandard.ZstdCompressor(level=_LEVEL).compress(text))
        return hash

    for prompt in prompts:
        if prompt.hash not in refs:
            refs[prompt.hash] = PromptRefs(prompt.hash, keep(prompt.system), keep(prompt.tools))
    return list(blobs.values()), list(refs.values())


def unpack(data: bytes) -> Json:
    """What a blob holds."""
    return json.loads(zstandard.ZstdDecompressor().decompress(data))
