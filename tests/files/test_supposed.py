"""Files that the tools of home-made agents show as bare text: what counts of it, and what is told by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocproxy.agents.generic import AGENT
from ocproxy.files.derive import FileLedger
from ocproxy.model import FileEvent, Status, ToolResult, ToolUse
from tests.files.claude_session import AT, git_apply, plant, tree

TEXT = "one\ntwo\nthree"


class Session:
    def __init__(self) -> None:
        self.ledger, self.count = FileLedger("s", "/w", AGENT), 0

    def do(self, name: str, result: str, **given: object) -> FileEvent:
        self.count += 1
        self.ledger.requested(ToolUse(f"t{self.count}", name, given), "m", AT)
        (event,) = self.ledger.answered(ToolResult(f"t{self.count}", result), AT)
        return event

    def edit(self, old: str, new: str) -> FileEvent:
        return self.do("edit_file", "Edited a.", path="/w/a", old_string=old, new_string=new)


def test_an_edit_that_took_effect_shows_that_the_text_was_the_file(tmp_path: Path) -> None:
    session, folder = Session(), plant(tmp_path / "w", {"a": TEXT})
    read = session.do("read_file", TEXT, path="/w/a")
    assert (read.status, read.certainty) == (Status.UNKNOWN, "exact"), "whether it is the file, nothing says yet"
    for old, new in (("two", "2\n2"), ("three", "3")):
        event = session.edit(old, new)
        assert (event.status, event.certainty) == (Status.APPLIED, "inferred")
        assert event.note and event.note.startswith("by a read whose result does not say")
        git_apply(folder, event.diff or "")
    assert tree(folder) == {"a": b"one\n2\n2\n3"}


def test_a_text_that_the_edit_does_not_fit_says_nothing() -> None:
    session = Session()
    session.do("read_file", "There is no such thing.", path="/w/a")
    assert session.edit("two", "2").note == "the content before was not seen"


@pytest.mark.parametrize(("shown", "is_new"), [("one\ntwo", False), ("one\n", False), ("No such file: a", True)])
def test_one_line_without_an_end_is_not_taken_for_what_a_write_replaced(shown: str, is_new: bool) -> None:
    session = Session()
    session.do("read_file", shown, path="/w/a")
    event = session.do("write_file", "Wrote a.", path="/w/a", content="new\n")
    assert ("new file mode" in (event.diff or "")) == is_new
    assert event.certainty == "inferred"


def test_what_was_written_is_known_whatever_a_read_showed_before() -> None:
    session = Session()
    session.do("read_file", TEXT, path="/w/a")
    session.do("write_file", "Wrote a.", path="/w/a", content="one\ntwo\n")
    assert session.edit("two", "2").certainty == "exact"


def test_a_page_of_a_file_is_not_taken_for_the_whole() -> None:
    session = Session()
    session.do("read_file", TEXT, path="/w/a", offset=10, limit=3)
    assert session.edit("two", "2").note == "the content before was not seen"
