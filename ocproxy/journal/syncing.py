"""Durability: fdatasync in a thread, shared by everybody who waits for it (group commit)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from ocproxy.errors import JournalError
from ocproxy.journal.live import LiveSegment
from ocproxy.journal.segments import sync_folder

# `normal` promises "within a second": half of it to wait for more, half for the disk to do it.
SYNC_SECONDS: Final = 0.5


class Verdict(NamedTuple):
    """Why a sync failed; both None: it did not."""

    unsynced: str | None = None  # the disk refused
    gone: str | None = None  # the live segment is no longer in its folder


class _Job(NamedTuple):
    """What one sync makes durable."""

    live: LiveSegment | None
    retired: list[LiveSegment]  # synced once more, then closed
    new_name: bool  # the folder got a new entry


class Syncer:
    """Syncs what a writer has written. All calls come from one thread, and with a loop always from the same loop.

    `failed(verdict)` is called there when a sync failed: what was written since the sync before may or may not be on
    the disk. The kernel tells so only once (later syncs of that file succeed and mean nothing), so until `change` every
    wait fails.
    """

    def __init__(self, failed: Callable[[Verdict], None]) -> None:
        self._failed = failed
        self._suspect: str | None = None  # why nothing more can be promised of the live segment
        self._live: LiveSegment | None = None
        self._retired: list[LiveSegment] = []
        self._new_name = False
        self._dirty = False  # something was written since the last sync began
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Future[Verdict] | None = None
        self._syncing: LiveSegment | None = None  # the live segment when the running sync began
        self._sharing: list[asyncio.Future[None]] = []  # wait for the running sync
        self._waiting: list[asyncio.Future[None]] = []  # wait for the next one
        self._thread: ThreadPoolExecutor | None = None
        self._synced_at = time.monotonic()

    def change(self, live: LiveSegment | None) -> None:
        """From now on `live` is written to; the one before is synced once more and closed."""
        if self._live is not None:
            self._retired.append(self._live)
        self._live, self._new_name, self._suspect = live, True, None
        self.written()

    def written(self) -> None:
        """Something was written: it will be synced within a second."""
        self._dirty = True
        if self._timer is not None or self._running is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if time.monotonic() - self._synced_at >= SYNC_SECONDS:
                self._sync_here()
            return
        self._timer = loop.call_later(SYNC_SECONDS, self._start, loop)

    def wait(self) -> asyncio.Future[None]:
        """Resolves when everything written before this call is durable; a failed sync gives JournalError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._suspect:
            _resolve([future], self._suspect)
        elif self._dirty:
            self._waiting.append(future)
            if self._running is None:
                self._start(loop)
        elif self._running is not None:
            self._sharing.append(future)
        else:
            future.set_result(None)
        return future

    def finish(self) -> str | None:
        """Sync and close everything, waiting for it. Returns why that failed, or None."""
        self._stop_timer()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        live, self._live = self._live, None
        if live is not None:
            self._retired.append(live)
        verdict = _sync(self._take())
        reason = self._suspect or verdict.unsynced or verdict.gone
        _resolve(self._waiting, reason)
        self._waiting = []
        return reason

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._stop_timer()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")
        self._sharing, self._waiting = self._waiting, []
        job = self._take()
        self._syncing = job.live
        self._running = loop.run_in_executor(self._thread, _sync, job)
        self._running.add_done_callback(self._finished)

    def _finished(self, running: asyncio.Future[Verdict]) -> None:
        verdict = Verdict("the sync was cancelled") if running.cancelled() else running.result()
        self._running = None
        if self._syncing is not self._live:
            verdict = verdict._replace(gone=None)  # sealed meanwhile; sealed segments are compressed and removed
        reason = verdict.unsynced or verdict.gone
        _resolve(self._sharing, reason)
        self._sharing = []
        if reason is not None:
            self._fail(verdict)
        if self._waiting:
            self._start(asyncio.get_running_loop())
        elif self._dirty:
            self.written()

    def _sync_here(self) -> None:
        verdict = _sync(self._take())
        if verdict != Verdict():
            self._fail(verdict)

    def _fail(self, verdict: Verdict) -> None:
        self._suspect = verdict.unsynced or verdict.gone
        _resolve(self._waiting, self._suspect)
        self._waiting = []
        self._failed(verdict)

    def _take(self) -> _Job:
        job = _Job(self._live, self._retired, self._new_name)
        self._retired, self._new_name, self._dirty = [], False, False
        self._synced_at = time.monotonic()
        return job

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _sync(job: _Job) -> Verdict:
    """Runs in the thread."""
    reasons = []
    gone = None
    for segment in job.retired:
        reasons.append(_sync_file(segment))
        os.close(segment.descriptor)
    if job.live is not None:
        reasons.append(_sync_file(job.live))
        gone = _find_removed(job.live)
        if job.new_name and not gone:
            reasons.append(_sync_names(job.live))
    return Verdict(next((reason for reason in reasons if reason), None), gone)


def _sync_file(segment: LiveSegment) -> str | None:
    try:
        _fdatasync(segment.descriptor)
    except OSError as error:
        return f"{segment.path} could not be synced, what was written last may be lost at a power cut: {error}"
    return None


def _find_removed(segment: LiveSegment) -> str | None:
    """A removed file can be written to without an error; nobody would ever read it."""
    try:
        there = segment.path.stat()
    except OSError as error:
        return f"{segment.path} is gone while it was being written: {error}"
    own = os.fstat(segment.descriptor)
    if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
        return f"{segment.path} was replaced while it was being written"
    return None


def _sync_names(segment: LiveSegment) -> str | None:
    try:
        sync_folder(segment.path.parent)
    except OSError as error:
        return f"{segment.path.parent} could not be synced, the newest segment may be lost at a power cut: {error}"
    return None


def _resolve(futures: list[asyncio.Future[None]], reason: str | None) -> None:
    for future in futures:
        if future.done():
            continue  # who waited was cancelled
        if reason is None:
            future.set_result(None)
        else:
            future.set_exception(JournalError(reason, hint="see `ocproxy doctor`; the disk may be full or failing"))


# macOS has no fdatasync; its fsync does as much as ours, and neither empties the disk's own cache there.
_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
