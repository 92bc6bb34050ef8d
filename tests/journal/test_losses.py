"""A disk that is full, failing or gone: traffic is never in the way, and what is lost is told."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from ocproxy.config import Journal
from ocproxy.errors import JournalError, JournalFull, JournalLocked
from ocproxy.exchange import Ended, Kind, Outcome
from ocproxy.journal import JournalWriter, verify
from ocproxy.journal import writer as module
from ocproxy.journal.records import Buffer
from ocproxy.journal.syncing import Verdict
from tests.support.segments import RECORD_BYTES, SETTINGS, START, gaps, payloads, plain, read, without_syncs, write


class Disk:
    """Stands in for os.writev: takes `room` bytes, then fails with `error`. room None: without bound."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.error = errno.ENOSPC
        self.most = 1 << 30  # bytes that one call takes
        self.calls = 0
        self._writev = os.writev
        monkeypatch.setattr(os, "writev", self)

    def __call__(self, descriptor: int, buffers: Sequence[Buffer]) -> int:
        self.calls += 1
        if self.room == 0:
            raise OSError(self.error, os.strerror(self.error))
        data = b"".join(buffers)[: min(self.most, 1 << 30 if self.room is None else self.room)]
        if self.room is not None:
            self.room -= len(data)
        return self._writev(descriptor, [data])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    without_syncs(monkeypatch)
    return Disk(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock by which the writer decides when to try again."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A real file system of 1 MiB."""
    folder = Path("/tmp") / f"ocproxy-small-disk-{os.getpid()}"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("only root can mount a small disk; the stand-in above is tested everywhere")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def put(writer: JournalWriter, *records: bytes, exchange: int = 1, kind: Kind = Kind.RESPONSE_BYTES) -> bool:
    for payload in records:
        writer.append(kind, exchange, payload)
    return writer.commit()


def test_partial_writes_are_continued(tmp_path: Path, disk: Disk) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    expected = [b"%d" % i * 1000 for i in range(200)]
    for disk.most in (1, 7, 35, 36, 37, 5000):
        assert put(writer, *expected[:20])
    disk.most = 4999
    assert put(writer, *expected)
    writer.close()
    assert payloads(read(tmp_path)) == expected[:20] * 6 + expected


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EACCES])
def test_a_refused_commit_keeps_whole_records_and_tells_the_rest(
    tmp_path: Path, disk: Disk, clock: Callable[[float], None], error: int
) -> None:
    for room in range(3 * (RECORD_BYTES + 3)):
        folder = tmp_path / str(room)
        writer = JournalWriter.open(folder, SETTINGS)
        disk.room, disk.error = room, error
        assert put(writer, b"one", b"two", b"six", exchange=7) is False
        kept = room // (RECORD_BYTES + 3)
        assert writer.full and (writer.lost.records, writer.lost.bytes) == (3 - kept, 3 * (3 - kept))
        assert (writer.lost_bytes(7), writer.lost_bytes(8)) == (3 * (3 - kept), 0)
        assert plain(folder, 1).stat().st_size == START + kept * (RECORD_BYTES + 3)
        disk.room = None
        clock(1)
        assert put(writer, b"new", exchange=7) is True and not writer.full
        writer.close()
        found = read(folder)
        assert payloads(found) == [b"one", b"two", b"six"][:kept] + [b"new"]
        (gap,) = gaps(found)
        assert (gap.records, gap.bytes) == (3 - kept, 3 * (3 - kept)) and os.strerror(error) in gap.reason
        assert plain(folder, 2).exists() == (error not in (errno.ENOSPC, errno.EDQUOT))
        assert verify(folder).good


def test_a_dead_disk_is_tried_seldom_and_everything_meanwhile_is_counted(
    tmp_path: Path, disk: Disk, clock: Callable[[float], None]
) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    disk.room, disk.calls = 0, 0
    for _ in range(10_000):
        assert put(writer, b"x" * 10) is False
        clock(0.01)
    assert disk.calls < 30
    disk.room = None
    clock(5)
    assert put(writer, b"y")
    writer.close()
    (gap,) = gaps(read(tmp_path))
    assert (gap.records, gap.bytes) == (10_000, 100_000)
    assert payloads(read(tmp_path)) == [b"y"]


def test_a_commit_without_records_ends_the_trouble_too(
    tmp_path: Path, disk: Disk, clock: Callable[[float], None]
) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    disk.room = 0
    assert put(writer, b"x") is False
    disk.room = None
    clock(0.2)
    assert writer.commit() is True and not writer.full
    assert len(gaps(read(tmp_path))) == 1
    writer.close()


def test_the_end_of_an_exchange_is_never_lost_and_tells_what_was(
    tmp_path: Path, disk: Disk, clock: Callable[[float], None]
) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    disk.room = 0
    put(writer, b"x" * 100, exchange=1)
    ended = Ended(Outcome.COMPLETE, lost_bytes=writer.lost_bytes(1))
    writer.append(Kind.RESPONSE_BYTES, 1, b"y" * 5)
    put(writer, msgspec.msgpack.encode(ended), exchange=1, kind=Kind.ENDED)
    put(writer, msgspec.msgpack.encode(Ended(Outcome.COMPLETE)), exchange=2, kind=Kind.ENDED)
    assert writer.lost_bytes(1) == 0
    disk.room = 200  # the GAP fits, and the first of the two
    clock(1)
    assert put(writer, b"lost too") is False
    disk.room = None
    clock(10)
    assert put(writer, b"new")
    writer.close()
    found = read(tmp_path)
    ends = [(r.exchange, msgspec.msgpack.decode(r.payload, type=Ended)) for _, r in found if r.kind == Kind.ENDED]
    assert [(exchange, end.lost_bytes) for exchange, end in ends] == [(1, 105), (2, 0)]
    assert payloads(found)[-1] == b"new"
    assert [(gap.records, gap.bytes) for gap in gaps(found)] == [(2, 105), (1, 8)]


