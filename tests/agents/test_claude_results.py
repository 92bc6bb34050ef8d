"""Claude Code's own wordings of results, as they were on the wire."""

from __future__ import annotations

import pytest

from ocproxy.agents.base import Answer
from ocproxy.agents.claude_code import AGENT
from ocproxy.model import Status, ToolResult, ToolUse

REMINDER = "\n\n<system-reminder>\n<total_tokens>14983591 tokens left</total_tokens>\n</system-reminder>"
INTERRUPTED = "[Request interrupted by user for tool use]"


def _answer(name: str, text: str, is_error: bool | None = None, **given: object) -> Answer:
    return AGENT.answer(ToolUse("t", name, dict(given)), ToolResult("t", text, is_error))


@pytest.mark.parametrize("tail", ["", REMINDER])
def test_a_command_that_failed_has_its_exit_code_and_output_size(tail: str) -> None:
    answer = _answer("Bash", "Exit code 3\nto-stdout\nto-stderr" + tail, True)
    assert (answer.status, answer.exit_code, answer.output_bytes) == (Status.FAILED, 3, 19)


def test_a_command_that_was_not_flagged_left_with_code_zero() -> None:
    assert _answer("Bash", "é", False) == Answer(Status.APPLIED, exit_code=0, output_bytes=2)
    assert _answer("Bash", "(Bash completed with no output)", False).output_bytes == 0
    assert _answer("Bash", "Exit code 3 is what the log says", False).exit_code == 0
    assert _answer("Bash", INTERRUPTED, False).status is Status.APPLIED


def test_a_command_that_writes_like_a_failure_and_was_not_flagged_left_with_code_zero() -> None:
    given = _answer("Bash", "Exit code 9\n", is_error=False)
    assert (given.status, given.exit_code) == (Status.APPLIED, 0)


WRITTEN_TO = "Output is being written to: /tmp/claude-1000/x.output."
MOVED = "and was moved to the background (ID: bjkxotc0j)."


@pytest.mark.parametrize(
    "text",
    [
        f"Command running in background with ID: bw8tk2upg. {WRITTEN_TO} You will be notified when it completes.",
        "Command running in background with ID: dfd37b",
        f"Command was manually backgrounded by user with ID: bw8tk2upg. {WRITTEN_TO}",
        f"Command was moved to the background (ID: b1) after running for 12s. {WRITTEN_TO}",
        f"partial\nCommand did not complete within its 1s timeout {MOVED} {WRITTEN_TO} It is running now: …",
    ],
)
def test_a_command_in_the_background_has_no_exit_code_but_an_id(text: str) -> None:
    for tail in ("", REMINDER):
        answer = _answer("Bash", text + tail, False)
        assert (answer.status, answer.exit_code, answer.output_bytes) == (Status.APPLIED, None, None)
        assert answer.background and answer.background in text


@pytest.mark.parametrize(
    "text",
    [
        f"log:\nCommand running in background with ID: b1. {WRITTEN_TO}",
        f"Command did not complete within its 1s timeout {MOVED} {WRITTEN_TO}\nis what a log says",
        f"grep: Command did not complete within its 1s timeout {MOVED} {WRITTEN_TO}",
        "Command running in background with ID: dfd37b\ndone",
        "Command did not complete within its own timeout and was moved to the background (ID: x)",
    ],
)
def test_a_command_that_prints_such_words_left_with_code_zero(text: str) -> None:
    answer = _answer("Bash", text, False)
    assert (answer.exit_code, answer.background) == (0, None)


@pytest.mark.parametrize(
    "text",
    [
        "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, …",
        "The user doesn't want to take this action right now. STOP what you are doing",
        INTERRUPTED,
        "Permission to use Bash with command rm -rf / has been denied.",
        "Permission for this action was denied by the Claude Code auto mode classifier. Reason: x",
        "Claude requested permissions to write to /x, but you haven't granted it yet.",
        "Auto mode could not evaluate this action and is blocking it for safety",
        "Auto mode is unavailable: its safety check does not run for this session, so Bash was not run. Other …",
        "PreToolUse:Write hook error: [echo 'not in this house' >&2; exit 2]: not in this house",
    ],
)
@pytest.mark.parametrize("tool", ["Bash", "Write", "Edit"])
def test_what_user_or_rules_refused_is_rejected(tool: str, text: str) -> None:
    answer = _answer(tool, text, True)
    assert (answer.status, answer.exit_code) == (Status.REJECTED, None)
    assert answer.note and text.startswith(answer.note)


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("Read", "File is in a directory that is denied by your permission settings."),
        ("Edit", "File is covered by a Read deny rule in your permission settings and cannot be edited."),
        (
            "Write",
            "Error: No such tool available: Write. Write is disabled for this session, in subagents as well as here.",
        ),
    ],
)
def test_what_the_settings_forbid_is_rejected_though_it_looks_like_an_error(tool: str, text: str) -> None:
    answer = _answer(tool, f"<tool_use_error>{text}</tool_use_error>", True)
    assert answer == Answer(Status.REJECTED, note=text)


ASKED = "rm in '/w/input.txt' needs approval. The path is inside the working directories for this session ('/w'), and …"


