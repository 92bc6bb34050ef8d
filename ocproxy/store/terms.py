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


# What `\s` matches in a text, as UTF-8: one byte, or some.
_SPACES = [character.encode() for character in map(chr, range(0x3001)) if character.isspace()]
_SPACE = b"[%s]" % b"".join(re.escape(one) for one in _SPACES if len(one) == 1)
_ANY_SPACE = b"(?:%s)" % b"|".join([_SPACE, *(re.escape(one) for one in _SPACES if len(one) > 1)])
# What is an ASCII letter to `re.IGNORECASE`, too: long s, dotted and dotless i begin with one of these bytes, and the
# sign of the kelvin is none of the letters that texts are written with.
_ODD_LEADS, _KELVIN = (b"\xc4", b"\xc5"), "\u212a".encode()


class Sieve:
    """Whether a text, as UTF-8, has a term: the answer of `Term.is_in`, several times faster on long texts."""

    def __init__(self, term: Term) -> None:
        self._term = term
        small = [re.escape(piece.lower().encode("utf-8", "replace")) for piece in term.pieces]
        self._ascii, self._other = (re.compile((one + b"+").join(small)) for one in (_SPACE, _ANY_SPACE))
        self._is_plain = not any(is_cased(character) for piece in term.pieces for character in piece)

    def passes(self, text: bytes) -> bool:
        if self._is_plain:
            if text.isascii():  # letters of ASCII alone have another form, and the bytes of others none
                return self._ascii.search(text.lower()) is not None
            if not any(lead in text for lead in _ODD_LEADS) and _KELVIN not in text:
                return self._other.search(text.lower()) is not None
        return self._term.is_in(text.decode("utf-8", "replace"))


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
