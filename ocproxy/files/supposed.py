"""Contents of files that reads seem to have shown, where the result does not say so.

The tools of home-made agents give the bare text of a file, or of an error. Which it was, shows a change that took
effect and fits: then the text counts as what the file held, and what is told by it is `inferred`.
"""

from __future__ import annotations

from ocproxy.agents.base import Action, Agent, Answer
from ocproxy.files.placement import place
from ocproxy.files.proposal import Proposal
from ocproxy.files.track import Track
from ocproxy.files.worktree import Sheet
from ocproxy.model import EventType

_NOTE = "by a read whose result does not say that it shows the whole file as it is"


class Supposed:
    """Those of one session, by the files' whole paths."""

    def __init__(self) -> None:
        self._shown: dict[str, Answer] = {}  # until a change fits
        self._taken: set[str] = set()  # what is known of these files comes from such a read

    def show(self, path: str, answer: Answer) -> None:
        self._shown[path] = answer

    def take(self, path: str, action: Action, track: Track, agent: Agent) -> None:
        """A change of the file took effect. A write fits everything but one line without an end, which may be the
        message that there is no such file."""
        shown = self._shown.pop(path, None)
        if shown is None or not shown.lines or not track.is_unknown:
            return
        lines = [(number, text + "\n") for number, text in shown.lines]
        if not shown.final_newline:
            lines[-1] = (len(lines), lines[-1][1].removesuffix("\n"))
        if action.event_type is EventType.WRITE:
            fits = len(lines) > 1 or shown.final_newline is True
        else:
            fits = place(Sheet.seen(lines, len(lines)), action, agent) is not None
        if fits:
            track.see(lines, len(lines), agent)
            self._taken.add(path)

    def forget(self, path: str) -> None:
        """The file was written anew: all of it is known from now on."""
        self._taken.discard(path)

    def doubted(self, path: str, proposal: Proposal) -> Proposal:
        """Inferred where it comes from such a read."""
        if path in self._taken and proposal.certainty == "exact":
            return Proposal(proposal.diff, "inferred", _NOTE)
        return proposal
