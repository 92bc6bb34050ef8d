"""Ids made of content: the same wherever and however often they are made."""

from __future__ import annotations

from hashlib import blake2b


def digest(*parts: str) -> str:
    """A stable 20-digit hexadecimal id over `parts` (80 bits; parts are length-prefixed, so ("a","b") != ("ab",""))."""
    state = blake2b(digest_size=10)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()