def test_a_segment_that_cannot_be_continued_leaves_the_next_one_as_long_as_needed(
    tmp_path: Path, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better too long than lost: while no new segment can be made, the old one grows."""
    monkeypatch.setattr(module, "MIB", 500)
    writer = JournalWriter.open(tmp_path, Journal(segment_mb=1))
    real_open, refused = os.open, [True]

    def open_(path: os.PathLike[str] | str, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(".seg.new") and refused[0]:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", open_)
    for _ in range(20):
        assert put(writer, b"x" * 100, b"y" * 100)
    assert not plain(tmp_path, 2).exists() and not writer.full
    refused[0] = False
    clock(10)
    assert put(writer, b"z" * 100)
    writer.close()
    assert payloads(read(tmp_path)) == [b"x" * 100, b"y" * 100] * 20 + [b"z" * 100]
    assert plain(tmp_path, 2).exists()
    assert [(gap.records, gap.bytes) for gap in gaps(read(tmp_path))] in ([], [(0, 0)])


def test_taken_permissions_are_survived(tmp_path: Path, clock: Callable[[float], None]) -> None:
    """The open file still takes records; nobody may make a new one, until the permission is given back."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who can drop and take back his rights")
    folder = tmp_path / "j"
    writer = JournalWriter.open(folder, SETTINGS)
    os.seteuid(65534)
    try:
        assert put(writer, b"one")
        writer._sync_failed(Verdict(unsynced="the disk failed"))
        assert put(writer, b"two"), "a segment that could not be synced is still better than none"
    finally:
        os.seteuid(0)
    clock(1)
    assert put(writer, b"three")
    writer.close()
    found = read(folder)
    assert payloads(found) == [b"one", b"two", b"three"]
    assert [gap.reason for gap in gaps(found)] == ["the disk failed"]
    assert plain(folder, 2).exists()


def test_a_full_disk_refuses_and_recovers(small_disk: Path, clock: Callable[[float], None]) -> None:
    folder = small_disk / "journal"
    (small_disk / "ballast").write_bytes(bytes(700_000))
    writer = JournalWriter.open(folder, SETTINGS)
    written, count = [], 0
    while count < 200:
        payload = b"%04d" % count * 2500
        count += 1
        clock(0.05)
        if put(writer, payload):
            written.append(payload)
    assert 10 < len(written) < 100 and writer.full
    (small_disk / "ballast").unlink()
    clock(10)
    assert put(writer, b"again")
    writer.close()
    found = read(folder)
    assert payloads(found) == [*written, b"again"]
    assert sum(gap.records for gap in gaps(found)) == writer.lost.records
    assert sum(gap.bytes for gap in gaps(found)) == writer.lost.bytes > 0
    assert verify(folder).good


def test_a_writer_opens_on_a_full_disk_and_recovers(small_disk: Path, clock: Callable[[float], None]) -> None:
    folder = small_disk / "journal"
    write(folder, b"one")
    free = os.statvfs(small_disk).f_bavail * 4096
    (small_disk / "ballast").write_bytes(bytes(free))
    writer = JournalWriter.open(folder, SETTINGS)
    assert writer.full and writer.next_exchange() >> 32 == 2
    assert put(writer, b"lost", exchange=5) is False
    (small_disk / "ballast").unlink()
    clock(1)
    assert put(writer, b"two") and not writer.full
    writer.close()
    assert payloads(read(folder)) == [b"one", b"two"]
    (gap,) = gaps(read(folder))
    assert gap.bytes == 4 and "No space left" in gap.reason


def test_closing_on_a_full_disk_says_that_records_are_lost(tmp_path: Path, disk: Disk) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    disk.room = 0
    writer.append(Kind.OPENED, 1, b"x")
    with pytest.raises(JournalFull, match="No space left"):
        writer.close()
    JournalWriter.open(tmp_path, SETTINGS).close()


def test_a_removed_folder_is_noticed_made_again_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "journal" / "0"

    async def live() -> tuple[str, bool]:
        writer = JournalWriter.open(folder, SETTINGS)
        assert put(writer, b"one")
        await writer.sync()
        shutil.rmtree(folder.parent)
        assert put(writer, b"gone"), "the open file takes it; nobody will ever read it"
        with pytest.raises(JournalError, match="is gone while it was being written"):
            await writer.sync()
        assert put(writer, b"two")
        await writer.sync()
        with pytest.raises(JournalLocked):
            JournalWriter.open(folder, SETTINGS)
        writer.close()
        return writer.id, writer.full

    journal, _ = asyncio.run(live())
    found = read(folder)
    assert payloads(found) == [b"two"]
    assert "is gone" in gaps(found)[0].reason
    assert (folder / "id").read_text() == f"{journal}\n" and plain(folder, 2).exists()
