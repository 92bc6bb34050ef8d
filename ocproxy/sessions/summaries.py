"""Texts that stand for a history: how the summary that a model gave is found where the agent's program puts it.

A program that makes its history shorter asks the model for a summary and begins the next request with the answer, in
words of its own: a head before it, lists of files and instructions behind it. So the answer is reduced to its lines,
and looked for between the first lines of a message and each end of a paragraph in it. Tags are no part of it, nor is
what the model thought aloud, since programs add and take away both.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

# Shorter than that (without white space) may be anybody's words.
_LEAST = 30
# How many lines of a program's own may stand before a summary, and how many paragraphs are looked at.
_HEAD, _ENDS = 8, 200
# Of a long prompt the rest is no summary: models are not given that many tokens for one.
_MOST = 400_000

_ALOUD = re.compile(r"<(analysis|scratchpad)>.*?</\1>", re.S)
_TAG = re.compile(r"</?[A-Za-z][\w.-]*>")


def summary_key(text: str) -> str | None:
    """What a summary is found again by; None for a text that is too short to tell anything."""
    found = hashlib.sha256()
    count = 0
    for line, _ in _lines(text):
        found.update(line)
        count += len(line)
    return found.hexdigest() if count >= _LEAST else None


def summary_keys(text: str) -> list[str]:
    """The keys of all summaries that a message may hold, whose text this is."""
    lines = list(_lines(text[:_MOST]))
    ends = [at for at, (_, is_end) in enumerate(lines) if is_end][-_ENDS:]
    keys: list[str] = []
    for start in range(min(_HEAD, len(lines))):
        found, count, at = hashlib.sha256(), 0, start
        for end in ends:
            for line, _ in lines[at : end + 1]:
                found.update(line)
                count += len(line)
            at = max(at, end + 1)
            if end >= start and count >= _LEAST:
                keys.append(found.copy().hexdigest())
    return list(dict.fromkeys(keys))


def tells(told: Sequence[str], said: Iterable[str]) -> bool:
    """Whether each of the texts `told` is the beginning of one of `said`, in this order. White space counts nothing."""
    texts = map(_bare, said)
    return all(any(text.startswith(_bare(one)) for text in texts) for one in told)


def _bare(text: str) -> str:
    return "".join(text.split())


def _lines(text: str) -> Iterable[tuple[bytes, bool]]:
    """The lines that say something, without white space, and whether a paragraph ends there."""
    pending: bytes | None = None
    for line in _TAG.sub("\n\n", _ALOUD.sub("\n\n", text)).split("\n"):
        bare = _bare(line).encode("utf-8", "surrogatepass")
        if pending is not None:
            yield pending + b"\n", not bare
        pending = bare or None
    if pending is not None:
        yield pending + b"\n", True
