"""How things look: hostile text is inert, ids are short and unique, sizes and times are for people."""

from __future__ import annotations

import io
import os
import re
import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ocproxy.cli import terminal
from ocproxy.cli.terminal import (
    SHORT_ID,
    brief,
    changed_lines,
    one_line,
    paint_diff,
    plain,
    print_table,
    relative,
    shorten,
    tail,
)

HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/red]\r\u202egnp.exe\x9b31m\x00\x7f"


def screen(*, terminal: bool, width: int = 100) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        markup=False,
        emoji=False,
        highlight=False,
        width=width,
        color_system="standard" if terminal else None,
    )


def seen(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_a_terminal_obeys_becomes_visible() -> None:
    assert plain(HOSTILE) == ("\\x1b]0;owned\\x07\\x1b[2J[red]x[/red]\\r\\u202egnp.exe\\x9b31m\\x00\\x7f")


def test_ordinary_text_stays_what_it_is() -> None:
    text = "naïve 日本語 👩‍💻\n\tif x[0] == '[bold]': :smile:"
    assert plain(text) == text


@given(st.text())
def test_no_text_gets_a_control_character_through(text: str) -> None:
    harmless = plain(text)
    assert not [char for char in harmless if (ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160]
    harmless.encode("utf-8")  # lone surrogates cannot reach the terminal either
    assert "\n" not in one_line(text)


def test_a_lone_surrogate_is_shown_as_its_number() -> None:
    assert plain("a\ud800b") == "a\\ud800b"


def test_markup_in_a_table_is_text() -> None:
    out = screen(terminal=True)
    print_table(out, ("A", "B#"), [(one_line("[bold red]no[/]"), one_line(":smile:"))])
    assert "[bold red]no[/]" in seen(out) and ":smile:" in seen(out)


def test_a_table_is_lines_with_tabs_when_piped() -> None:
    out = screen(terminal=False, width=20)
    long = "x" * 300
    print_table(out, ("A", "B#"), [(long, "1"), ("y", "2")])
    assert seen(out) == f"A\tB\n{long}\t1\ny\t2\n"


def test_short_ids_are_unique_prefixes() -> None:
    ids = ["aaaaaaaaaa01", "aaaaaaaaaa02", "bbbbbbbbbbbb", "aaaaaaaaaa02"]
    short = shorten(ids)
    assert short == {"aaaaaaaaaa01": "aaaaaaaaaa01", "aaaaaaaaaa02": "aaaaaaaaaa02", "bbbbbbbbbbbb": "bbbbbbbb"}


@given(st.sets(st.text("ab", min_size=20, max_size=20), max_size=30))
def test_a_short_id_names_one_thing_only(ids: set[str]) -> None:
    short = shorten(ids)
    assert set(short) == ids
    for one, prefix in short.items():
        assert len(prefix) >= SHORT_ID and [other for other in ids if other.startswith(prefix)] == [one]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (5_000_000_000, "5.0 GB"), (10**13, "10.0 TB")],
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert terminal.size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, ""), (0, "0"), (9999, "9999"), (12_345, "12.3k"), (3_100_000, "3.1M")]
)
def test_amounts_are_for_people_and_unknown_is_not_zero(count: int | None, text: str) -> None:
    assert terminal.amount(count) == text


def test_times_are_in_the_users_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert terminal.clock("2026-11-21T10:00:00+00:00") == "2026-11-21 15:30:00"
        assert terminal.clock("2026-11-21T10:00:00+00:00", date=False) == "15:30:00"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert os.environ.get("TZ") == before
    assert terminal.clock(None) == "" and terminal.clock("no\x1btime") == "no\\x1btime"


@pytest.mark.parametrize(
    ("path", "workdir", "shown"),
    [
        ("/w/a/b.py", "/w", "a/b.py"),
        ("/w/a/b.py", "/w/", "a/b.py"),
        ("/world/b.py", "/w", "/world/b.py"),
        ("/w", "/w", "/w"),
        ("a.py", "", "a.py"),
        (None, "/w", ""),
    ],
)
def test_paths_are_seen_from_the_working_folder(path: str | None, workdir: str, shown: str) -> None:
    assert relative(path, workdir) == shown


def test_changed_lines_of_a_diff() -> None:
    assert changed_lines("--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@\n-old\n+new\n+more\n same\n") == "+2 -1"
    assert changed_lines(None) == ""


def test_a_painted_diff_is_the_same_text_and_inert() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\x1b[2J\n"
    assert paint_diff(diff).plain == plain(diff)


def test_a_long_line_is_cut_with_a_mark() -> None:
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
    assert one_line("a\nb\tc") == "a ⏎ b c"


def test_free_columns_share_what_the_others_leave_and_those_stay_whole() -> None:
    out = screen(terminal=True, width=60)
    rows = [("03f4a1b2", "applied", "x" * 100, "y" * 5), ("13f4a1b2", "rejected", "short", "")]
    print_table(out, ("ID", "STATUS", "FILE~", "NOTE~"), rows)
    assert isinstance(out.file, io.StringIO)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue()).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[2].split() == ["03f4a1b2", "applied", "x" * 32 + "…", "yyyyy"]
    assert lines[3].split() == ["13f4a1b2", "rejected", "short"]


def test_a_brief_time_says_what_today_does_not() -> None:
    now = datetime.now().astimezone()
    assert brief(now.isoformat()) == f"{now:%H:%M:%S}"
    assert brief("2001-02-03T12:00:00+00:00")[:4] == "2001"
    assert brief(None) == ""


@pytest.mark.parametrize(("path", "end"), [("/home/me/src/app", "…/src/app"), ("/home/me", "/home/me"), ("", "")])
def test_long_folders_are_known_by_their_ends(path: str, end: str) -> None:
    assert tail(path) == end
