"""How Claude Code's Edit finds and replaces (read in its files, 2.1.329, and tried on the wire).

It works on the content with \\n line ends, and writes all of them as \\r\\n where most of them were, else as \\n.
Where the old string is not there as it stands, it is looked for with straight quotes for curly ones, and the new string
then takes curly ones.
A deletion takes the newline behind the old string with it.
"""

from __future__ import annotations

from ocproxy.agents.base import Replacement

_STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})
_MARK = "\ufeff"  # byte-order mark
_OPENS_AFTER = " \t\n\r([{\u2014\u2013"


def replace(text: str, replacement: Replacement) -> str | None:
    """`text` after the edit; None where Claude Code would refuse it (not there, ambiguous, or no change)."""
    crlf = _is_crlf(text)
    body = text.replace("\r\n", "\n")
    changed = _replace(body, replacement)
    if changed is None or changed == body:
        return None
    return changed.replace("\r\n", "\n").replace("\n", "\r\n") if crlf else changed


def written(old: str | None, content: str) -> str:
    """What Write leaves: a byte-order mark that the file had stays."""
    is_marked = old is not None and old.startswith(_MARK)
    return _MARK + content if is_marked and not content.startswith(_MARK) else content


def _is_crlf(text: str) -> bool:
    crlf = text.count("\r\n")
    return crlf > text.count("\n") - crlf


def _replace(text: str, replacement: Replacement) -> str | None:
    old, new = replacement.old, replacement.new
    if not old:
        return new if not text.strip() else None
    found = _find(text, old)
    if found is None or (not replacement.everywhere and text.count(found) > 1):
        return None
    new = _with_quotes_of(found, old, new)
    if not new and not found.endswith("\n") and found + "\n" in text:
        found += "\n"
    return text.replace(found, new) if replacement.everywhere else text.replace(found, new, 1)


def _find(text: str, old: str) -> str | None:
    """The text that `old` stands for: itself, or the same with other quotes."""
    if old in text:
        return old
    at = text.translate(_STRAIGHT).find(old.translate(_STRAIGHT))
    return text[at : at + len(old)] if at >= 0 else None


def _with_quotes_of(found: str, old: str, new: str) -> str:
    if found == old:
        return new
    if "\u201c" in found or "\u201d" in found:
        new = "".join(
            ("\u201c" if _opens(new, at) else "\u201d") if letter == '"' else letter for at, letter in enumerate(new)
        )
    if "\u2018" in found or "\u2019" in found:
        new = "".join(_single(new, at) if letter == "'" else letter for at, letter in enumerate(new))
    return new


def _opens(text: str, at: int) -> bool:
    return at == 0 or text[at - 1] in _OPENS_AFTER


def _single(text: str, at: int) -> str:
    between_letters = 0 < at < len(text) - 1 and text[at - 1].isalpha() and text[at + 1].isalpha()
    return "\u2018" if not between_letters and _opens(text, at) else "\u2019"
