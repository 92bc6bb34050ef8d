"""How aider finds the place of an edit. Worked out from the program (0.86.2), tried on real runs.

Whole lines are compared: as they are, then with all of them moved by one indentation, then both again without an empty
first line of SEARCH, at last piece by piece where a line of dots stands for lines that were left out. The first place
counts. An empty SEARCH adds to the end. Every text gets a final newline.

The lines of a hunk of a unified diff (`everywhere`) are looked for as a text, which may begin inside of a line, and are
changed wherever they are, or in one place where they are few; then without empty lines at the ends of hunk and file.
The program tries more (other indentations, pieces of the hunk), which is not done here: where it came to that, the
place of an edit is not known. The hunks of a patch (`whole_lines`) are placed as everybody does it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ocproxy.agents import patches
from ocproxy.agents.base import Replacement

_SHORT = 10  # characters of a hunk's old lines that are too few to be changed in more than one place
_DOTS = re.compile(r"^\s*\.\.\.\n", re.M)


def replace(text: str, replacement: Replacement) -> str | None:
    """`text` after the edit, or None when it does not apply."""
    if replacement.whole_lines:
        return patches.apply_hunk(text, replacement)
    if not replacement.old.strip():
        return text + replacement.new
    if replacement.everywhere:
        return _hunk(text, replacement.old, replacement.new)
    whole, old, new = _ended(text), _ended(replacement.old), _ended(replacement.new)
    lines, wanted, put = (part.splitlines(keepends=True) for part in (whole, old, new))
    found = _among(lines, wanted, put)
    if found is None and len(wanted) > 2 and not wanted[0].strip():
        found = _among(lines, wanted[1:], put)
    return found or _by_pieces(whole, old, new)


def _hunk(text: str, old: str, new: str) -> str | None:
    """An edit that leaves nothing of a file is one that did not match, to the program."""
    is_short = len("".join(line.strip() for line in old.splitlines())) < _SHORT
    if is_short and text.count(old) > 1:
        return None
    if old in text:
        return text.replace(old, new) or None
    text, old, new = (part.strip("\n") + "\n" for part in (text, old, new))
    return text.replace(old, new) if old in text else None


def _among(lines: list[str], wanted: list[str], put: list[str]) -> str | None:
    count = len(wanted)
    for at in range(len(lines) - count + 1):
        if lines[at : at + count] == wanted:
            return "".join(lines[:at] + put + lines[at + count :])
    spare = min((_indent(line) for line in (*wanted, *put) if line.strip()), default=0)
    wanted, put = _outdented(wanted, spare), _outdented(put, spare)
    for at in range(len(lines) - count + 1):
        if (more := _moved(lines[at : at + count], wanted)) is not None:
            moved = [more + line if line.strip() else line for line in put]
            return "".join(lines[:at] + moved + lines[at + count :])
    return None


def _moved(lines: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The indentation that all lines have more than the wanted ones; None when they differ in anything else."""
    if any(line.lstrip() != other.lstrip() for line, other in zip(lines, wanted, strict=True)):
        return None
    more = {line[: len(line) - len(other)] for line, other in zip(lines, wanted, strict=True) if line.strip()}
    return more.pop() if len(more) == 1 else None


def _by_pieces(whole: str, old: str, new: str) -> str | None:
    if not _DOTS.search(old) or _DOTS.findall(old) != _DOTS.findall(new):
        return None
    for piece, put in zip(_DOTS.split(old), _DOTS.split(new), strict=True):
        if piece:
            if whole.count(piece) != 1:
                return None
            whole = whole.replace(piece, put)
        elif put:
            whole = (whole if whole.endswith("\n") else whole + "\n") + put
    return whole


def _outdented(lines: Sequence[str], count: int) -> list[str]:
    return [line[count:] if line.strip() else line for line in lines]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
