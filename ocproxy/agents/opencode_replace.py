"""How opencode's `edit` finds its place: exactly, else by lines without the white space around them (1.18.33).

It has further ways, which guess (by the first and last line, by similarity). They are not followed: an edit that needs
them has no known place here.
"""

from __future__ import annotations

from ocproxy.agents.base import Replacement


def replace(text: str, replacement: Replacement) -> str | None:
    """`text` after the edit, or None when it does not apply. Line ends become those of the file."""
    old, new = _as_in(text, replacement.old), _as_in(text, replacement.new)
    if not old or old == new:
        return None
    found = old if old in text else _by_lines(text, old)
    if found is None:
        return None
    if replacement.everywhere:
        return text.replace(found, new)
    return text.replace(found, new) if text.count(found) == 1 else None


def _as_in(text: str, part: str) -> str:
    plain = part.replace("\r\n", "\n")
    return plain.replace("\n", "\r\n") if "\r\n" in text else plain


def _by_lines(text: str, old: str) -> str | None:
    """What stands in the text where its lines are those of `old`, but for white space around them."""
    lines, wanted = text.split("\n"), old.split("\n")
    if wanted[-1] == "":
        wanted.pop()
    stripped = [line.strip() for line in wanted]
    for at in range(len(lines) - len(wanted) + 1):
        if [line.strip() for line in lines[at : at + len(wanted)]] == stripped:
            return "\n".join(lines[at : at + len(wanted)])
    return None
