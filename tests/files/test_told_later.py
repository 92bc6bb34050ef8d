"""What is told beside the results, in real runs: ends of background commands, where the shell stands, MCP reads.

The runs were recorded from Claude Code 2.1.329 and 2.0.50; what the disk held then is in the tests.
"""

from __future__ import annotations

from ocproxy.agents.claude_code import AGENT
from ocproxy.files.derive import FileLedger
from ocproxy.model import FileEvent, Message, Part, Text, ToolResult, ToolUse
from tests.agents.recorded import said
from tests.files.claude_session import AT

WORKDIR = "/home/user/project"
RAN = "ran in the background"
STOPPED = "ran in the background and was stopped"
RUNS = "runs in the background; its exit code is not in the result"
Shown = tuple[str | None, str, int | None, str | None]


def _play(messages: list[Message], ledger: FileLedger | None = None) -> list[FileEvent]:
    """The events of these messages as they are in the end, in their order."""
    ledger = ledger or FileLedger("s", WORKDIR, AGENT)
    told: dict[int, FileEvent] = {}
    for message in messages:
        told |= {event.ordinal: event for event in ledger.take(message.role, message.parts, "m", AT)}
    return [event for _, event in sorted(told.items())]


def _commands(messages: list[Message]) -> list[Shown]:
    events = [event for event in _play(messages) if event.command]
    return [(event.command, event.status.value, event.exit_code, event.note) for event in events]


def _talk(*parts: Part) -> list[Message]:
    """Each use in an answer, everything else from the user."""
    return [Message("assistant" if isinstance(part, ToolUse) else "user", (part,)) for part in parts]


def test_background_commands_get_their_exit_codes_from_notifications() -> None:
    assert _commands(said("background"))[:4] == [
        ("sleep 1; echo done one", "applied", 0, RAN),
        ("sleep 1; echo bad; exit 3", "failed", 3, RAN),
        ("sleep 100; echo never", "applied", 0, RAN),
        ("sleep 3; echo waited", "applied", 0, None),
    ]


def test_a_command_that_outran_its_time_gets_its_exit_code_too() -> None:
    found = {command: shown for command, *shown in _commands(said("background"))}
    assert found["echo part; sleep 4; echo after; exit 5"] == ["failed", 5, RAN]


def test_older_models_get_notifications_glued_to_results_and_names_may_hold_quotes() -> None:
    assert _commands(said("background_older_layout"))[:2] == [
        ("sleep 1; echo bad; exit 3", "failed", 3, RAN),
        ("sleep 100; echo never", "applied", 0, RAN),
    ]


def test_version_2_0_tells_when_it_is_asked() -> None:
    assert _commands(said("background_2_0"))[:3] == [
        ("sleep 1; echo done", "applied", 0, RAN),
        ("sleep 1; echo bad; exit 3", "failed", 3, RAN),
        ("sleep 100; echo never", "unknown", None, STOPPED),
    ]


def test_a_command_that_was_stopped_has_no_exit_code() -> None:
    assert ("sleep 100; echo never", "unknown", None, STOPPED) in _commands(said("background_stopped"))


def test_until_its_end_is_told_a_command_runs() -> None:
    started = said("background")[:5]
    assert [shown[1:] for shown in _commands(started)][:3] == [("applied", None, RUNS)] * 3


def _notification(task: str) -> str:
    return (
        f"<task-notification>\n<task-id>{task}</task-id>\n<status>failed</status>\n"
        '<summary>Background command "x" failed with exit code 7</summary>\n</task-notification>'
    )


def test_nobody_else_ends_a_command() -> None:
    start = _talk(
        ToolUse("t", "Bash", {"command": "server", "run_in_background": True}),
        ToolResult("t", "Command running in background with ID: b1"),
    )
    quoted = Text(f"Look at this: {_notification('b1')}")
    said_by_model = Message("assistant", (Text(_notification("b1")),))
    printed = _talk(ToolUse("c", "Bash", {"command": "cat log"}), ToolResult("c", _notification("b1") + "\nend"))
    (event, *_) = _play([*start, *_talk(quoted), said_by_model, *printed, *_talk(Text(_notification("b2")))])
    assert (event.exit_code, event.note) == (None, RUNS)
    (event, *_) = _play([*start, *_talk(Text(_notification("b1")), Text(_notification("b1").replace("7", "8")))])
    assert (event.status.value, event.exit_code) == ("failed", 7)


