"""A terminal for agents that want to be looked at: a pseudo-terminal that is read, and that takes keys."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.provider import wait_until

_ROWS, _COLUMNS = 40, 120

# What programs ask a terminal before they draw (where the cursor is, what kind it is), and what one answers.
_ASKED = {b"\x1b[6n": b"\x1b[1;1R", b"\x1b[c": b"\x1b[?62;22c"}

# Colours, places of the cursor, titles of the window.
_CONTROL = re.compile(rb"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78])")


class Screen(list[bytes]):
    """All that a program wrote, piece by piece."""

    def __init__(self, terminal: int) -> None:
        super().__init__()
        self._terminal = terminal

    def press(self, keys: str) -> None:
        """Types `keys` as they are: "\\r" is the enter key, "\\x1b" the escape key."""
        os.write(self._terminal, keys.encode())

    def shows(self, words: str, after: int = 0) -> bool:
        """Whether the words were written, behind the first `after` pieces. Programs draw spaces as moves of the cursor,
        so spaces do not count."""
        drawn = _CONTROL.sub(b"", b"".join(self[after:])).decode("utf-8", "replace")
        return "".join(words.split()) in "".join(drawn.split())


def refuse(screen: Screen, question: str, key: str, word: str) -> None:
    """Answers a question with `key`, by which the user refuses; says something else when the program gave `word` of it,
    which is the prompt of the script `second`; and waits for that script's answer."""
    wait_until(lambda: screen.shows(question), "the question", seconds=60)
    asked = len(screen)
    screen.press(key)
    wait_until(lambda: screen.shows(word, asked), "word of the refusal", seconds=30)
    screen.press("[[script:second]] Something else.")
    wait_until(lambda: screen.shows("Something else.", asked), "the next prompt", seconds=30)
    screen.press("\r")
    wait_until(lambda: screen.shows("Then not.", asked), "the last answer", seconds=60)


@contextmanager
def in_terminal(
    command: list[str], folder: Path, environment: dict[str, str], *, answers: bool = False
) -> Iterator[Screen]:
    """Runs `command` while the block runs; the screen grows with what it writes. `answers`: what the program asks the
    terminal is answered."""
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
                for question in [one for one in _ASKED if answers and one in data]:
                    os.write(ours, _ASKED[question])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield written
    finally:
        with suppress(ProcessLookupError):  # with what it started: Gemini CLI runs itself as a child
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(10)
        os.close(ours)
