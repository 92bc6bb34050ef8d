"""Follow a journal: records and the positions behind them, across segments, live, compressed or gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from ocproxy.errors import JournalError
from ocproxy.exchange import Gap, Position, Record
from ocproxy.journal.folder import read_id
from ocproxy.journal.records import gap_record, seed_of
from ocproxy.journal.scan import Damage, scan
from ocproxy.journal.segments import HEADER_BYTES, Segment, list_segments
from ocproxy.journal.tape import Tape, open_tape


class JournalReader:
    """Reads one journal folder; any number of readers may, at any time, and none ever disturbs the writer.

    Not for use by several threads at once. Holds one segment open between calls. Raises JournalError when `folder`
    holds no journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = read_id(folder)
        self._seed = seed_of(self.id)
        self._idle: Tape | None = None  # of the last follow(): going on from there costs no second decompression
        self._known = Position(0, HEADER_BYTES)  # a place that end() has already come to

    def follow(self, position: Position | None = None) -> Iterator[tuple[Position, Record]]:
        """Every record that lies complete behind `position` (None: from the oldest on), with the position behind it.

        Never waits: the iterator ends at the live end; call again with the last position to go on. Damaged bytes, cut
        tails and missing segments come as a GAP record of exchange 0 that is not in the file; the same damage gives the
        same GAP at the same position at every reading. Kinds and record versions that are not known come as they are.

        Raises JournalError: a segment is of a newer format version, belongs to another journal or cannot be read; or
        `position` lies in a segment that the journal has not reached (it was replaced by an older copy).
        """
        here = position
        while True:
            # Listed before the segment is read to its end: what follows a segment appears after its last byte.
            listing = list_segments(self.folder)
            if not listing:
                return
            number = self._choose(listing, here)
            following = next((s.number for s in listing if s.number > number), None)
            tape = self._take(number)
            if tape is None:
                continue  # removed since it was listed
            try:
                if gap := self._find_missing(tape, here):
                    here = Position(number, HEADER_BYTES)
                    yield here, gap
                offset = here.offset if here is not None and here.segment == number else 0
                for end, item in scan(tape, max(offset, HEADER_BYTES), self._seed, sealed=following is not None):
                    here = Position(number, end)
                    yield here, self._tell(tape, item, following) if isinstance(item, Damage) else item
            finally:
                self._give_back(tape)
            if following is None:
                return
            here = Position(number + 1, 0)

    def end(self) -> Position:
        """The position that a follower has after the last record that is complete now; (0, 0) when there is none.

        Costs a walk over the live segment, from where the last call of this reader came to.
        """
        listing = list_segments(self.folder)
        for segment in reversed(listing):
            tape = open_tape(self.folder, segment.number, self.id)
            if tape is None:
                continue
            with tape:
                live = segment.number == listing[-1].number
                end = self._find_end(tape) if live else Position(segment.number, tape.measure())
            if end.offset > HEADER_BYTES:
                return end
        return Position(0, 0)

    def close(self) -> None:
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _find_end(self, tape: Tape) -> Position:
        number = tape.segment.number
        end = self._known if self._known.segment == number else Position(number, HEADER_BYTES)
        for offset, _ in scan(tape, end.offset, self._seed, sealed=False):
            end = Position(number, offset)
        self._known = end
        return end

    def _choose(self, listing: list[Segment], here: Position | None) -> int:
        if here is None:
            return listing[0].number
        for segment in listing:
            if segment.number >= here.segment:
                return segment.number
        raise JournalError(
            f"the journal {self.folder} ends with segment {listing[-1].number}, before the position {here}",
            hint="it seems to be an older copy of the journal: `ocproxy rebuild` makes the database anew from it",
        )

    def _take(self, number: int) -> Tape | None:
        tape, self._idle = self._idle, None
        if tape is not None and tape.segment.number == number:
            return tape
        if tape is not None:
            tape.close()
        return open_tape(self.folder, number, self.id)

    def _give_back(self, tape: Tape) -> None:
        if self._idle is not None:
            self._idle.close()
        self._idle = tape

    def _find_missing(self, tape: Tape, here: Position | None) -> Record | None:
        """The GAP to tell at the beginning of this segment, when `here` is before that."""
        number = tape.segment.number
        if here is not None and here >= (number, HEADER_BYTES):
            return None
        reasons = []
        if here is not None and here.segment < number:
            one = here.segment == number - 1
            which = f"{here.segment} is" if one else f"{here.segment} to {number - 1} are"
            reasons.append(f"segment {which} no longer in the journal")
        if tape.header is None:
            reasons.append(f"the header of segment {number} is damaged")
        if not reasons:
            return None
        times = tape.made()
        return gap_record(Gap("; ".join(reasons), 0, 0, times[0]), times)

    def _tell(self, tape: Tape, damage: Damage, following: int | None) -> Record:
        """The GAP for damaged bytes. Its times are those of what comes next, so that every reading gives the same."""
        times = tape.made()
        if damage.next is not None:
            times = damage.next.wall_ns, damage.next.mono_ns
        elif following is not None:
            times = self._made(following) or times
        place = Position(tape.segment.number, damage.start)
        return gap_record(Gap(f"{damage.reason} (at {place})", 1, damage.bytes, times[0]), times)

    def _made(self, number: int) -> tuple[int, int] | None:
        tape = open_tape(self.folder, number, self.id)
        if tape is None:
            return None
        with tape:
            return tape.made()
