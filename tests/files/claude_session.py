"""A Claude Code that really changes files in a folder, words its results as the real one does, and feeds a ledger.

The replacing is written down here on its own, from the behaviour of the real program, so that the ledger is compared
with something that it does not share.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ocproxy.agents.claude_code import AGENT
from ocproxy.files.derive import FileLedger
from ocproxy.model import FileEvent, Status, ToolResult, ToolUse

AT = datetime(2026, 11, 21, tzinfo=UTC)
_CURRENT = " (file state is current in your context — no need to Read it back)"
_STALE = (
    " (note: the file had been modified on disk since you last read it — the edit applied cleanly, but the file"
    " contains other changes not in your context. Read it before edits that depend on surrounding content.)"
)
_TOKENS = "\n\n<system-reminder>\n<total_tokens>14983591 tokens left</total_tokens>\n</system-reminder>"


class Refused(Exception):
    """The tool fails with this text."""


@dataclass
class ClaudeSession:
    """Tools run in `folder`; `glued` is the older models' layout, with a reminder at the end of each result."""

    folder: Path
    glued: bool = False
    events: dict[str, FileEvent] = field(default_factory=dict)
    count: int = 0
    shown: dict[Path, bytes] = field(default_factory=dict)  # contents as the agent last saw or left them

    def __post_init__(self) -> None:
        self.ledger = FileLedger("session", str(self.folder), AGENT)

    def use(self, name: str, **given: Any) -> list[FileEvent]:
        """One tool use and its result."""
        return self.use_many((name, given))

    def use_many(self, *uses: tuple[str, dict[str, Any]]) -> list[FileEvent]:
        """Parallel uses in one message, answered in their order in the next."""
        asked = []
        for name, given in uses:
            self.count += 1
            asked.append(ToolUse(f"toolu_{self.count}", name, given))
            self._note(self.ledger.requested(asked[-1], "message", AT))
        settled: list[FileEvent] = []
        for use in asked:
            settled += self.ledger.answered(self._run(use), AT)
        self._note(settled)
        return settled

    def applied(self) -> list[FileEvent]:
        """The applied events so far, in their order."""
        return sorted((e for e in self.events.values() if e.status is Status.APPLIED), key=lambda e: e.ordinal)

    def _note(self, events: list[FileEvent]) -> None:
        self.events |= {event.id: event for event in events}

    def _run(self, use: ToolUse) -> ToolResult:
        try:
            text, is_error = getattr(self, f"_{use.name.lower()}")(**use.input), None
        except Refused as refused:
            text, is_error = str(refused), True
        if self.glued:
            text = text.rstrip() + _TOKENS
        return ToolResult(use.id, text, is_error)

    def _path(self, file_path: str) -> Path:
        return self.folder / file_path

    def _text(self, file_path: str) -> str:
        path = self._path(file_path)
        if not path.exists():
            raise Refused(f"File does not exist. Note: your current working directory is {self.folder}.")
        return path.read_bytes().decode("utf-8")

    def _read(self, file_path: str, offset: int = 1, limit: int | None = None) -> str:
        text = self._text(file_path).replace("\r\n", "\n")
        is_all = offset == 1 and (limit is None or limit > text.count("\n"))
        if is_all or self._path(file_path) not in self.shown:  # a page does not tell what else a command changed
            self.shown[self._path(file_path)] = self._path(file_path).read_bytes()
        if not text:
            return "<system-reminder>Warning: the file exists but the contents are empty.</system-reminder>"
        numbered = list(enumerate(text.split("\n"), 1))
        shown = numbered[offset - 1 :][: limit or len(numbered)]
        if not shown:
            return (
                "<system-reminder>Warning: the file exists but is shorter than the provided offset"
                f" ({offset}). The file has {len(numbered)} lines.</system-reminder>"
            )
        return "\n".join(f"{number}\t{line}" for number, line in shown)

    def _write(self, file_path: str, content: str) -> str:
        path = self._path(file_path)
        old = path.read_bytes() if path.exists() else b""
        if path.exists() and self.shown.get(path, old) != old:
            raise Refused(
                "<tool_use_error>File has been modified since read, either by the user or by a linter."
                " Read it again before attempting to write it.</tool_use_error>"
            )
        self._put(path, _cut(file_path, content))
        if not old:
            return f"File created successfully at: {path}{_CURRENT}"
        return f"The file {path} has been updated successfully.{_CURRENT}"

    def _edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> str:
        path = self._path(file_path)
        text = self._text(file_path) if path.exists() or old_string else ""
        text = _replaced(text, old_string, _cut(file_path, new_string), replace_all)
        end = self._ending(path)
        self._put(path, text)
        if replace_all:
            return f"The file {path} has been updated. All occurrences were successfully replaced.{end}"
        return f"The file {path} has been updated successfully.{end}"

    def _ending(self, path: Path) -> str:
        if not path.exists():
            return _CURRENT
        known = self.shown.get(path)
        return "" if known is None else _CURRENT if known == path.read_bytes() else _STALE

    def _put(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
        self.shown[path] = path.read_bytes()

    def _multiedit(self, file_path: str, edits: list[dict[str, Any]]) -> str:
        text = self._text(file_path)
        for edit in edits:
            text = _replaced(
                text, edit["old_string"], _cut(file_path, edit["new_string"]), edit.get("replace_all", False)
            )
        self._put(self._path(file_path), text)
        return f"Applied {len(edits)} edits to {self._path(file_path)}:"

    def _bash(self, command: str) -> str:
        done = subprocess.run(["sh", "-c", command], cwd=self.folder, capture_output=True, text=True, check=False)
        output = (done.stdout + done.stderr).rstrip()
        if done.returncode:
            raise Refused(f"Exit code {done.returncode}\n{output}")
        return output or "(Bash completed with no output)"


# ECMA-262: WhiteSpace, and of LineTerminator what is no line end in a file
_SPACE = "\t\v\f \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))


def _cut(name: str, new: str) -> str:
    """White space at line ends goes, as JavaScript has it, but not the line ends themselves; not in Markdown."""
    if name.endswith(".md"):
        return new
    pieces = re.split(r"(\r\n|\r|\n)", new)
    return "".join(piece if piece in ("\r\n", "\r", "\n") else piece.rstrip(_SPACE) for piece in pieces)


def _replaced(text: str, old: str, new: str, everywhere: bool) -> str:
    changed = _replaced_or_same(text, old, new, everywhere)
    if changed == text:
        raise Refused(_error("Original and edited file match exactly. Failed to apply edit."))
    return changed


def _replaced_or_same(text: str, old: str, new: str, everywhere: bool) -> str:
    is_crlf = text.count("\r\n") * 2 > text.count("\n")
    body = text.replace("\r\n", "\n")
    if old == new:
        raise Refused(_error("No changes to make: old_string and new_string are exactly the same."))
    if not old:
        if body.strip():
            raise Refused(_error("Cannot create new file - file already exists."))
        return new.replace("\n", "\r\n") if is_crlf else new
    found = body.count(old)
    if not found:
        raise Refused(_error(f"String to replace not found in file.\nString: {old}"))
    if found > 1 and not everywhere:
        raise Refused(
            _error(f"Found {found} matches of the string to replace, but replace_all is false.\nString: {old}")
        )
    if not new and not old.endswith("\n") and old + "\n" in body:
        old += "\n"
    body = body.replace(old, new) if everywhere else body.replace(old, new, 1)
    return body.replace("\n", "\r\n") if is_crlf else body


def _error(text: str) -> str:
    return f"<tool_use_error>{text}</tool_use_error>"


def git_apply(folder: Path, diff: str) -> None:
    """Apply a diff as a user would."""
    done = subprocess.run(["git", "apply", "-"], cwd=folder, input=diff.encode(), capture_output=True, check=False)
    assert done.returncode == 0, f"{done.stderr.decode()}\n{diff}"


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder and their bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plant(folder: Path, files: dict[str, str]) -> Path:
    """A folder with these files."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8"))
    return folder


def check_oracle(session: ClaudeSession, start: dict[str, str], scratch: Path) -> None:
    """Every applied diff in order, and the session's one diff, make of the starting tree what the agent made of it."""
    final = tree(session.folder)
    one_by_one = plant(scratch / "one_by_one", start)
    for event in session.applied():
        if event.diff:
            git_apply(one_by_one, event.diff)
    assert tree(one_by_one) == final
    found = session.ledger.session_diff()
    assert not found.notes
    at_once = plant(scratch / "at_once", start)
    if found.text:
        git_apply(at_once, found.text)
    assert tree(at_once) == final
