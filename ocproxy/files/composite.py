"""What a session did to its files as one unified diff: from the contents when it began to those after its last event.

Only applied writes, edits, deletions and moves are in it. What commands did is left out: where a command changed a file
in between, the later edits are carried out on the content without the command's change. What cannot be told that way is
said in notes, and the rest still applies with `git apply`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ocproxy.files.diff import file_diff, hunks_of, is_inside, label
from ocproxy.files.proposal import LOOSE
from ocproxy.files.track import Track
from ocproxy.files.worktree import Sheet


class SessionDiff(msgspec.Struct, frozen=True):
    """`text` applies in the working folder; `outside` are changes to files elsewhere, with names relative to the root
    of the file system; `notes` are sentences on what is missing in them, each beginning with the file's name.
    """

    text: str
    notes: tuple[str, ...] = ()
    outside: str = ""


def compose(tracks: Mapping[str, Track], overwritten: Sequence[tuple[str, Track]], workdir: str) -> SessionDiff:
    """The diff of all tracks, by resolved path. `overwritten` are files that moves replaced.

    Deletions come first, then moves, then the rest, so that a name can be freed before it is taken again.
    """
    inside: list[tuple[int, str, str]] = []
    outside: list[tuple[int, str, str]] = []
    notes: list[str] = []
    for path, track in overwritten:
        track.ours.remove()
        _add(path, track, workdir, inside, outside, notes)
    for path, track in tracks.items():
        _add(path, track, workdir, inside, outside, notes)
    if outside:
        notes.append("files outside the working folder were changed too; they are not in this diff")
    return SessionDiff(_joined(inside), tuple(notes), _joined(outside))


def _joined(parts: list[tuple[int, str, str]]) -> str:
    return "".join(text for _, _, text in sorted(parts))


Parts = list[tuple[int, str, str]]


def _add(path: str, track: Track, workdir: str, inside: Parts, outside: Parts, notes: list[str]) -> None:
    name = label(path, workdir)
    notes += [f"{name}: not in this diff: {reason}" for reason in track.unplaced]
    notes += [f"{name}: not in this diff: an edit of content that was never seen" for _ in track.unseen]
    text, note = _file(path, track, workdir)
    if note:
        notes.append(f"{name}: {note}")
    if text:
        order = 0 if not track.ours.exists else 1 if track.origin else 2
        (inside if is_inside(path, workdir) else outside).append((order, path, text))


def _file(path: str, track: Track, workdir: str) -> tuple[str, str | None]:
    """The diff of one file, and a note where it says less than happened."""
    sheet = track.ours
    new = label(path, workdir)
    old = label(track.origin, workdir) if track.origin else new
    was, there = sheet.existed is not False, sheet.exists is not False
    if not was:
        if not there:
            return "", None
        if track.remover is not None:
            return "", "left out: a command seems to have removed it before it was written anew"
        content = sheet.text()
        note = "taken for a new file: nothing says whether it was there before" if track.is_assumed_new else None
        return (file_diff(None, new, hunks_of(_made(content)).text), note) if content is not None else ("", None)
    if there and old == new and not sheet.blind and not sheet.changes():
        return "", None
    if track.maker is not None:
        return "", "left out: a command seems to have made or changed it before its content was first seen"
    if sheet.blind:
        return "", "left out: its content when the session began was never seen"
    if not there:
        return file_diff(old, None, hunks_of(sheet).text), None
    hunks = hunks_of(sheet)
    if old == new and not hunks.text:
        return "", None  # written back to what it was
    return file_diff(old, new, hunks.text), LOOSE if hunks.is_loose else None


def _made(content: str) -> Sheet:
    sheet = Sheet.absent()
    sheet.overwrite(content)
    return sheet
