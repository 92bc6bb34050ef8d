"""What Ctrl-C does: ends the program at once, wherever it is. Looked at before anything slow is imported.

A command may be ended at any instant without harm, as by `kill -9`: database and journal are made for that. So the
signal is left to the kernel, which does not wait for a statement that waits for a lock, prints no traceback, and lets
the shell see that a signal ended the program: it shows 130, and stops the loop or script around the command as well.
Commands that have something to tidy up say so with `unwinding`; `serve` and `tail` have handlers of their own.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def end_at_once() -> None:
    """Let Ctrl-C end the process from now on. Where whoever started us wants it ignored (`nohup`), it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def unwinding() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt (asyncio: cancels what runs), so that `finally` is reached; code 130."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
