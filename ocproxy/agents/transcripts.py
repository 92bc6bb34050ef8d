"""Conversations that a program writes into one text, each message behind a label: `[User]: …`, a blank line between."""

from __future__ import annotations

import re


def texts(text: str, labels: str, cut: str) -> tuple[str, ...]:
    """What the messages with these labels (a pattern) said, in their order, where `cut` (a pattern) ends a text
    that was made shorter. Other labels begin messages too, which are passed over."""
    pieces = re.split(r"(?:\A|\n\n?)\[([A-Z][\w ]*)\]: ", text)
    said = zip(pieces[1::2], pieces[2::2], strict=True)
    found = (re.split(cut, content, maxsplit=1)[0].strip() for label, content in said if re.fullmatch(labels, label))
    return tuple(content for content in found if content)
