"""Random lives of a journal against a list: what was committed is there, once and in order, whoever died when."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocproxy.config import Journal
from ocproxy.exchange import Kind, Position, Record
from ocproxy.journal import JournalReader, JournalWriter, compress_sealed, remove_old, verify
from ocproxy.journal import writer as module
from tests.support.segments import gaps, payloads, without_syncs


class JournalLife(RuleBasedStateMachine):
    """`written` is what a commit promised; `pending` was appended since."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "MIB", 600)
        without_syncs(self.patch)
        self.number = 0
        self.written: list[bytes] = []
        self.pending: list[bytes] = []
        self.followed: list[bytes] = []
        self.position: Position | None = None
        self.torn = 0

    @initialize()
    def begin(self) -> None:
        self.folder = self.root / "0"
        self.writer = JournalWriter.open(self.folder, Journal(segment_mb=1))
        self.reader = JournalReader(self.folder)

    @rule(sizes=st.lists(st.sampled_from([0, 1, 40, 300, 5000]), min_size=1, max_size=8))
    def append(self, sizes: list[int]) -> None:
        for size in sizes:
            self.number += 1
            payload = b"%08d" % self.number + b"." * size
            self.writer.append(Kind.RESPONSE_BYTES, 1, payload)
            self.pending.append(payload)

    @rule()
    def commit(self) -> None:
        assert self.writer.commit()
        self.written += self.pending
        self.pending = []

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.written += self.pending
        self._open(self.folder)

    @rule(data=st.data())
    def kill_in_a_write(self, data: st.DataObject) -> None:
        """What a killed process leaves: all that was committed, and some first bytes of what was being written."""
        before = max(self.folder.glob("*.seg"))
        start = before.stat().st_size
        crashed = self.root / f"{self.folder.name}x"
        assert self.writer.commit()
        shutil.copytree(self.folder, crashed)
        self.writer.close()
        shutil.rmtree(self.folder)
        for later in sorted(crashed.glob("*.seg")):
            if later.name > before.name:
                later.unlink()
        survivor = crashed / before.name
        cut = data.draw(st.integers(start, survivor.stat().st_size))
        with open(survivor, "r+b") as file:
            file.truncate(cut)
        with JournalReader(crashed) as reader:
            saved = payloads(reader.follow())
        alive = saved[saved.index(self.written[-1]) + 1 :] if self.written and self.written[-1] in saved else saved
        assert alive == self.pending[: len(alive)]
        self.written += alive
        self._open(crashed)
        self.torn += self.writer.repaired is not None

    @rule()
    def compress(self) -> None:
        compress_sealed(self.folder)

    @precondition(lambda self: self.position is not None)
    @rule()
    def remove_what_was_followed(self) -> None:
        assert self.position is not None
        remove_old(self.folder, keep_days=0, keep_bytes=1, ingested_up_to=self.position)

    @rule(most=st.integers(1, 30))
    def follow(self, most: int) -> None:
        self._note(islice(self.reader.follow(self.position), most))

    @invariant()
    def a_follower_has_a_beginning_of_what_was_written(self) -> None:
        assert self.followed == self.written[: len(self.followed)]

    def teardown(self) -> None:
        try:
            if hasattr(self, "writer"):
                self._check_the_end()
        finally:
            self.patch.undo()
            shutil.rmtree(self.root)

    def _check_the_end(self) -> None:
        self.writer.close()
        self.written += self.pending
        self._note(self.reader.follow(self.position))
        assert self.followed == self.written
        self.reader.close()
        with JournalReader(self.folder) as reader:
            assert reader.end() == self.position
            left = list(reader.follow())
        assert payloads(left) == self.written[len(self.written) - len(payloads(left)) :]
        assert len(gaps(left)) <= self.torn
        assert verify(self.folder).good

    def _open(self, folder: Path) -> None:
        self.reader.close()
        self.folder, self.pending = folder, []
        self.writer = JournalWriter.open(folder, Journal(segment_mb=1))
        self.reader = JournalReader(folder)

    def _note(self, found: Iterable[tuple[Position, Record]]) -> None:
        news = list(found)
        if news:
            self.position = news[-1][0]
            self.followed += payloads(news)


TestJournalLife = JournalLife.TestCase
TestJournalLife.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
