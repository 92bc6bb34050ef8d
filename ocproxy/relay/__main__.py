"""A relay worker: `python -m ocproxy.relay`, its settings as msgpack on standard input. Started by the supervisor."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from ocproxy.errors import OcproxyError
from ocproxy.journal.writer import JournalWriter
from ocproxy.relay.descriptors import raise_limit
from ocproxy.relay.server import serve
from ocproxy.relay.settings import WorkerSettings

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # Windows and PyPy: asyncio's own loop does the same at 0.7 of the speed
    from asyncio import new_event_loop


def main() -> int:
    """0: drained. 1: could not start; the reason is on standard error."""
    supervisor = os.getppid()
    raise_limit()
    try:
        settings = WorkerSettings.decode(sys.stdin.buffer.read())
        journal = JournalWriter.open(Path(settings.journal_folder), settings.journal)
    except (OcproxyError, msgspec.MsgspecError) as error:
        return _say(error)
    # Exchanges break their cycles themselves; the collector has little to find and must not stop 1,000 streams.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(serve(settings, journal, supervisor))
        finally:
            journal.close()
    except OcproxyError as error:
        return _say(error)
    return 0


def _say(error: Exception) -> int:
    hint = getattr(error, "hint", None)
    sys.stderr.write(f"ocproxy relay: {error}\n" + (f"{hint}\n" if hint else ""))
    return 1


if __name__ == "__main__":
    sys.exit(main())
