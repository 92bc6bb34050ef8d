"""What was never seen, or was changed by commands in between: an event is exact only where it is true."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocproxy.model import FileEvent, Status
from tests.files.claude_session import ClaudeSession, git_apply, plant, tree

_NAMES = st.sampled_from(["one.txt", "src/two.py"])
_WORD = st.sampled_from(["a", "b", "c", "d", "", "ee", "é", "f g"])
_TEXT = st.builds(lambda lines, end: "\n".join(lines) + end, st.lists(_WORD, max_size=12), st.sampled_from(["\n", ""]))
_COMMANDS = st.sampled_from(
    ["echo new >> {}", "sed -i 1d {}", "sed -i 's/a/zz/' {}", "rm -f {}", "printf 'x\\ny\\n' > {}", "ls", "exit 3"]
)
_KINDS = st.sampled_from(["read", "page", "page", "write", "edit", "edit", "edit", "all", "command", "two"])
_STEP = st.tuples(_KINDS, _NAMES, st.integers(0, 300), st.integers(0, 60), _TEXT, _COMMANDS)


def _do(session: ClaudeSession, step: tuple[Any, ...]) -> list[FileEvent]:
    kind, name, at, size, content, command = step
    path = session.folder / name
    full = str(path)
    text = path.read_bytes().decode() if path.exists() else ""
    start = at % max(1, len(text))
    old = text[start : start + 1 + size % 20]
    if path.exists() and not text:
        session.use("Read", file_path=full)  # Claude Code words a write to an empty file like a new one
    if kind == "read":
        return session.use("Read", file_path=full)
    if kind == "page":
        return session.use("Read", file_path=full, offset=1 + at % 12, limit=1 + size % 6)
    if kind == "write":
        return session.use("Write", file_path=full, content=content)
    if kind == "command" and not text and command.startswith("rm"):
        return []  # and so a new file where an empty one was removed looks like a write to the empty one
    if kind == "command":
        return session.use("Bash", command=command.format(name))
    if kind == "two":
        edits = ({"file_path": full, "old_string": old, "new_string": f"{content}{mark}"} for mark in ("1", "2"))
        return session.use_many(*(("Edit", edit) for edit in edits))
    return session.use("Edit", file_path=full, old_string=old, new_string=content, replace_all=kind == "all")


@settings(max_examples=60, deadline=None)
@given(start=st.dictionaries(_NAMES, _TEXT, min_size=1), steps=st.lists(_STEP, min_size=1, max_size=10))
def test_an_exact_diff_turns_the_tree_before_its_event_into_the_tree_after_it(
    start: dict[str, str], steps: list[tuple[Any, ...]]
) -> None:
    with TemporaryDirectory() as scratch:
        session = ClaudeSession(plant(Path(scratch) / "work", start))
        for number, step in enumerate(steps):
            before = {name: data.decode() for name, data in tree(session.folder).items()}
            events = [event for event in _do(session, step) if event.status is Status.APPLIED and event.diff]
            if not events or any(event.certainty != "exact" for event in events):
                continue
            copy = plant(Path(scratch) / str(number), before)
            for event in events:
                assert event.diff is not None
                git_apply(copy, event.diff)
            assert tree(copy) == tree(session.folder)


@settings(max_examples=60, deadline=None)
@given(start=st.dictionaries(_NAMES, _TEXT, min_size=1), steps=st.lists(_STEP, min_size=1, max_size=10))
def test_the_session_diff_applies_whatever_commands_did(start: dict[str, str], steps: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as scratch:
        session = ClaudeSession(plant(Path(scratch) / "work", start))
        for step in steps:
            _do(session, step)
        found = session.ledger.session_diff()
        copy = plant(Path(scratch) / "copy", start)
        if found.text and not any("--unidiff-zero" in note for note in found.notes):
            git_apply(copy, found.text)
        if not found.notes and not any(step[0] == "command" for step in steps):
            assert tree(copy) == tree(session.folder)
