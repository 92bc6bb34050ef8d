"""A terminal for agents that want to be looked at: a pseudo-terminal whose output is read, and that takes keys."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROWS, _COLUMNS = 40, 120


class Screen(list[bytes]):
    """What the program wrote until now."""

    def __init__(self, terminal: int) -> None:
        super().__init__()
        self._terminal = terminal

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def shows(self, text: str) -> bool:
        """Whether the program wrote this text in one piece."""
        return text.encode() in b"".join(self)


@contextmanager
def in_terminal(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Screen]:
    """Runs `command` while the block runs; the list grows with what it writes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    written = Screen(ours)

    def read() -> None:
        # When the program ends, the terminal goes away under the reader: EIO on Linux.
        with suppress(OSError):
            while data := os.read(ours, 65536):
                written.append(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield written
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        os.close(ours)
