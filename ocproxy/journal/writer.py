"""Append records to a journal. One writer to a folder; never in the way of whoever appends."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from typing import Final

from ocproxy import config
from ocproxy.errors import JournalError, JournalFull
from ocproxy.exchange import Gap, Kind
from ocproxy.journal.claim import Claim
from ocproxy.journal.live import NO_SPACE, LiveSegment, WriteFailed, walk
from ocproxy.journal.losses import Losses
from ocproxy.journal.records import MAX_PAYLOAD, STREAMED, Buffer, encode_header, encode_small, encode_times, seed_of
from ocproxy.journal.repair import cut_torn_tail
from ocproxy.journal.segments import list_segments
from ocproxy.journal.syncing import Syncer, Verdict

MIB = 1 << 20
# A payload up to this is copied behind its header: one buffer and one checksum instead of two of each cost less than
# the copy (measured).
COPY_BYTES: Final = 4096
ENDED: Final = Kind.ENDED  # in Python 3.11 a look at a member of an Enum costs as much as packing a header
# After a failure the disk is left alone for a while, twice as long each time: a dead disk must cost little, and a full
# one must be used again soon. A minute without a failure starts anew.
FIRST_DELAY, LONGEST_DELAY, CALM_SECONDS = 0.1, 5.0, 60.0


class JournalWriter:
    """Writes one journal. Made by `open`. All methods are for one thread, and with a loop always for the same loop.

    id        the journal's id (32 hex digits)
    repaired  what was cut off the last segment because the writer before died; also told in the journal
    full      nothing can be written now; every `commit` tries again when the time for it has come
    lost      what could not be recorded in the life of this writer (`lost.records`, `lost.bytes`)
    """

    def __init__(self, claim: Claim, settings: config.Journal, number: int, repaired: Gap | None) -> None:
        self.id = claim.id
        self.repaired = repaired
        self.full = False
        self.lost = Losses()
        self._claim = claim
        self._seed = seed_of(claim.id)
        self._limit = settings.segment_mb * MIB
        self._first = self._number = number  # of the first segment of this life; of the newest one
        self._exchanges = 0
        self._buffers: list[Buffer] = []
        self._times = bytes(16)
        self._live: LiveSegment | None = None
        self._suspect = False  # a sync failed: go on in a new segment as soon as one can be made
        self._syncer = Syncer(self._sync_failed)
        self._uneasy = False  # something is to be mended or told before records are written
        self._reason = ""
        self._failed_at, self._delay, self._retry_at = -CALM_SECONDS, FIRST_DELAY, 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False

    @classmethod
    def open(cls, folder: Path, settings: config.Journal) -> JournalWriter:
        """Claim `folder` (made when missing), cut a torn tail off, and begin a new segment.

        Raises JournalLocked when another process writes there, JournalError when the folder cannot be used. A disk
        without space is not an error: the writer is `full` then, and recovers like from any full disk.
        """
        try:
            claim = Claim(folder)
            try:
                writer = cls._begin(claim, settings)
            except BaseException:
                claim.release()
                raise
        except OSError as error:
            raise JournalError(
                f"the journal {folder} cannot be opened for writing: {error}",
                hint="check that the folder belongs to the user who runs ocproxy, or choose another --data-dir",
            ) from error
        return writer

    @classmethod
    def _begin(cls, claim: Claim, settings: config.Journal) -> JournalWriter:
        segments = list_segments(claim.folder)
        repaired = cut_torn_tail(segments[-1], claim.id) if segments else None
        number = segments[-1].number + 1 if segments else 1
        writer = cls(claim, settings, number, repaired)
        if repaired is not None:
            writer.lost.tell(repaired)
            writer._uneasy = True
        try:
            writer._use(LiveSegment(claim.folder, number, claim.id))
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            writer._number, writer.full = number - 1, True
            writer._back_off(f"no journal segment could be made: {error}")
        else:
            writer.append(Kind.BEGAN, number << 32, b"")
        writer.commit()
        return writer

    def next_exchange(self) -> int:
        """A number that no other exchange of this journal has or had."""
        self._exchanges += 1
        return self._first << 32 | self._exchanges

    def append(self, kind: Kind, exchange: int, payload: Buffer) -> None:
        """Take a record into the next `commit`. No system call but the clock, once between two commits: all records of
        one commit have the time of its first.

        A payload above COPY_BYTES is not copied: it must not change before `commit`. One above MAX_PAYLOAD is cut into
        several records; of the kinds that cannot be cut (all but body bytes) it raises ValueError.
        """
        buffers = self._buffers
        if not buffers:
            self._times = encode_times(time.time_ns(), time.monotonic_ns())
        size = len(payload)
        if size <= COPY_BYTES:
            buffers.append(encode_small(kind, exchange, self._times, payload, self._seed))
        elif size <= MAX_PAYLOAD:
            buffers.append(encode_header(kind, exchange, self._times, payload, self._seed))
            buffers.append(payload)
        else:
            self._append_cut(kind, exchange, memoryview(payload))
            return
        if kind == ENDED:
            self.lost.end(exchange)

    def commit(self) -> bool:
        """Write everything appended since the last commit. True: all of it is in the file, and survives this process.

        False: some could not be written. It is lost, counted (`lost`, `lost_bytes`), and told by a GAP record as soon
        as writing works again; `full` is set. An ENDED record is not lost but written then, with its lost bytes made
        true. Never raises. Worth calling without records when `full`: it tries again when the time for it has come.
        """
        if self._uneasy and not self._mend():
            return self._drop()
        buffers = self._buffers
        if not buffers:
            return True
        self._buffers = []
        live = self._live
        assert live is not None  # _mend saw to it
        total = sum(map(len, buffers))
        if live.size + total <= self._limit:
            return self._put(live, buffers, total)
        return self._put_across(live, buffers)

    def lost_bytes(self, exchange: int) -> int:
        """Payload bytes of this exchange that could not be written; 0 once its ENDED record was appended."""
        return self.lost.of(exchange)

    def sync(self) -> asyncio.Future[None]:
        """Resolves when everything committed so far is on the disk (fdatasync, shared with all who wait).

        JournalFull when the writer is full, JournalError when the sync failed: then nothing may be claimed.
        """
        if not self.full:
            return self._syncer.wait()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(JournalFull(self._reason, hint="free some space; `ocproxy doctor` tells what was lost"))
        return future

    def close(self) -> None:
        """Commit, sync (waiting for it), seal, and free the folder. Safe to call twice.

        Raises JournalError, after everything was freed, when the last records could not be written or synced.
        """
        if self._closed:
            return
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._retry_at = 0.0
        good = self.commit()
        reason = self._syncer.finish()
        self._claim.release()
        self._live = None
        self.full = self._uneasy = True  # a commit after this writes nothing and says so
        self._retry_at = math.inf
        if not good:
            raise JournalFull(f"the last records of {self._claim.folder} could not be written: {self._reason}")
        if reason is not None:
            raise JournalError(reason)

    def _append_cut(self, kind: Kind, exchange: int, payload: memoryview) -> None:
        if kind not in STREAMED:
            raise ValueError(f"a {kind!r} record takes at most {MAX_PAYLOAD} bytes, not {len(payload)}")
        for start in range(0, len(payload), MAX_PAYLOAD):
            self.append(kind, exchange, payload[start : start + MAX_PAYLOAD])

    def _put(self, live: LiveSegment, buffers: list[Buffer], total: int) -> bool:
        try:
            live.write(buffers, total)
        except WriteFailed as failure:
            self._lose(failure, buffers)
            return False
        self._syncer.written()
        return True

    def _put_across(self, live: LiveSegment, buffers: list[Buffer]) -> bool:
        """Fill the live segment up to the limit, go on in the next, which takes at least one record."""
        start = behind = total = 0
        for record in walk(buffers):
            if live.size + total + record.bytes > self._limit:
                if total and not self._put(live, buffers[start:behind], total):
                    self._buffers = buffers[behind:]
                    return self._drop()
                live, start, total = self._rotate(live), behind, 0
            total += record.bytes
            behind = record.behind
        return self._put(live, buffers[start:], total)

    def _rotate(self, live: LiveSegment) -> LiveSegment:
        """A new segment; the old one when none can be made now: better too long than lost."""
        if time.monotonic() < self._retry_at:
            return live
        try:
            return self._begin_segment()
        except (OSError, JournalError) as error:
            self._back_off(f"no new segment could be made, the old one grows: {error}")
            return live

    def _begin_segment(self) -> LiveSegment:
        self._claim.restore()
        segments = list_segments(self._claim.folder)
        number = max(self._number, segments[-1].number if segments else 0) + 1
        return self._use(LiveSegment(self._claim.folder, number, self.id))

    def _use(self, live: LiveSegment) -> LiveSegment:
        self._live, self._number, self._suspect = live, live.number, False
        self._syncer.change(live)
        return live

    def _mend(self) -> bool:
        """Get ready to write again, and tell what was lost. False: records cannot be written now."""
        if time.monotonic() < self._retry_at:
            return not self.full
        try:
            live = self._live
            if live is None or self._suspect:
                live = self._begin_segment()
            standing = self.lost.encode(self._seed)
            if standing:
                live.write(standing, sum(map(len, standing)))
            self.lost.told(len(standing))
        except WriteFailed as failure:
            self.lost.told(failure.standing)
            self._lose(failure, [])
        except (OSError, JournalError) as error:
            self._back_off(f"no new segment could be made: {error}")
        else:
            self.full = self._uneasy = False
            self._syncer.written()
        return not self.full

    def _lose(self, failure: WriteFailed, buffers: list[Buffer]) -> None:
        self.full = True
        self._back_off(f"the journal could not be written: {failure}")
        if not failure.usable:
            self._live = None
            self._syncer.change(None)
        self.lost.drop(buffers[failure.standing :], self._reason)

    def _drop(self) -> bool:
        """Give up what was appended. True when that was nothing."""
        buffers, self._buffers = self._buffers, []
        if buffers:
            self.lost.drop(buffers, self._reason)
        return not buffers

    def _sync_failed(self, verdict: Verdict) -> None:
        reason = verdict.gone or verdict.unsynced or ""
        self.lost.note(reason)
        self._uneasy = self._suspect = True
        self._reason = reason
        if verdict.gone:  # what would be written there nobody could read
            self.full = True
            self._live = None
            self._syncer.change(None)
        self._call_later(max(0.0, self._retry_at - time.monotonic()))

    def _back_off(self, reason: str) -> None:
        now = time.monotonic()
        calm = now - self._failed_at > CALM_SECONDS
        self._delay = FIRST_DELAY if calm else min(2 * self._delay, LONGEST_DELAY)
        self._failed_at, self._retry_at = now, now + self._delay
        self._reason, self._uneasy = reason, True
        self._call_later(self._delay)

    def _call_later(self, delay: float) -> None:
        """Without traffic nobody calls `commit`; the gap is to be told, and the space used, all the same."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # without a loop the next commit tries
        self._retry = loop.call_later(delay, self.commit)