def test_relative_paths_follow_the_shell_where_the_agent_says_where_it_stands() -> None:
    events = [event for event in _play(said("background")) if event.file_path]
    assert [(event.file_path, event.status.value, event.certainty) for event in events] == [
        (f"{WORKDIR}/sub/rel.txt", "applied", "exact"),
        (f"{WORKDIR}/sub/w.txt", "applied", "exact"),
        (f"{WORKDIR}/sub/input.txt", "failed", "inferred"),
        (f"{WORKDIR}/input.txt", "applied", "exact"),
    ]
    assert events[1].diff and "+++ b/sub/w.txt\n" in events[1].diff
    (event,) = (event for event in _play(said("background_older_layout")) if event.file_path)
    assert (event.file_path, event.certainty) == (f"{WORKDIR}/sub/w.txt", "exact")


def test_where_the_agent_does_not_say_it_the_folder_is_worked_out_and_inferred() -> None:
    (event,) = (event for event in _play(said("background_2_0")) if event.file_path)
    assert (event.file_path, event.certainty) == (f"{WORKDIR}/sub/w.txt", "inferred")
    assert event.note == "relative to a folder that was worked out from a cd"
    assert event.diff and "+++ b/sub/w.txt\n" in event.diff


def _path_after(command: str, result: str = "", **given: object) -> tuple[str | None, str]:
    run = ToolUse("c", "Bash", {"command": command, **given})
    read = ToolUse("r", "Read", {"file_path": "a"})
    event = _play(_talk(run, ToolResult("c", result, False), read))[-1]
    return event.file_path, event.certainty


def test_only_a_plain_cd_moves_the_shell() -> None:
    assert _path_after("cd sub && make") == ("/home/user/project/sub/a", "inferred")
    assert _path_after('make; cd "two words"') == ("/home/user/project/two words/a", "inferred")
    assert _path_after("cd /opt") == ("/opt/a", "inferred")
    assert _path_after("cd /opt", f"x\nShell cwd was reset to {WORKDIR}") == ("a", "exact")
    for command in ("(cd sub && make)", "cd $X", "cd sub | cat", "cd sub && cd ..", "echo 'x\ncd sub'", "cd - && ls"):
        assert _path_after(command) == ("a", "exact"), command
    assert _path_after("cd sub", run_in_background=True) == ("a", "exact")


def test_an_mcp_read_is_the_base_of_later_edits() -> None:
    ledger = FileLedger("s", WORKDIR, AGENT)
    events = {event.tool_use_id: event for event in _play(said("mcp_and_notebook"), ledger)}
    edited = events["toolu_s9_t0"]
    assert (edited.status.value, edited.certainty) == ("applied", "exact")
    assert edited.diff and edited.diff.endswith("@@ -1,3 +1,3 @@\n alpha\n-beta\n+BETA\n gamma\n")
    assert "toolu_s10_t0" not in events  # a dry run
    failed = events["toolu_s11_t0"]
    assert (failed.status.value, failed.note) == ("failed", "Could not find exact match for edit:")
    # The server ignored the indentation, which is not followed; what the page showed of the file is no longer believed.
    assert (events["toolu_s12_t0"].status.value, events["toolu_s12_t0"].certainty) == ("applied", "inferred")
    assert "-beta\n+BETA\n" in ledger.session_diff().text


def test_one_mcp_read_of_several_files_is_one_event_each_with_what_became_of_it() -> None:
    ledger = FileLedger("s", WORKDIR, AGENT)
    messages = said("mcp_and_notebook")
    reads = [event for event in _play(messages, ledger) if event.tool_use_id == "toolu_s8_t0"]
    missing = f"ENOENT: no such file or directory, open '{WORKDIR}/missing'"
    assert [(event.status.value, event.output_bytes, event.note) for event in reads] == [
        ("applied", len("# A small project\n\nWith two lines.\n"), None),
        ("failed", None, missing),
        ("applied", len("zażółć\n\tgęślą\n  jaźń 🚀\n".encode()), None),
    ]
    change = {"file_path": f"{WORKDIR}/docs/with space.txt", "old_string": "gęślą", "new_string": "x"}
    event = _play(_talk(ToolUse("e", "Edit", change)), ledger)[-1]
    assert event.certainty == "exact"
    assert event.diff and event.diff.endswith("@@ -1,3 +1,3 @@\n zażółć\n-\tgęślą\n+\tx\n   jaźń 🚀\n")


def test_several_files_whose_ends_are_not_sure_are_no_base() -> None:
    read: list[Part] = [
        ToolUse("r", "mcp__fs__read_multiple_files", {"paths": ["/a", "/b"]}),
        ToolResult("r", '{"content":"/a:\\n\\n---\\n/b:\\nx\\n\\n---\\n/b:\\ny\\n"}'),
    ]
    edit = ToolUse("e", "Edit", {"file_path": "/b", "old_string": "y", "new_string": "z"})
    *reads, event = _play(_talk(*read, edit))
    assert [event.status.value for event in reads] == ["applied", "applied"]
    assert event.certainty == "inferred"


