"""One file through a session, twice: as it lies on the disk, and as it would lie there had no command touched it.

The two are one sheet until something contradicts it (a read shows other content, an edit succeeded where it could not):
then a command, a person or another agent changed the file. The session's own diff goes on with the second.
"""

from __future__ import annotations

import msgspec

from ocproxy.agents.base import Action, Agent
from ocproxy.files.placement import place
from ocproxy.files.worktree import Kept, Sheet, split_lines


class Track(msgspec.Struct):
    """What is known of one file, and what the session did to it."""

    disk: Sheet
    ours: Sheet
    origin: str | None = None  # where it lay in the beginning, when it was moved
    unplaced: list[str] = []  # changes that `ours` lacks, as sentences
    maker: str | None = None  # the command that seems to have made or changed it before it was first seen
    remover: str | None = None  # the same of a command that seems to have removed it
    is_assumed_new: bool = False  # nothing said whether there was a file before it was written
    is_disturbed: bool = False  # a command seems to have changed it after edits of unseen content
    unseen: list[Action] = []  # edits made before anything of the content was seen

    @classmethod
    def new(cls) -> Track:
        sheet = Sheet.unknown()
        return cls(sheet, sheet)

    @property
    def is_forked(self) -> bool:
        return self.disk is not self.ours

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known of the file, not even that it was changed."""
        is_bare = not self.disk.base and not self.disk.blind and self.disk.count is None and self.disk.exists is None
        return is_bare and not self.is_forked and not self.unseen

    def fork(self, sheet: Sheet) -> None:
        """What was believed of the disk is wrong; `sheet` is what is known of it now."""
        self.disk = sheet

    def lose(self, reason: str) -> None:
        """Something was changed that cannot be followed."""
        self.unplaced.append(reason)
        self.fork(Sheet.unknown())

    def see(self, lines: list[tuple[int, str]], count: int | None, agent: Agent) -> None:
        """Take what a read shows."""
        if self.unseen and not self.is_forked:
            if not self._rewind(lines, count, agent):
                self.fork(Sheet.seen(lines, count))
            return
        if not self.disk.learn(lines, count):
            self.fork(Sheet.seen(lines, count))

    def _rewind(self, lines: list[tuple[int, str]], count: int | None, agent: Agent) -> bool:
        """The content before edits that were made unseen, out of the whole content after them. Only where there is no
        doubt: each new text is there once, and the edits made again give the content that was read.
        """
        if count is None or count != len(lines) or self.is_disturbed:
            return False
        text = "".join(line for _, line in lines)
        for action in reversed(self.unseen):
            for replacement in reversed(action.replacements):
                if (
                    replacement.cell
                    or replacement.everywhere
                    or not replacement.new.strip()
                    or text.count(replacement.new) != 1
                ):
                    return False
                text = text.replace(replacement.new, replacement.old)
        sheet = Sheet.seen(list(enumerate(split_lines(text), 1)), len(split_lines(text)))
        if any(place(sheet, action, agent) is None for action in self.unseen):
            return False
        if not sheet.learn(lines, count):
            return False
        self.disk = self.ours = sheet
        self.unseen = []
        return True

    def vanish(self) -> None:
        """A result says that there is no such file."""
        if self.disk.exists is None and not self.is_forked and not self.unseen:
            self.disk = self.ours = Sheet.absent()
        elif self.disk.exists is not False:
            self.fork(Sheet.absent())

    def settle(self, created: bool | None) -> None:
        """A write took effect whose result says whether there was no file before (None: it does not say)."""
        if created is None:
            return
        if self.disk.exists is None and not created:
            self.disk.existed = self.disk.exists = True
        elif self.disk.exists is None and not self.disk.base:
            self.disk.existed = self.disk.exists = False
            self.disk.base_count, self.disk.pieces = 0, []
        elif created and self.disk.exists is not False and self.disk.text() != "":
            self.fork(Sheet.absent())
        elif not created and self.disk.exists is False:
            self.fork(Sheet(existed=True, exists=True, pieces=[Kept(1, None)]))

    def write(self, content: str, agent: Agent) -> None:
        """`content` was written to the file, whatever it held."""
        for sheet in [self.disk, self.ours] if self.is_forked else [self.disk]:
            if sheet.exists is None and not sheet.base and not self.is_forked:
                self.disk = self.ours = sheet = Sheet.absent()
                self.is_assumed_new = True
            sheet.overwrite(agent.written(sheet.text(), content))
        self.unseen = []

    def edit(self, action: Action, agent: Agent) -> None:
        """An edit took effect. Where it fits nothing that is known, what is known is wrong or too little."""
        forked = self.is_forked
        nothing_known = not self.disk.base and not self.disk.blind and self.disk.exists is not False
        if place(self.disk, action, agent) is None:
            if not forked and nothing_known and action.replacements and self.disk.count is None:
                self.unseen.append(action)
                self.disk.existed = self.disk.exists = True
                return
            self.fork(Sheet.unknown())
        if self.is_forked and (self.unseen or place(self.ours, action, agent) is None):
            self.unplaced.append("an edit that met content which this session had not seen")

    def remove(self) -> None:
        """The file was deleted."""
        self.disk.remove()
        if self.is_forked:
            self.ours.remove()
        self.unseen = []
