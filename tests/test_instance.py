"""One server a data folder: locks, the folder's mode, what a server tells of itself."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ocproxy import instance
from ocproxy.errors import ServerError
from ocproxy.instance import Lock, Running

RUNNING = Running(
    pid=4321,
    host="127.0.0.1",
    port=4141,
    workers=2,
    control_host="127.0.0.1",
    control_port=4999,
    started_at="2026-11-21T10:00:00+00:00",
    version="0.1.0",
)


def test_a_lock_is_held_by_one_and_free_again_after_release(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    assert not instance.held(path)
    with Lock.take(path) or pytest.fail("the lock was not free"):
        assert instance.held(path)
        assert Lock.take(path) is None
    assert not instance.held(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_death_of_the_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    code = f"""
import sys
from pathlib import Path
from ocproxy.instance import Lock
lock = Lock.take(Path({str(path)!r}))
print("held", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        (sys.executable, "-c", code), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert instance.held(path)
        holder.kill()
        holder.wait()
    assert not instance.held(path)


def test_a_server_is_found_while_its_lock_is_held_and_not_longer(tmp_path: Path) -> None:
    with instance.claim(tmp_path):
        assert instance.running(tmp_path) is None, "it has not said yet where it listens"
        instance.write(tmp_path, RUNNING)
        assert instance.running(tmp_path) == RUNNING
        assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600
    assert instance.running(tmp_path) is None, "what a killed server left is no server"


def test_a_second_claim_is_told_of_the_first(tmp_path: Path) -> None:
    with instance.claim(tmp_path):
        with pytest.raises(ServerError, match="is starting or stopping right now"):
            instance.claim(tmp_path)
        instance.write(tmp_path, RUNNING)
        with pytest.raises(ServerError, match=r"runs already, at http://127.0.0.1:4141 \(pid 4321\)") as error:
            instance.claim(tmp_path)
    assert "--data-dir" in (error.value.hint or "")


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\x00"])
def test_a_state_file_that_is_not_whole_is_as_good_as_none(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "server.json").write_bytes(rubbish)
    assert instance.read(tmp_path) is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4141"),
        ("0.0.0.0", "http://127.0.0.1:4141"),
        ("::", "http://[::1]:4141"),
        ("10.1.2.3", "http://10.1.2.3:4141"),
    ],
)
def test_the_url_is_one_that_can_be_connected_to(host: str, url: str) -> None:
    assert msgspec.structs.replace(RUNNING, host=host).url == url


def test_a_new_data_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    instance.prepare(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [None, "ocproxy.db", "server.lock"])
def test_a_folder_of_ours_that_is_open_is_closed(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / content).touch()
    tmp_path.chmod(0o755)
    instance.prepare(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_with_other_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    tmp_path.chmod(0o755)
    instance.prepare(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_data_folder_that_cannot_be_made_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="cannot be used") as error:
        instance.prepare(tmp_path / "file" / "data")
    assert "--data-dir" in (error.value.hint or "")