@pytest.mark.parametrize(
    "text",
    [
        ASKED,
        "This Bash command contains multiple operations. The following part requires approval: touch a",
        "cd in '/' was blocked. For security, Claude Code may only change directories to the allowed working …",
    ],
)
def test_a_command_that_nobody_approved_is_rejected(text: str) -> None:
    assert _answer("Bash", text, True) == Answer(Status.REJECTED, note=text)


def test_a_command_that_says_so_itself_has_failed() -> None:
    answer = _answer("Bash", f"Exit code 1\n{ASKED}", True)
    assert (answer.status, answer.exit_code) == (Status.FAILED, 1)


def test_a_tool_that_is_not_there_has_failed() -> None:
    text = "<tool_use_error>Error: No such tool available: Frobnicate</tool_use_error>"
    assert _answer("Frobnicate", text, True).status is Status.FAILED


def test_an_error_is_told_without_its_frame() -> None:
    text = "<tool_use_error>String to replace not found in file.\nString: x</tool_use_error>"
    assert _answer("Edit", text, True) == Answer(Status.FAILED, note="String to replace not found in file.")


def test_a_missing_file_is_known_to_be_missing() -> None:
    assert _answer("Read", "File does not exist. Note: your current working directory is /w." + REMINDER, True).missing


def test_a_result_that_got_lost_is_unknown() -> None:
    assert _answer("Write", "[Tool result missing due to internal error]", True).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("text", "created"),
    [
        ("File created successfully at: /w/a (file state is current in your context)", True),
        ("The file /w/a has been updated successfully. (file state is current in your context)", False),
        ("The file /w/a has been updated. Here's the result of running `cat -n` on a snippet of it:\n     1→x", False),
        ("Applied 2 edits to /w/a:", None),
    ],
)
def test_a_write_says_whether_the_file_is_new(text: str, created: bool | None) -> None:
    answer = _answer("Write", text)
    assert (answer.status, answer.created, answer.altered, answer.stale) == (Status.APPLIED, created, False, False)


def test_what_the_user_changed_and_what_was_stale_is_said() -> None:
    text = "The file /w/a has been updated.  The user modified your proposed changes before accepting them. ."
    assert _answer("Edit", text).altered
    note = " (note: the file had been modified on disk since you last read it — the edit applied cleanly, but …)"
    assert _answer("Edit", "The file /w/a has been updated successfully." + note).stale


def test_a_settings_file_that_awaits_approval_was_not_changed() -> None:
    assert _answer("Edit", "Not applied: /w/.claude/settings.json was NOT modified. …").status is Status.REJECTED


@pytest.mark.parametrize("text", ["1\talpha\n2\t\n3\tgamma\n4\t", "1\talpha\n2\t\n3\tgamma\n4" + REMINDER])
def test_the_last_empty_number_is_the_final_newline(text: str) -> None:
    answer = _answer("Read", text)
    assert answer.lines == ((1, "alpha"), (2, ""), (3, "gamma"))
    assert (answer.whole, answer.final_newline) == (True, True)


def test_a_file_without_final_newline_ends_in_its_last_line() -> None:
    answer = _answer("Read", "1\tx\n2\ty")
    assert (answer.lines, answer.whole, answer.final_newline) == (((1, "x"), (2, "y")), True, False)


def test_older_versions_have_arrows_and_padding() -> None:
    answer = _answer("Read", "     1→a\tb\n     2→c→d\n     3→")
    assert (answer.lines, answer.whole, answer.final_newline) == (((1, "a\tb"), (2, "c→d")), True, True)


def test_odd_characters_are_no_line_ends() -> None:
    answer = _answer("Read", "1\tf\x0cz\n2\tl\u2028q\rw\n3\t")
    assert answer.lines == ((1, "f\x0cz"), (2, "l\u2028q\rw"))


def test_an_empty_file_is_wholly_known() -> None:
    text = "<system-reminder>Warning: the file exists but the contents are empty.</system-reminder>"
    for tail in ("", REMINDER):
        answer = _answer("Read", text + tail)
        assert (answer.lines, answer.whole) == ((), True)


def test_a_page_that_is_full_does_not_say_what_follows() -> None:
    answer = _answer("Read", "5\tx\n6\ty", offset=5, limit=2)
    assert (answer.lines, answer.whole, answer.final_newline) == (((5, "x"), (6, "y")), False, None)
    assert _answer("Read", "5\tx\n6\t", offset=5, limit=2).lines == ((5, "x"), (6, ""))


def test_a_page_that_is_not_full_ends_the_file() -> None:
    answer = _answer("Read", "18\tx\n19\ty\n20\t", offset=18, limit=10)
    assert (answer.lines, answer.whole, answer.final_newline) == (((18, "x"), (19, "y")), False, True)


def test_a_page_behind_the_end_shows_nothing() -> None:
    text = "<system-reminder>Warning: the file exists but is shorter than the provided offset (30). …</system-reminder>"
    answer = _answer("Read", text, offset=30)
    assert (answer.status, answer.lines) == (Status.APPLIED, None)


def test_a_cut_view_and_a_note_behind_the_lines_are_no_content() -> None:
    cut = _answer("Read", "[Truncated: PARTIAL view — showing lines 1-2 of 9]\n1\tx\n2\ty")
    assert (cut.lines, cut.whole) == (((1, "x"), (2, "y")), False)
    latin = _answer("Read", "1\tx\n2\t\n\n[This file is not valid UTF-8: …]")
    assert (latin.lines, latin.final_newline) == (((1, "x"),), True)