def test_an_edit_of_the_mcp_server_takes_the_first_place_that_fits() -> None:
    read: list[Part] = [
        ToolUse("r", "mcp__fs__read_text_file", {"path": "/w/a"}),
        ToolResult("r", '{"content":"same\\n“x”\\nsame\\n"}'),
    ]
    edits = [{"oldText": "same", "newText": "other"}]
    edit: list[Part] = [
        ToolUse("e", "mcp__fs__edit_file", {"path": "/w/a", "edits": edits}),
        ToolResult("e", '{"content":"…"}'),
    ]
    event = _play(_talk(*read, *edit), FileLedger("s", "/w", AGENT))[-1]
    assert event.certainty == "exact"
    assert event.diff and event.diff.endswith("@@ -1,3 +1,3 @@\n-same\n+other\n “x”\n same\n")


def test_a_page_that_an_mcp_server_read_is_known_but_for_its_last_line() -> None:
    head = {"path": "/w/a", "head": 3}
    read: list[Part] = [
        ToolUse("r", "mcp__fs__read_text_file", head),
        ToolResult("r", '{"content":"one\\ntwo\\nthree"}'),
    ]
    edits = [{"oldText": "one", "newText": "1"}]
    edit: list[Part] = [
        ToolUse("e", "mcp__fs__edit_file", {"path": "/w/a", "edits": edits}),
        ToolResult("e", '{"content":"…"}'),
    ]
    event = _play(_talk(*read, *edit), FileLedger("s", "/w", AGENT))[-1]
    assert event.diff and event.diff.endswith("@@ -1,2 +1,2 @@\n-one\n+1\n two\n")


def test_what_other_servers_put_around_a_content_is_no_content() -> None:
    read: list[Part] = [ToolUse("r", "mcp__x__read_file", {"path": "/w/a"}), ToolResult("r", "Contents of a:\none\n")]
    edit: list[Part] = [
        ToolUse("e", "Edit", {"file_path": "/w/a", "old_string": "one", "new_string": "1"}),
        ToolResult("e", "The file /w/a has been updated successfully."),
    ]
    assert _play(_talk(*read, *edit), FileLedger("s", "/w", AGENT))[-1].certainty == "inferred"


def test_mcp_paths_do_not_follow_the_shell() -> None:
    run: list[Part] = [ToolUse("c", "Bash", {"command": "cd sub"}), ToolResult("c", "", False)]
    event = _play(_talk(*run, ToolUse("r", "mcp__fs__read_text_file", {"path": "a"})))[-1]
    assert (event.file_path, event.certainty) == ("a", "exact")


def test_a_missing_file_that_an_mcp_server_looked_for_is_known_to_be_missing() -> None:
    read: list[Part] = [
        ToolUse("r", "mcp__fs__read_text_file", {"path": "/w/a"}),
        ToolResult("r", "ENOENT: no such file or directory, open '/w/a'", True),
    ]
    write: list[Part] = [
        ToolUse("e", "mcp__fs__write_file", {"path": "/w/a", "content": "x\n"}),
        ToolResult("e", '{"content":"…"}'),
    ]
    ledger = FileLedger("s", "/w", AGENT)
    assert _play(_talk(*read, *write), ledger)[-1].certainty == "exact"
    assert ledger.session_diff().notes == ()


def test_files_that_a_prompt_mentions_are_the_base_of_edits() -> None:
    ledger = FileLedger("s", WORKDIR, AGENT)
    *reads, first, second = _play(said("mentions"), ledger)
    assert {(event.event_type, event.tool_name, event.status) for event in reads} == {("read", "attachment", "applied")}
    assert (first.certainty, second.certainty) == ("exact", "exact")
    assert first.diff and first.diff.endswith("@@ -1,3 +1,3 @@\n alpha\n-beta\n+B\n gamma\n")
    assert second.diff and "-  jaźń 🚀\n+  x 🚀\n" in second.diff
    assert ledger.session_diff().notes == ()


def test_a_mention_that_is_told_again_shows_what_was() -> None:
    ledger = FileLedger("s", WORKDIR, AGENT)
    _play(said("mentions"), ledger)
    change = {"file_path": f"{WORKDIR}/input.txt", "old_string": "B", "new_string": "C"}
    event = _play([*said("mentions")[:2], *_talk(ToolUse("again", "Edit", change))], ledger)[-1]
    assert event.certainty == "exact"
    assert event.diff and event.diff.endswith("@@ -1,3 +1,3 @@\n alpha\n-B\n+C\n gamma\n")


def test_a_model_mentions_nothing() -> None:
    mention = said("mentions")[1]
    change = {"file_path": f"{WORKDIR}/input.txt", "old_string": "beta", "new_string": "C"}
    said_by_model = Message("assistant", mention.parts)
    assert _play([said_by_model, *_talk(ToolUse("e", "Edit", change))])[-1].certainty == "inferred"
