"""What went wrong is kept, bounded, and readable whatever happened to the file."""

from __future__ import annotations

import stat
from pathlib import Path

from ocproxy import incidents
from ocproxy.incidents import Diary


def test_incidents_come_back_in_order(tmp_path: Path) -> None:
    for what in ("the first", "the sécond", "a third\nwith two lines"):
        assert Diary(tmp_path).note(what) is None
    assert [one.what for one in incidents.recent(tmp_path)] == ["the first", "the sécond", "a third\nwith two lines"]
    assert stat.S_IMODE((tmp_path / incidents.FILE).stat().st_mode) == 0o600


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for number in range(incidents.KEPT * 2):
        Diary(tmp_path).note(str(number))
    found = incidents.recent(tmp_path)
    assert len(found) == incidents.KEPT
    assert found[-1].what == str(incidents.KEPT * 2 - 1)
    assert len((tmp_path / incidents.FILE).read_text().splitlines()) <= incidents.KEPT * 3


def test_a_line_that_is_not_whole_costs_that_line(tmp_path: Path) -> None:
    Diary(tmp_path).note("before")
    with (tmp_path / incidents.FILE).open("ab") as file:
        file.write(b'[]\n{"at": "2026\xff')
    Diary(tmp_path).note("behind")
    assert [one.what for one in incidents.recent(tmp_path)] == ["before", "behind"]


def test_what_cannot_be_written_is_said_and_written_later(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "later")
    said = diary.note("the disk is full")
    assert said is not None and "cannot be written" in said
    (tmp_path / "later").mkdir()
    assert diary.catch_up() is None
    diary.note("there is space again")
    assert [one.what for one in incidents.recent(tmp_path / "later")] == ["the disk is full", "there is space again"]


def test_without_incidents_there_are_none(tmp_path: Path) -> None:
    assert incidents.recent(tmp_path) == []
