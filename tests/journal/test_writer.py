"""What a writer promises while the disk does its part."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ocproxy.config import Journal
from ocproxy.errors import JournalError, JournalLocked
from ocproxy.exchange import Kind, Position
from ocproxy.journal import JournalReader, JournalWriter, compress_sealed, list_journals
from ocproxy.journal import writer as module
from ocproxy.journal.live import IOV_MAX
from ocproxy.journal.records import MAX_PAYLOAD
from tests.support.segments import (
    HEADER_BYTES,
    RECORD_BYTES,
    SETTINGS,
    START,
    crash,
    gaps,
    payloads,
    plain,
    read,
    without_syncs,
    write,
)


def test_nothing_is_in_the_file_before_commit_and_everything_after_it(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    writer.append(Kind.OPENED, 1, b"one")
    writer.append(Kind.REQUEST_BYTES, 1, bytearray(b"two" * 5000))
    writer.append(Kind.RESPONSE_BYTES, 1, memoryview(b"three"))
    assert read(tmp_path) == []
    assert writer.commit() is True
    assert payloads(read(tmp_path)) == [b"one", b"two" * 5000, b"three"]
    assert writer.commit() is True
    writer.close()
    assert len(read(tmp_path)) == 3


def test_all_records_of_a_commit_have_the_time_of_its_first(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    for payload in (b"a", b"b"):
        writer.append(Kind.OPENED, 1, payload)
    writer.commit()
    writer.append(Kind.OPENED, 1, b"c")
    writer.close()
    one, two, three = (record for _, record in read(tmp_path))
    assert (one.wall_ns, one.mono_ns) == (two.wall_ns, two.mono_ns)
    assert three.mono_ns > two.mono_ns


def test_more_records_than_a_writev_takes_are_written_in_one_commit(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    expected = [b"%d" % i * (3000 if i % 5 == 0 else 1) for i in range(3 * IOV_MAX)]
    for payload in expected:
        writer.append(Kind.RESPONSE_BYTES, 1, payload)
    assert writer.commit()
    writer.close()
    assert payloads(read(tmp_path)) == expected


def test_body_bytes_beyond_the_limit_become_several_records(tmp_path: Path) -> None:
    body = os.urandom(2 * MAX_PAYLOAD + 5)
    writer = JournalWriter.open(tmp_path, SETTINGS)
    writer.append(Kind.REQUEST_BYTES, 1, body)
    with pytest.raises(ValueError, match="at most 1048576 bytes"):
        writer.append(Kind.OPENED, 1, body)
    writer.close()
    assert [len(payload) for payload in payloads(read(tmp_path))] == [MAX_PAYLOAD, MAX_PAYLOAD, 5]
    assert b"".join(payloads(read(tmp_path))) == body


def test_a_segment_ends_between_records_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIB", 1000)
    expected = [b"%03d" % i for i in range(200)] + [b"x" * 5000, b"y" * 5000, b"last"]
    writer = JournalWriter.open(tmp_path, Journal(segment_mb=1))
    for payload in expected[:100]:
        writer.append(Kind.OPENED, 1, payload)
        writer.commit()
    for payload in expected[100:]:
        writer.append(Kind.OPENED, 1, payload)
    writer.commit()
    writer.close()
    assert payloads(read(tmp_path)) == expected
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.seg"))]
    room = (1000 - HEADER_BYTES) // (RECORD_BYTES + 3)
    assert sizes[1:8] == [HEADER_BYTES + room * (RECORD_BYTES + 3)] * 7
    assert sizes[-3:-1] == [HEADER_BYTES + RECORD_BYTES + 5000] * 2, "a segment holds at least one record"


def test_exchange_numbers_never_repeat_and_grow_with_every_writer(tmp_path: Path) -> None:
    numbers = []
    for _ in range(3):
        writer = JournalWriter.open(tmp_path, SETTINGS)
        numbers += [writer.next_exchange(), writer.next_exchange()]
        writer.close()
    assert numbers == [(1 << 32) + 1, (1 << 32) + 2, (2 << 32) + 1, (2 << 32) + 2, (3 << 32) + 1, (3 << 32) + 2]


def test_a_new_writer_goes_on_behind_compressed_segments_with_the_same_id(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    write(tmp_path, b"two")
    before = JournalReader(tmp_path).id
    compress_sealed(tmp_path)
    plain(tmp_path, 2).unlink()
    writer = JournalWriter.open(tmp_path, SETTINGS)
    assert (writer.id, writer.next_exchange() >> 32) == (before, 2)
    writer.close()


def test_a_torn_tail_is_cut_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_syncs(monkeypatch)
    write(tmp_path / "j", b"one", b"two", b"three")
    whole = plain(tmp_path / "j", 1).read_bytes()
    ends = [HEADER_BYTES, START, START + 39, START + 78, START + 119]
    assert ends[-1] == len(whole)
    for cut in range(HEADER_BYTES, len(whole)):
        copy = crash(tmp_path / "j", tmp_path / "copy", cut)
        writer = JournalWriter.open(copy, SETTINGS)
        writer.close()
        end = max(place for place in ends if place <= cut)
        found = read(copy)
        assert plain(copy, 1).stat().st_size == end
        assert payloads(found) == [b"one", b"two", b"three"][: max(0, ends.index(end) - 1)]
        assert gaps(found) == ([writer.repaired] if writer.repaired else [])
        assert [gap.bytes for gap in gaps(found)] == ([cut - end] if cut > end else [])
        if writer.repaired:
            assert f"cut off at {Position(1, end)}" in writer.repaired.reason


def test_a_torn_tail_of_garbage_is_cut_too(tmp_path: Path) -> None:
    write(tmp_path, b"one")
    with open(plain(tmp_path, 1), "ab") as file:
        file.write(bytes(4096) + os.urandom(5000) + b"\xf5")
    JournalWriter.open(tmp_path, SETTINGS).close()
    found = read(tmp_path)
    assert payloads(found) == [b"one"] and [gap.bytes for gap in gaps(found)] == [9097]


def test_damage_in_the_middle_is_left_and_what_is_behind_it_kept(tmp_path: Path) -> None:
    write(tmp_path, b"one", b"two", b"three")
    with open(plain(tmp_path, 1), "r+b") as file:
        file.seek(START + 50)
        file.write(b"\0\0\0")
    before = plain(tmp_path, 1).read_bytes()
    writer = JournalWriter.open(tmp_path, SETTINGS)
    writer.close()
    assert writer.repaired is None and plain(tmp_path, 1).read_bytes() == before
    assert payloads(read(tmp_path)) == [b"one", b"three"]


def test_only_one_writer_is_let_in_and_the_other_is_told_who_it_is(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    with pytest.raises(JournalLocked, match=rf"in use by the process {os.getpid()}$") as caught:
        JournalWriter.open(tmp_path, SETTINGS)
    assert caught.value.hint
    writer.close()
    JournalWriter.open(tmp_path, SETTINGS).close()


def test_a_killed_writer_leaves_the_folder_free(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from ocproxy.config import Journal\n"
        "from ocproxy.exchange import Kind\n"
        "from ocproxy.journal import JournalWriter\n"
        "writer = JournalWriter.open(pathlib.Path(sys.argv[1]), Journal())\n"
        "writer.append(Kind.OPENED, 1, b'one'); writer.commit(); print('ready', flush=True); sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "j")], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        with pytest.raises(JournalLocked, match=str(process.pid)):
            JournalWriter.open(tmp_path / "j", SETTINGS)
        process.kill()
    JournalWriter.open(tmp_path / "j", SETTINGS).close()
    assert payloads(read(tmp_path / "j")) == [b"one"]


def test_everything_on_disk_is_for_the_user_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        for _ in range(2):
            write(tmp_path / "data" / "journal" / "0", b"one")
        compress_sealed(tmp_path / "data" / "journal" / "0")
    finally:
        os.umask(old)
    modes = {p.relative_to(tmp_path): stat.S_IMODE(p.stat().st_mode) for p in sorted((tmp_path / "data").rglob("*"))}
    assert {path.name: oct(mode) for path, mode in modes.items()} == {
        "journal": "0o700",
        "0": "0o700",
        "0000000001.seg.zst": "0o600",
        "0000000002.seg": "0o600",
        "id": "0o600",
        "lock": "0o600",
        "keeper.lock": "0o600",
    }
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_folder_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir(mode=0o755)
    write(tmp_path / "j", b"one")
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be opened for writing") as caught:
        JournalWriter.open(tmp_path / "file" / "j", SETTINGS)
    assert caught.value.hint


def test_closing_twice_is_once_and_what_is_appended_afterwards_is_refused(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    writer.close()
    writer.close()
    writer.append(Kind.OPENED, 1, b"late")
    assert writer.commit() is False and writer.full
    assert read(tmp_path) == []


def test_journals_are_found_below_their_root(tmp_path: Path) -> None:
    assert list_journals(tmp_path / "journal") == []
    for name in ("1", "0"):
        write(tmp_path / "journal" / name, b"one")
    (tmp_path / "journal" / "other").mkdir()
    (tmp_path / "journal" / "file").touch()
    assert list_journals(tmp_path / "journal") == [tmp_path / "journal" / "0", tmp_path / "journal" / "1"]
