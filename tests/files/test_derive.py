"""The ledger: statuses, certainty, what stays of a diff, and the session's one diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocproxy.agents.claude_code import AGENT
from ocproxy.agents.generic import AGENT as GENERIC
from ocproxy.files.derive import FileLedger
from ocproxy.model import EventType, FileEvent, Status, ToolResult, ToolUse, digest
from tests.agents.recorded import calls, history
from tests.files.claude_session import AT, ClaudeSession, check_oracle, git_apply, plant, tree


@pytest.fixture
def session(tmp_path: Path) -> ClaudeSession:
    return ClaudeSession(plant(tmp_path / "work", {"a.txt": "one\ntwo\nthree\n"}))


def _only(events: list[FileEvent]) -> FileEvent:
    assert len(events) == 1
    return events[0]


def test_a_use_proposes_and_its_first_result_settles() -> None:
    ledger = FileLedger("s", "/w", AGENT)
    use = ToolUse("t1", "Write", {"file_path": "/w/a", "content": "x\n"})
    proposed = _only(ledger.requested(use, "m", AT))
    assert (proposed.status, proposed.certainty, proposed.ordinal) == (Status.REQUESTED, "inferred", 0)
    assert proposed.id == digest("s", "t1", "0")
    assert ledger.requested(use, "m2", AT) == []
    settled = _only(ledger.answered(ToolResult("t1", "File created successfully at: /w/a"), AT))
    assert (settled.id, settled.status, settled.certainty) == (proposed.id, Status.APPLIED, "exact")
    assert settled.diff == "diff --git a/a b/a\nnew file mode 100644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\n"
    assert ledger.answered(ToolResult("t1", "again"), AT) == []
    assert ledger.answered(ToolResult("never asked", "x"), AT) == []


def test_a_use_that_broke_off_gives_nothing_and_may_come_whole_later() -> None:
    ledger = FileLedger("s", "/w", AGENT)
    assert ledger.requested(ToolUse("t1", "Bash", {}, complete=False, raw='{"comm'), "m", AT) == []
    assert len(ledger.requested(ToolUse("t1", "Bash", {"command": "ls"}), "m", AT)) == 1


def test_a_rejected_edit_keeps_its_proposal_and_changes_nothing(session: ClaudeSession) -> None:
    session.use("Read", file_path="a.txt")
    use = ToolUse("r", "Edit", {"file_path": "a.txt", "old_string": "two", "new_string": "2"})
    session.ledger.requested(use, "m", AT)
    text = "The user doesn't want to proceed with this tool use. The tool use was rejected"
    event = _only(session.ledger.answered(ToolResult("r", text, True), AT))
    assert (event.status, event.note) == (Status.REJECTED, text)
    assert event.diff and "-two\n+2\n" in event.diff
    assert session.ledger.session_diff().text == ""


def test_a_write_of_unknown_outcome_makes_the_file_unknown() -> None:
    ledger = FileLedger("s", "/w", GENERIC)
    ledger.requested(ToolUse("t1", "write_file", {"path": "a", "content": "x\n"}), "m", AT)
    event = _only(ledger.answered(ToolResult("t1", "hm"), AT))
    assert (event.status, event.certainty) == (Status.UNKNOWN, "inferred")
    assert ledger.session_diff().notes == ("a: not in this diff: write of unknown outcome",)


def test_an_edit_of_unseen_content_is_inferred_until_a_read_shows_it(session: ClaudeSession) -> None:
    event = _only(session.use("Edit", file_path="a.txt", old_string="two", new_string="2"))
    assert (event.status, event.certainty) == (Status.APPLIED, "inferred")
    assert event.note == "the content before was not seen"
    assert len(session.ledger.session_diff().notes) == 1
    session.use("Read", file_path="a.txt")
    found = session.ledger.session_diff()
    assert (found.notes, "-two\n+2\n" in found.text) == ((), True)


def test_a_page_gives_true_line_numbers(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(1, 101))
    start = {"long.txt": text}
    session = ClaudeSession(plant(tmp_path / "work", start))
    session.use("Read", file_path="long.txt", offset=40, limit=20)
    event = _only(session.use("Edit", file_path="long.txt", old_string="line 50\n", new_string="fifty\nand more\n"))
    assert event.diff and "@@ -47,7 +47,8 @@\n line 47\n" in event.diff
    session.use("Read", file_path="long.txt", offset=90, limit=6)
    event = _only(session.use("Edit", file_path="long.txt", old_string="line 92", new_string="ninety-two"))
    assert event.diff and event.diff.endswith(" line 93\n")  # of a full page's last line the newline is not sure
    check_oracle(session, start, tmp_path)


def test_later_edits_are_placed_on_the_content_without_a_commands_change(tmp_path: Path) -> None:
    start = {"a.txt": "one\ntwo\nthree\nfour\n"}
    session = ClaudeSession(plant(tmp_path / "work", start))
    session.use("Read", file_path="a.txt")
    session.use("Bash", command="sed -i 's/one/ONE/' a.txt")
    session.use("Read", file_path="a.txt")
    event = _only(session.use("Edit", file_path="a.txt", old_string="three", new_string="3"))
    assert event.diff and " ONE\n two\n-three\n+3\n" in event.diff
    found = session.ledger.session_diff()
    copy = plant(tmp_path / "copy", start)
    git_apply(copy, found.text)
    assert (found.notes, tree(copy)["a.txt"]) == ((), b"one\ntwo\n3\nfour\n")


def test_a_file_that_a_command_made_is_left_out_and_told(session: ClaudeSession) -> None:
    session.use("Bash", command="printf 'x\\n' > made.txt")
    session.use("Read", file_path="made.txt")
    session.use("Edit", file_path="made.txt", old_string="x", new_string="y")
    found = session.ledger.session_diff()
    assert found.text == ""
    assert [note.split(":")[0] for note in found.notes] == ["made.txt"]


def test_changes_outside_the_working_folder_are_kept_apart(tmp_path: Path) -> None:
    session = ClaudeSession(plant(tmp_path / "work", {"x": ""}))
    session.use("Write", file_path=str(tmp_path / "else.txt"), content="x\n")
    found = session.ledger.session_diff()
    assert found.text == "" and f"+++ b{tmp_path}/else.txt" in found.outside
    assert len(found.notes) == 1


def test_a_moved_and_edited_file_is_one_rename_and_its_name_can_be_taken_again(tmp_path: Path) -> None:
    start = {"a.txt": "1\n2\n3\n"}
    session = ClaudeSession(plant(tmp_path / "work", start))
    session.use("Read", file_path="a.txt")
    session.ledger.requested(ToolUse("m", "mcp__fs__move_file", {"source": "a.txt", "destination": "b.txt"}), "m", AT)
    (session.folder / "a.txt").rename(session.folder / "b.txt")
    moved = _only(session.ledger.answered(ToolResult("m", "Successfully moved a.txt to b.txt"), AT))
    assert (moved.event_type, moved.status, moved.destination) == (EventType.MOVE, Status.APPLIED, "b.txt")
    session.events[moved.id] = moved
    session.shown.clear()
    session.count += 1
    for use in (ToolUse("e", "Edit", {"file_path": "b.txt", "old_string": "2", "new_string": "two"}),):
        session.ledger.requested(use, "m", AT)
        (event,) = session.ledger.answered(session._run(use), AT)
        session.events[event.id] = event
    session.use("Write", file_path="a.txt", content="again\n")
    check_oracle(session, start, tmp_path)
    assert "rename from a.txt\nrename to b.txt\n" in session.ledger.session_diff().text


def test_a_patch_writes_edits_moves_and_deletes(tmp_path: Path) -> None:
    ledger = FileLedger("s", "/w", GENERIC)
    for name, content in (("a", "1\n2\n3\n"), ("old", "x\n")):
        ledger.requested(ToolUse(name, "write_file", {"path": name, "content": content}), "m", AT)
        ledger.answered(ToolResult(name, "created successfully", False), AT)
    patch = (
        "*** Begin Patch\n*** Update File: a\n*** Move to: b\n@@\n 1\n-2\n+two\n*** Delete File: old\n"
        "*** Add File: c\n+c\n*** End Patch"
    )
    ledger.requested(ToolUse("p", "apply_patch", {"input": patch}), "m", AT)
    events = ledger.answered(ToolResult("p", "Success. Updated the following files:", False), AT)
    assert [event.event_type.value for event in events] == ["edit", "move", "delete", "write"]
    assert [event.ordinal for event in events] == [2, 3, 4, 5]
    found = ledger.session_diff()
    assert "+++ b/b\n@@ -0,0 +1,3 @@\n+1\n+two\n+3\n" in found.text
    assert "old" not in found.text
    assert "\n+c\n" in found.text


def test_a_write_that_does_not_say_so_is_taken_for_a_new_file_and_told() -> None:
    ledger = FileLedger("s", "/w", GENERIC)
    ledger.requested(ToolUse("t1", "write_file", {"path": "a", "content": "x\n"}), "m", AT)
    event = _only(ledger.answered(ToolResult("t1", "ok", False), AT))
    assert (event.status, event.certainty) == (Status.APPLIED, "inferred")
    found = ledger.session_diff()
    assert "new file mode" in found.text
    assert found.notes == ("a: taken for a new file: nothing says whether it was there before",)


def test_names_with_odd_characters_are_quoted_as_git_does(tmp_path: Path) -> None:
    start = {'q"uo\\te.txt': "1\n", "ünï cødé.txt": "1\n", "a b.txt": "1\n"}
    session = ClaudeSession(plant(tmp_path / "work", start))
    for name in start:
        session.use("Read", file_path=name)
        session.use("Edit", file_path=name, old_string="1", new_string="2")
    text = session.ledger.session_diff().text
    assert '--- "a/q\\"uo\\\\te.txt"\n' in text
    assert '--- "a/\\303\\274n\\303\\257 c\\303\\270d\\303\\251.txt"\n' in text
    assert "--- a/a b.txt\t\n" in text
    check_oracle(session, start, tmp_path)


@pytest.mark.parametrize("layout", ["newer_layout", "older_layout"])
def test_a_real_run_gives_each_event_once_with_its_status(layout: str) -> None:
    ledger = FileLedger("s", "/home/user/project", AGENT)
    told: dict[int, FileEvent] = {}
    settled = 0
    for message in (message for call in calls(layout) for message in history(call)):
        for part in message.parts:
            if isinstance(part, ToolUse):
                told |= {event.ordinal: event for event in ledger.requested(part, "m", AT)}
            elif isinstance(part, ToolResult):
                answered = ledger.answered(part, AT)
                settled += len(answered)
                told |= {event.ordinal: event for event in answered}
    shown = [(event.tool_name, event.status.value, event.exit_code) for _, event in sorted(told.items())]
    assert shown == [
        ("Read", "applied", None),
        ("Bash", "applied", 0),
        ("Write", "applied", None),
        ("Edit", "applied", None),
        ("Edit", "failed", None),
        ("Bash", "applied", 0),
        ("Bash", "failed", 3),
        ("Read", "applied", None),
        ("Read", "applied", None),
        ("Bash", "applied", 0),
        ("Edit", "applied", None),
        ("Write", "applied", None),
        ("Read", "failed", None),
        ("Read", "applied", None),
        ("Write", "applied", None),
    ]
    assert settled == len(shown)
    edited = told[3].diff
    assert edited and edited.endswith("@@ -1,3 +1,3 @@\n alpha\n-beta\n+BETA edited\n gamma\n")


def test_a_page_that_shows_what_cannot_be_there_ends_what_was_known(tmp_path: Path) -> None:
    session = ClaudeSession(plant(tmp_path / "work", {"a.txt": ""}))
    session.use("Read", file_path="a.txt")
    session.use("Bash", command="echo new >> a.txt")
    session.use("Read", file_path="a.txt", limit=1)
    session.shown.clear()  # a version that takes the page for a read of the whole
    event = _only(session.use("Write", file_path="a.txt", content="x\n"))
    assert (event.status, event.certainty) == (Status.APPLIED, "inferred")
