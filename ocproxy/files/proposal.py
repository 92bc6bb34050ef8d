"""The diff of one file event: what a tool use would do, or did, to the content as it is known at that moment."""

from __future__ import annotations

from typing import NamedTuple

from ocproxy.agents.base import Action, Agent, Replacement
from ocproxy.files.diff import file_diff, guessed_hunks, hunks_of, label, resolve
from ocproxy.files.placement import makes_file, place
from ocproxy.files.worktree import Sheet
from ocproxy.model import Certainty, EventType

LOOSE = "the line behind the change was not seen: apply with git apply --unidiff-zero"
_UNSEEN = "the content before was not seen"
_PARTLY = "lines that were not seen may have been changed too"


class Proposal(NamedTuple):
    """A diff, how sure it is, and why not."""

    diff: str | None = None
    certainty: Certainty = "exact"
    note: str | None = None


def propose(action: Action, before: Sheet, agent: Agent, workdir: str) -> Proposal:
    """The diff of `action` on a file whose content is `before`, a fresh snapshot; it is changed."""
    if action.path is None or action.event_type in (EventType.READ, EventType.BASH, EventType.SEARCH):
        return Proposal(certainty=action.certainty)
    name = label(resolve(action.path, workdir), workdir)
    if action.event_type is EventType.MOVE:
        target = label(resolve(action.destination or "", workdir), workdir)
        return Proposal(file_diff(name, target, ""), action.certainty)
    if action.event_type is EventType.DELETE:
        return _deletion(name, before, action.certainty)
    return _change(name, action, before, agent)


def guess(action: Action, workdir: str, note: str) -> Proposal:
    """The diff of a change whose place is not known: old and new texts with guessed line numbers."""
    name = label(resolve(action.path or "", workdir), workdir)
    return Proposal(file_diff(name, name, guessed_hunks(_pairs(action))), "inferred", note)


def _change(name: str, action: Action, before: Sheet, agent: Agent) -> Proposal:
    existed = before.exists is not False and not _makes_file(action, before)
    if action.content is not None:
        unseen = existed and not before.is_whole
        before.overwrite(agent.written(before.text(), action.content))
        if unseen:
            hunks = guessed_hunks([("", action.content)])
            return Proposal(file_diff(name if before.existed else None, name, hunks), "inferred", _UNSEEN)
    else:
        placed = place(before, action, agent)
        if placed is None:
            return Proposal(file_diff(name, name, guessed_hunks(_pairs(action))), "inferred", _unplaced(action))
        if placed == "partly":
            return Proposal(file_diff(name, name, hunks_of(before).text), "inferred", _PARTLY)
    hunks_text, is_loose = hunks_of(before)
    diff = file_diff(name if existed else None, name, hunks_text) if hunks_text or not existed else ""
    if is_loose:
        return Proposal(diff, "inferred", LOOSE)
    return Proposal(diff, action.certainty)


def _unplaced(action: Action) -> str:
    cell = next((edit.cell for edit in action.replacements if edit.cell), None)
    if cell is None:
        return _UNSEEN
    return f"cell {cell.name or '(new)'} of a notebook: its place in the file is not known"


def _makes_file(action: Action, before: Sheet) -> bool:
    first: Replacement | None = action.replacements[0] if action.replacements else None
    return before.exists is None and first is not None and makes_file(first)


def _deletion(name: str, before: Sheet, certainty: Certainty) -> Proposal:
    if not before.is_whole:
        return Proposal(file_diff(name, None, ""), "inferred", _UNSEEN)
    before.remove()
    return Proposal(file_diff(name, None, hunks_of(before).text), certainty)


def _pairs(action: Action) -> list[tuple[str, str]]:
    if action.content is not None:
        return [("", action.content)]
    if action.insert_after is not None:
        return [("", action.insert_after[1])]
    return [(edit.old, edit.new) for edit in action.replacements]
