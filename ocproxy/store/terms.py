"""What a person types to search for, and where it is found in a text. Pure; the databases only narrow down (`search`).

Words are separated by white space and must all occur; what stands in double quotes is one term, in which any white
space matches any. A term is found anywhere, in the middle of words too, whatever the case of its letters. There is no
other syntax: every other character means itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ocproxy.work import clean

# A quote opens a phrase only where a word begins, and closes it only where one ends: print("a b") is code.
_TERM = re.compile(r'(?<!\S)"([^"]*)"(?!\S)|(\S+)')


class Term:
    """One word or phrase. `pieces` are its words, of a word that itself."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = tuple(pieces)
        self._pattern = re.compile(r"\s+".join(map(re.escape, self.pieces)), re.IGNORECASE)

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it is in the text, from the first character to behind the last."""
        return (found.span() for found in self._pattern.finditer(text))

    def is_in(self, text: str) -> bool:
        return self._pattern.search(text) is not None


def parse(text: str) -> list[Term]:
    """The terms of what was typed, each once; none where it is blank. Characters that no database holds are replaced as
    they were in what is stored."""
    found: dict[tuple[str, ...], Term] = {}
    for match in _TERM.finditer(clean(text)):
        pieces = (match[1] if match[1] is not None else match[2]).split()
        if pieces:
            found.setdefault(tuple(piece.lower() for piece in pieces), Term(pieces))
    return list(found.values())


def is_cased(character: str) -> bool:
    """Whether the character has another form, large or small, and is none of ASCII, whose case every database knows."""
    return not character.isascii() and character.lower() != character.upper()
