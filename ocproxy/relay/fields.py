"""What the lines of a head are to the relay."""

from __future__ import annotations

from typing import Final

from ocproxy.relay.redaction import may_hold_credential

# What a header field is to the relay; 0: nothing. Plain numbers: members of an Enum cost a call at each look.
CREDENTIAL: Final = 1  # is one or may hold one
HOST: Final = 2
LENGTH: Final = 3
ENCODING: Final = 4
CONNECTION: Final = 5
HOP: Final = 6  # for one connection only, whatever Connection says
UPGRADE: Final = 7
TAG: Final = 8
HINT: Final = 9  # says which upstream is meant

_FIELDS: dict[bytes, int] = {
    b"host": HOST,
    b"content-length": LENGTH,
    b"transfer-encoding": ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"upgrade": UPGRADE,
    b"anthropic-version": HINT,
    b"x-goog-api-key": HINT,
}
TAG_PREFIX: Final = b"x-ocproxy-"


class Note:
    """What a line is (0: nothing to the relay); the line, its name in lower case, its value."""

    __slots__ = ("field", "line", "name", "value")

    def __init__(self, field: int, line: bytes, name: bytes, value: bytes) -> None:
        self.field = field
        self.line = line
        self.name = name
        self.value = value


_NOTHING: Final = Note(0, b"", b"", b"")
# What a line is, by the whole line: most lines of a head were seen in the head before, and a look here costs a tenth of
# reading one. Beyond 4096 lines of up to 256 bytes (1 MB) the table starts anew.
LINES: Final = 4096
LINE_BYTES: Final = 256
_known: Final[dict[bytes, Note]] = {}


def read_lines(lines: list[bytes]) -> list[Note]:
    """What is of interest in the header lines of a head that was split at its line ends, in their order."""
    known = _known
    notes: list[Note] = []
    for index in range(1, len(lines) - 2):
        line = lines[index]
        note = known.get(line)
        if note is None:
            note = _read_line(line)
        if note.field:
            notes.append(note)
    return notes


def _read_line(line: bytes) -> Note:
    name, _, value = line.partition(b":")
    lower = name.lower()
    if lower.startswith(TAG_PREFIX):
        field = TAG
    else:
        field = _FIELDS.get(lower, CREDENTIAL if may_hold_credential(lower) else 0)
    note = Note(field, line, lower, value.strip(b" \t")) if field else _NOTHING
    if len(_known) >= LINES:
        _known.clear()
    if len(line) <= LINE_BYTES:
        _known[line] = note
    return note
