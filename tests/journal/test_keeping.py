"""Compression and retention: nothing is lost, whenever they die, and nothing goes that was not ingested."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocproxy.errors import JournalError, JournalLocked
from ocproxy.exchange import Kind, Position
from ocproxy.journal import JournalReader, JournalWriter, compress_sealed, keeper, keeping, remove_old, verify
from ocproxy.journal.folder import lock
from tests.support.segments import SETTINGS, crash, packed, payloads, plain, read, write

DAY_NS = 86_400 * 10**9


def three_segments(folder: Path) -> list[bytes]:
    expected = []
    for number in range(3):
        records = [b"%d.%d " % (number, i) * 50 for i in range(30)]
        write(folder, *records)
        expected += records
    return expected


def resending_agents(size: int, agents: int = 3) -> Iterator[tuple[Kind, bytes]]:
    """Agents that send system prompt, tools and their whole history with each call, and stream small events back."""
    rnd = random.Random(7)
    words = ["".join(rnd.choices("abcdefghijklmnopqrstuvwxyz_", k=rnd.randint(2, 10))) for _ in range(5000)]

    def text(count: int) -> str:
        return " ".join(rnd.choices(words, k=count))

    system, tools = text(3000), [{"name": f"tool{i}", "description": text(200)} for i in range(25)]
    histories: list[list[object]] = [[] for _ in range(agents)]
    while size > 0:
        history = rnd.choice(histories)
        history.append({"role": "user", "content": [{"type": "tool_result", "content": text(rnd.randint(50, 800))}]})
        last = {**dict(history[-1]), "cache_control": {"type": "ephemeral"}}  # type: ignore[call-overload]  # plain JSON
        body = {"system": system, "tools": tools, "messages": [*history[:-1], last], "id": rnd.random()}
        sent = json.dumps(body).encode()
        size -= len(sent)
        for start in range(0, len(sent), 65536):
            yield Kind.REQUEST_BYTES, sent[start : start + 65536]
        reply = text(100)
        for start in range(0, len(reply), 16):
            yield Kind.RESPONSE_BYTES, b"event: delta\ndata: %s\n\n" % json.dumps(reply[start : start + 16]).encode()
        history.append({"role": "assistant", "content": [{"type": "text", "text": reply}]})


def test_sealed_segments_are_compressed_and_read_alike_and_the_live_one_is_left(tmp_path: Path) -> None:
    expected = three_segments(tmp_path)
    before, live = read(tmp_path), plain(tmp_path, 3).read_bytes()
    sizes = [plain(tmp_path, number).stat().st_size for number in (1, 2)]
    done = compress_sealed(tmp_path)
    assert [(one.number, one.plain_bytes) for one in done] == [(1, sizes[0]), (2, sizes[1])]
    assert all(one.stored_bytes == packed(tmp_path, one.number).stat().st_size < one.plain_bytes for one in done)
    assert read(tmp_path) == before and payloads(before) == expected
    for index in range(0, len(before), 7):
        assert read(tmp_path, before[index][0]) == before[index + 1 :]
    assert plain(tmp_path, 3).read_bytes() == live and not plain(tmp_path, 2).exists()
    assert compress_sealed(tmp_path) == [] and verify(tmp_path).good


def test_resending_agents_shrink_to_a_tenth_and_less(tmp_path: Path) -> None:
    writer = JournalWriter.open(tmp_path, SETTINGS)
    for kind, payload in resending_agents(12_000_000):
        writer.append(kind, 1, payload)
        writer.commit()
    writer.close()
    write(tmp_path, b"live")
    before = read(tmp_path)
    tracemalloc.start()
    (done,) = compress_sealed(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.plain_bytes / done.stored_bytes > 10
    assert peak < 8 << 20, "streamed, not held"
    assert read(tmp_path) == before


def test_whenever_compression_dies_nothing_is_lost_and_the_next_one_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is copied before and after every step that changes it; each copy is what a death there leaves."""
    folder = tmp_path / "j"
    expected = three_segments(folder)
    deaths: list[Path] = []
    copying = False

    def die(when: str) -> None:
        nonlocal copying
        copying = True
        deaths.append(crash(folder, tmp_path / f"{len(deaths)}-{when}"))
        copying = False

    def watch(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def step(*given: object, **named: object) -> object:
            if copying:
                return real(*given, **named)
            die(f"before-{name}")
            done = real(*given, **named)
            die(f"after-{name}")
            return done

        patch.setattr(owner, name, step)

    with monkeypatch.context() as patch:
        for owner, name in [(os, "utime"), (keeping, "_equal"), (keeping, "sync_folder")]:
            watch(owner, name)
        for name in ("rename", "unlink"):
            watch(Path, name)
        compress_sealed(folder)
    assert len(deaths) == 2 * 2 * 5
    for copy in deaths:
        for half in copy.glob("*.new"):
            os.truncate(half, half.stat().st_size // 2)
        assert payloads(read(copy)) == expected, copy.name
        compress_sealed(copy)
        assert payloads(read(copy)) == expected, copy.name
        names = sorted(path.name for path in copy.iterdir() if path.name[0] == "0" or path.suffix == ".new")
        assert names == ["0000000001.seg.zst", "0000000002.seg.zst", "0000000003.seg"], copy.name


def test_with_both_forms_there_a_bad_compressed_one_is_made_again(tmp_path: Path) -> None:
    expected = three_segments(tmp_path)
    packed(tmp_path, 1).write_bytes(b"not zstd at all")
    assert payloads(read(tmp_path)) == expected
    compress_sealed(tmp_path)
    assert payloads(read(tmp_path)) == expected and not plain(tmp_path, 1).exists()


def test_a_copy_that_is_not_equal_never_replaces_the_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = three_segments(tmp_path)
    real = keeping._write_compressed

    def bad_memory(source: Path, target: Path) -> None:
        real(source.with_name("0000000003.seg"), target)

    monkeypatch.setattr(keeping, "_write_compressed", bad_memory)
    with pytest.raises(JournalError, match="something else than it holds"):
        compress_sealed(tmp_path)
    assert payloads(read(tmp_path)) == expected and not list(tmp_path.glob("*.zst*"))


def test_without_space_compression_fails_with_a_hint_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = three_segments(tmp_path)

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeping, "_write_compressed", full)
    with pytest.raises(JournalError, match="No space left") as caught:
        compress_sealed(tmp_path)
    assert caught.value.hint and payloads(read(tmp_path)) == expected and not list(tmp_path.glob("*.zst*"))


def test_a_damaged_compressed_segment_is_told_and_what_is_behind_it_read(tmp_path: Path) -> None:
    expected = three_segments(tmp_path / "j")
    compress_sealed(tmp_path / "j")
    good = packed(tmp_path / "j", 2).read_bytes()
    for damaged in (good[: len(good) // 2], good[:-5] + b"\0" * 5, b"", b"garbage" * 10):
        copy = crash(tmp_path / "j", tmp_path / "copy")
        packed(copy, 2).write_bytes(damaged)
        found = read(copy)
        got = payloads(found)
        assert got[:30] == expected[:30] and got[-30:] == expected[-30:]
        assert got == [payload for payload in expected if payload in set(got)]
        assert [record.kind for _, record in found].count(Kind.GAP) >= 1 or got == expected
        assert not verify(copy).good


def test_only_one_keeper_works_in_a_folder(tmp_path: Path) -> None:
    three_segments(tmp_path)
    descriptor = lock(tmp_path / keeper.KEEPER_LOCK)
    with pytest.raises(JournalLocked):
        compress_sealed(tmp_path)
    os.close(descriptor)
    assert len(compress_sealed(tmp_path)) == 2


def test_compression_stops_between_segments_when_it_is_told_to(tmp_path: Path) -> None:
    three_segments(tmp_path)
    answers = iter([False, True])
    assert [one.number for one in compress_sealed(tmp_path, stop=lambda: next(answers))] == [1]


def test_only_what_lies_wholly_before_the_ingest_is_removed(tmp_path: Path) -> None:
    three_segments(tmp_path / "j")
    compress_sealed(tmp_path / "j")
    ends = {position.segment: position for position, _ in read(tmp_path / "j")}
    cases = [
        (Position(0, 0), []),
        (Position(1, 64), []),
        (ends[1], []),
        (Position(2, 64), [1]),
        (ends[2], [1]),
        (Position(3, 64), [1, 2]),
        (ends[3], [1, 2]),
        (Position(9, 64), [1, 2]),
    ]
    for ingested, gone in cases:
        for limits in ({"keep_days": 0.0, "keep_bytes": 1}, {"keep_days": 1.0, "keep_bytes": 0}):
            copy = crash(tmp_path / "j", tmp_path / "copy")
            now = max(record.wall_ns for _, record in read(copy)) + 2 * DAY_NS
            removed = remove_old(
                copy, keep_days=limits["keep_days"], keep_bytes=int(limits["keep_bytes"]),
                ingested_up_to=ingested, now_ns=now,
            )  # fmt: skip
            assert [one.number for one in removed] == gone
            assert {position.segment for position, _ in read(copy)} == {1, 2, 3} - set(gone)


def test_without_limits_nothing_is_removed(tmp_path: Path) -> None:
    three_segments(tmp_path)
    far = 10**6 * DAY_NS
    assert remove_old(tmp_path, keep_days=0, keep_bytes=0, ingested_up_to=Position(9, 0), now_ns=far) == []


def test_a_segment_is_as_old_as_the_beginning_of_the_next(tmp_path: Path) -> None:
    three_segments(tmp_path)
    with JournalReader(tmp_path) as reader:
        made = {p.segment: r.wall_ns for p, r in reader.follow() if r.kind == Kind.BEGAN}
    just, limit = made[2] + 30 * DAY_NS, Position(3, 64)
    assert remove_old(tmp_path, keep_days=30, keep_bytes=0, ingested_up_to=limit, now_ns=just - DAY_NS // 100) == []
    removed = remove_old(tmp_path, keep_days=30, keep_bytes=0, ingested_up_to=limit, now_ns=just)
    assert [(one.number, one.reason) for one in removed] in (
        [(1, "older than 30 days")],
        [(n, "older than 30 days") for n in (1, 2)],
    )


def test_by_size_the_oldest_go_until_the_rest_fits(tmp_path: Path) -> None:
    three_segments(tmp_path)
    size = plain(tmp_path, 1).stat().st_size
    removed = remove_old(tmp_path, keep_days=0, keep_bytes=size * 2 + 100, ingested_up_to=Position(3, 64))
    assert [(one.number, one.stored_bytes, one.reason) for one in removed] == [(1, size, "over 0.0 GB")]
    assert remove_old(tmp_path, keep_days=0, keep_bytes=size * 2 + 100, ingested_up_to=Position(3, 64)) == []


def test_a_writer_and_a_keeper_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocproxy.journal.writer.MIB", 2000)
    writer = JournalWriter.open(tmp_path, SETTINGS)
    with JournalReader(tmp_path) as reader:
        position, got, expected = None, [], []
        for number in range(300):
            expected.append(b"%d " % number * 100)
            writer.append(Kind.OPENED, 1, expected[-1])
            assert writer.commit()
            if number % 20 == 0:
                compress_sealed(tmp_path)
                news = list(reader.follow(position))
                position = news[-1][0]
                got += payloads(news)
                remove_old(tmp_path, keep_days=0, keep_bytes=1, ingested_up_to=position)
        got += payloads(reader.follow(position))
    writer.close()
    assert got == expected
