"""Who wrote a line: sessions, people and commands change one file in turns, and each line says itself who wrote it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from ocproxy.agents.claude_code import AGENT
from ocproxy.files.blame import Page, compare, pages
from ocproxy.files.witness import Sighting, Witness
from ocproxy.model import EventType, FileEvent, Status
from tests.files.claude_session import AT, ClaudeSession, plant

NAME = "a.txt"


class Team:
    """Sessions that work on one file, and what they saw and did, in the order in which it happened."""

    def __init__(self, folder: Path, content: str | None) -> None:
        self.folder = plant(folder, {} if content is None else {NAME: content})
        self.path = self.folder / NAME
        self.sightings: list[Sighting] = []
        self._members: dict[str, ClaudeSession] = {}

    def use(self, session: str, tool: str, **given: object) -> None:
        if session not in self._members:
            self._members[session] = ClaudeSession(self.folder)
            self._members[session].ledger = Witness(session, str(self.folder), AGENT)
        member = self._members[session]
        member.use(tool, **given)
        witness = member.ledger
        assert isinstance(witness, Witness)
        self.sightings += witness.sightings
        witness.sightings.clear()

    def read(self, session: str, **page: int) -> None:
        self.use(session, "Read", file_path=str(self.path), **page)

    def edit(self, session: str, old: str, new: str) -> None:
        self.use(session, "Edit", file_path=str(self.path), old_string=old, new_string=new)

    def write(self, session: str, content: str) -> None:
        self.use(session, "Write", file_path=str(self.path), content=content)

    def page(self, path: Path | None = None) -> Page:
        return pages(self.sightings).get(str(path or self.path), Page())

    def told(self, *, current: bool) -> list[str]:
        page = self.page()
        if current:
            compare(page, self.path.read_text())
        return told(page)


def told(page: Page) -> list[str]:
    """ "session one? text": of each line who wrote it, a ? where that is only likely, and its text."""
    lines = []
    for line in page.in_order():
        if line is None:
            lines.append("unseen")
            continue
        who = line.origin.event.session_id if line.origin.event else line.origin.by
        lines.append(f"{who}{'?' * line.origin.is_inferred}: {line.text.rstrip()}")
    return lines


def test_edits_of_two_sessions_are_theirs_and_the_rest_was_there_before(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", "a\nb\nc\nd\n")
    team.read("one")
    team.edit("one", "b\n", "B\nB2\n")
    team.read("two")
    team.edit("two", "d", "D")
    wanted = ["before: a", "one: B", "one: B2", "before: c", "two: D"]
    assert team.told(current=True) == wanted
    assert team.told(current=False) == wanted


def test_a_new_file_is_all_of_the_session_that_wrote_it_and_a_rewrite_keeps_what_was_the_same(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", None)
    team.write("one", "a\nb\nc\n")
    team.read("two")
    team.write("two", "a\nx\nc\n")
    assert team.told(current=False) == ["one: a", "two: x", "one: c"]


def test_what_nothing_recorded_wrote_is_from_outside_where_the_whole_was_known(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", "a\nb\n")
    team.read("one")
    team.edit("one", "b", "B")
    team.path.write_text("new\na\nB\nby hand\n")
    assert team.told(current=True) == ["outside: new", "before: a", "one: B", "outside: by hand"]
    team.read("two")
    team.edit("two", "by hand", "by two")
    assert team.told(current=True) == ["outside: new", "before: a", "one: B", "two: by two"]


def test_an_edit_of_unseen_content_is_found_by_its_text_and_only_likely(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", "a\nb\nc\n")
    team.edit("one", "b\n", "B\n")
    assert team.told(current=False) == []
    assert team.told(current=True) == ["unknown: a", "one?: B", "unknown: c"]


def test_a_line_that_nobody_saw_is_said_to_be_so(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", "".join(f"line {number}\n" for number in range(1, 9)))
    team.read("one", offset=3, limit=3)
    team.edit("one", "line 4", "LINE 4")
    assert team.told(current=False)[:4] == ["unseen", "unseen", "before: line 3", "one?: LINE 4"]
    assert team.told(current=True)[3:] == ["one?: LINE 4", *(f"before: line {number}" for number in (5, 6, 7, 8))]


def test_a_session_with_an_old_picture_changes_only_what_it_changed(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", "a\nb\nc\nd\ne\nf\ng\nh\ni\n")
    team.read("one")
    team.read("two")
    team.edit("two", "a\n", "A1\nA2\nA3\n")
    team.edit("one", "i", "I")
    wanted = ["two: A1", "two: A2", "two: A3", *(f"before: {letter}" for letter in "bcdefgh")]
    assert team.told(current=True)[:-1] == wanted
    assert team.told(current=True)[-1] in ("one: I", "one?: I")


def test_a_read_of_some_lines_says_nothing_of_the_others(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", "a\nb\nc\nd\n")
    team.read("one")
    team.edit("two", "a\n", "A\n")
    team.read("two")
    team.read("one", offset=3, limit=1)
    assert team.told(current=False)[0] == "two?: A"


def test_a_deleted_file_has_no_lines_and_one_made_anew_has_none_of_the_old(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", None)
    team.write("one", "a\n")
    gone = event(EventType.DELETE, "two")
    team.sightings.append(Sighting(AT, str(team.path), {}, 0, False, gone))
    assert (team.page().exists, team.page().remover) == (False, gone)
    team.path.unlink()
    team.write("three", "a\n")
    assert team.told(current=False) == ["three: a"]


def test_lines_go_with_a_file_that_is_moved(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", None)
    team.write("one", "a\n")
    target = str(team.folder / "b.txt")
    moved = event(EventType.MOVE, "two", destination=target)
    team.sightings.append(Sighting(AT, str(team.path), {}, 0, False, moved, target))
    assert told(team.page(team.folder / "b.txt")) == ["one: a"]
    assert team.page().remover == moved


def test_a_change_of_unknown_outcome_is_taken_as_likely_where_its_lines_are_found(tmp_path: Path) -> None:
    team = Team(tmp_path / "w", "a\n")
    team.read("one")
    diff = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1,2 @@\n a\n+b\n"
    maybe = msgspec.structs.replace(event(EventType.EDIT, "two"), status=Status.UNKNOWN, diff=diff)
    team.sightings.append(Sighting(AT, str(team.path), {}, None, None, maybe))
    assert team.told(current=True) == ["before: a"]
    assert team.page().notes()
    team.path.write_text("a\nb\n")
    assert team.told(current=True) == ["before: a", "two?: b"]


def event(event_type: EventType, session: str, destination: str | None = None) -> FileEvent:
    use = ("t", "Tool")
    row = FileEvent(f"e-{session}", session, "m", *use, event_type, 0, AT, AT, Status.APPLIED)
    return msgspec.structs.replace(row, destination=destination)


@pytest.mark.parametrize("seed", range(120))
def test_no_line_is_ever_said_to_be_of_somebody_who_did_not_write_it(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    team = Team(tmp_path / "w", "".join(f"before {number}\n" for number in range(dice.randint(0, 25))))
    counts: Counter[str] = Counter()
    for _ in range(dice.randint(1, 25)):
        play(team, dice, counts)
    for current in (True, False):
        for line in team.told(current=current):
            who, _, text = line.partition(": ")
            writer = text.split(" ")[0]
            if who in ("one", "two"):
                assert writer == who, (seed, line)
            elif writer in ("one", "two"):  # it may be lost, but is never said to be there from the beginning
                assert who in ("unknown", "outside") or who.endswith("?"), (seed, line)


@pytest.mark.parametrize("seed", range(60))
def test_of_sessions_that_read_before_they_change_every_line_is_known(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    team = Team(tmp_path / "w", "".join(f"before {number}\n" for number in range(dice.randint(1, 25))))
    counts: Counter[str] = Counter()
    for _ in range(dice.randint(1, 25)):
        session = dice.choice(("one", "two"))
        if dice.random() < 0.3:
            play(team, dice, counts, "outside")
        team.read(session)
        play(team, dice, counts, session)
    for line in team.told(current=True):
        who, _, text = line.partition(": ")
        assert who == text.split(" ")[0] or (who, text.split(" ")[0]) == ("before", "outside"), (seed, line)


def play(team: Team, dice: random.Random, counts: Counter[str], who: str = "") -> None:
    """One thing that somebody does. No two lines are alike."""
    who = who or dice.choice(("one", "one", "two", "two", "outside"))
    lines = team.path.read_text().splitlines(keepends=True)
    at = dice.randint(0, max(0, len(lines) - 1))
    old = lines[at : at + dice.randint(1, 3)]
    new = []
    for _ in range(dice.randint(0 if old else 1, 4)):
        counts[who] += 1
        new.append(f"{who} {counts[who]}\n")
    changed = lines[:at] + new + lines[at + len(old) :]
    if who == "outside":
        team.path.write_text("".join(changed))
        return
    kind = dice.choice(("edit", "edit", "edit", "write", "read", "page"))
    if kind == "read":
        team.read(who)
    elif kind == "page":
        team.read(who, offset=at + 1, limit=dice.randint(1, 8))
    elif kind == "edit" and old:
        team.edit(who, "".join(old), "".join(new))
    else:
        team.write(who, "".join(changed))
