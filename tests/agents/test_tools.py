"""What tool uses ask for, by the catalogues and by field names, and how edits find their place."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from ocproxy.agents.base import Action, Cell, Replacement
from ocproxy.agents.claude_code import AGENT as CLAUDE
from ocproxy.agents.generic import AGENT as GENERIC
from ocproxy.agents.patches import parse_patch
from ocproxy.model import EventType, Status, ToolResult, ToolUse
from tests.agents.recorded import facts

READ, WRITE, EDIT, BASH = EventType.READ, EventType.WRITE, EventType.EDIT, EventType.BASH


def _claude(name: str, **given: Any) -> tuple[Action, ...]:
    return CLAUDE.actions(ToolUse("t", name, given))


def _generic(name: str, **given: Any) -> tuple[Action, ...]:
    return GENERIC.actions(ToolUse("t", name, given))


def test_claude_codes_own_tools() -> None:
    assert _claude("Read", file_path="/a", offset=5, limit="4") == (Action(READ, "/a", first_line=5, line_count=4),)
    assert _claude("Write", file_path="/a", content="x") == (Action(WRITE, "/a", content="x"),)
    assert _claude("Bash", command="ls", description="d") == (Action(BASH, command="ls"),)
    edit = Action(EDIT, "/a", replacements=(Replacement("x", "y", True),))
    assert _claude("Edit", file_path="/a", old_string="x", new_string="y", replace_all=True) == (edit,)
    two = (Replacement("x", "y"), Replacement("y", "z"))
    edits = [{"old_string": "x", "new_string": "y"}, {"old_string": "y", "new_string": "z"}]
    assert _claude("MultiEdit", file_path="/a", edits=edits) == (Action(EDIT, "/a", replacements=two),)
    assert _claude("Grep", pattern="x", path="/d") == (Action(EventType.SEARCH, "/d", command="x"),)
    (cell,) = _claude("NotebookEdit", notebook_path="/n.ipynb", cell_id="c1", new_source="1")
    assert cell.replacements == (Replacement("", "1", cell=Cell("c1")),)


@pytest.mark.parametrize("name", ["Agent", "Task", "TodoWrite", "WebFetch", "ToolSearch", "Skill", "ExitPlanMode"])
def test_tools_that_touch_no_file_give_nothing(name: str) -> None:
    assert _claude(name, path="/a", command="x", content="y") == ()


@pytest.mark.parametrize("name", ["Read", "Write", "Edit", "MultiEdit", "Bash", "NotebookEdit"])
@pytest.mark.parametrize("given", [{}, {"path": "/x"}, {"file_path": 3, "command": [], "edits": [1]}])
def test_a_use_without_its_required_fields_is_told_in_doubt_and_without_contents(
    name: str, given: dict[str, Any]
) -> None:
    (action,) = _claude(name, **given)
    assert action.certainty == "inferred" and action.unknown_shape and f"the tool {name} has " in (action.doubt or "")
    assert action.path in (None, given.get("path"))
    assert (action.content, action.command, action.replacements) == (None, None, ())


def test_new_strings_lose_white_space_at_line_ends_except_in_markdown() -> None:
    given = {"old_string": "a \n", "new_string": "b \t\nc\u2003"}
    assert _claude("Edit", file_path="/a.py", **given)[0].replacements == (Replacement("a \n", "b\nc"),)
    assert _claude("Edit", file_path="/a.md", **given)[0].replacements == (Replacement("a \n", "b \t\nc\u2003"),)


@pytest.mark.parametrize("agent", [_claude, _generic])
def test_mcp_filesystem_tools(agent: Any) -> None:
    mcp = partial(Action, follows_shell=False)
    assert agent("mcp__fs__write_file", path="/a", content="x") == (mcp(WRITE, "/a", content="x"),)
    assert agent("mcp__fs__move_file", source="/a", destination="/b") == (mcp(EventType.MOVE, "/a", destination="/b"),)
    assert agent("mcp__fs__create_directory", path="/a") == ()
    assert agent("mcp__fs__read_multiple_files", paths=["/a", "/b"]) == (mcp(READ, "/a"), mcp(READ, "/b"))
    edits = [{"oldText": "x", "newText": "y"}]
    assert agent("mcp__fs__edit_file", path="/a", edits=edits) == (
        mcp(EDIT, "/a", replacements=(Replacement("x", "y", first=True),)),
    )
    assert agent("mcp__fs__edit_file", path="/a", edits=edits, dryRun=True) == ()


@pytest.mark.parametrize("name", ["str_replace_based_edit_tool", "str_replace_editor"])
def test_anthropics_text_editor(name: str) -> None:
    assert _generic(name, command="view", path="/a", view_range=[3, 5]) == (
        Action(READ, "/a", first_line=3, line_count=3),
    )
    assert _generic(name, command="create", path="/a", file_text="x") == (Action(WRITE, "/a", content="x"),)
    edit = Action(EDIT, "/a", replacements=(Replacement("x", "y"),))
    assert _generic(name, command="str_replace", path="/a", old_str="x", new_str="y") == (edit,)
    insert = Action(EDIT, "/a", insert_after=(2, "x"))
    assert _generic(name, command="insert", path="/a", insert_line=2, insert_text="x") == (insert,)
    assert _generic("bash", restart=True) == ()


def test_common_names_are_exact_and_guesses_are_inferred() -> None:
    assert _generic("write_file", filePath="/a", content="x") == (Action(WRITE, "/a", content="x"),)
    assert _generic("run_shell_command", command="ls") == (Action(BASH, command="ls"),)
    assert _generic("shell", command=["ls", "-l"]) == (Action(BASH, command="ls -l"),)
    (guessed,) = _generic("frobnicate", path="/a", old_string="x", new_string="y")
    assert (guessed.event_type, guessed.certainty) == (EDIT, "inferred")
    assert _generic("purge_and_delete", path="/a")[0].event_type is EventType.DELETE
    assert _generic("weather", city="x") == ()


@pytest.mark.parametrize(
    ("text", "is_error", "status"),
    [
        ("anything", False, Status.APPLIED),
        ("anything", True, Status.FAILED),
        ("anything", None, Status.UNKNOWN),
        ("Error: no such file", None, Status.FAILED),
        ("File written successfully", None, Status.APPLIED),
        ("Exit code: 2\nx", None, Status.FAILED),
        ("Exit code: 0", None, Status.APPLIED),
    ],
)
def test_a_strangers_status_is_what_flag_or_words_say(text: str, is_error: bool | None, status: Status) -> None:
    answer = GENERIC.answer(ToolUse("t", "write_file", {}), ToolResult("t", text, is_error))
    assert answer.status is status


def test_the_generic_agent_takes_everybody_and_knows_tags_alone() -> None:
    call = facts({"model": "m", "messages": [{"role": "user", "content": "x"}]}, tags={"session": "s", "workdir": "/w"})
    assert GENERIC.recognises(call)
    identity = GENERIC.identity(call)
    assert (identity.agent, identity.session, identity.workdir) == ("generic", "s", "/w")


@pytest.mark.parametrize(
    ("text", "old", "new", "after"),
    [
        ("a\nb\nc\n", "b", "", "a\nc\n"),
        ("x b\n", "b", "", "x "),
        ("a\r\nb\r\n", "a\nb", "A\nB\nC", "A\r\nB\r\nC\r\n"),
        ("a\r\nb\nc\n", "b", "B", "a\nB\nc\n"),
        ("a\r\nb\r\n", "a\r\nb", "x", None),
        ("say “hi” now\n", 'say "hi" now', 'say "ho" then', "say “ho” then\n"),
        ("it’s\n", "it's", "it's 'y'", "it’s ‘y’\n"),
        ("k\nk\n", "k", "j", None),
        ("a\n", "z", "y", None),
        ("a\n", "", "y", None),
        (" \n\n", "", "y", "y"),
    ],
)
def test_claude_codes_edit_replaces_as_the_real_one_does(text: str, old: str, new: str, after: str | None) -> None:
    """Each row was tried with Claude Code 2.1.329 or read in its files."""
    assert CLAUDE.replace(text, Replacement(old, new)) == after


def test_a_write_keeps_the_byte_order_mark() -> None:
    assert CLAUDE.written("\ufeffold", "new") == "\ufeffnew"
    assert CLAUDE.written("\ufeffold", "\ufeffnew") == "\ufeffnew"
    assert CLAUDE.written(None, "new") == "new"


PATCH = """*** Begin Patch
*** Add File: new.txt
+one
+
*** Update File: src/a.py
*** Move to: src/b.py
@@ def two():
     x = 1
-    return 2
+    return 3
*** Delete File: old.txt
*** End Patch
"""


def test_a_patch_gives_one_action_for_each_change() -> None:
    hunk = Replacement("    x = 1\n    return 2\n", "    x = 1\n    return 3\n", whole_lines=True, anchor="def two():")
    assert parse_patch(PATCH) == (
        Action(WRITE, "new.txt", content="one\n\n", creates=True),
        Action(EDIT, "src/a.py", replacements=(hunk,)),
        Action(EventType.MOVE, "src/a.py", destination="src/b.py"),
        Action(EventType.DELETE, "old.txt"),
    )
    assert _generic("apply_patch", input=PATCH) == parse_patch(PATCH)
    text = "def one():\n    x = 1\n    return 2\ndef two():\n    x = 1\n    return 2\n"
    assert GENERIC.replace(text, hunk) == text[:-9] + "return 3\n"
    assert GENERIC.replace("def one():\n    x = 1\n    return 2\n", hunk) is None


@pytest.mark.parametrize("text", ["", "*** Begin Patch", "*** Begin Patch\n*** Update File: a\n", "no patch at all"])
def test_a_broken_patch_gives_what_it_has(text: str) -> None:
    assert all(action.path for action in parse_patch(text))
