"""Patches in the `*** Begin Patch` form, which models write to the tool `apply_patch`.

*** Begin Patch
*** Add File: PATH          all lines that follow begin with +
*** Update File: PATH       optionally followed by *** Move to: PATH, then hunks
@@ LINE                     a line of the file before the hunk; LINE may be empty
 context / -removed / +added
*** End of File             the hunk is at the end
*** Delete File: PATH
*** End Patch
"""

from __future__ import annotations

from ocproxy.agents.base import Action, Replacement
from ocproxy.model import EventType, ToolUse

_NAMES = {"apply_patch", "patch", "applypatch"}
_FIELDS = ("input", "patch", "patchText", "patch_text", "diff")
_BEGIN, _END, _EOF = "*** Begin Patch", "*** End Patch", "*** End of File"
_ADD, _UPDATE, _DELETE, _MOVE = "*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "


def actions(use: ToolUse) -> tuple[Action, ...] | None:
    """What a patch tool's use asks for, in the order of the patch; None when it is no such tool."""
    given = next((text for name in _FIELDS if isinstance(text := use.input.get(name), str)), None)
    if given is None or (use.name.lower() not in _NAMES and _BEGIN not in given):
        return None
    return parse_patch(given) if _BEGIN in given else None


def parse_patch(text: str) -> tuple[Action, ...]:
    """The actions of the first envelope in `text`. Lines that have no place in a patch are passed over.

    An update with a new name gives two actions: the edit under the old name, then the move.
    """
    lines = text[text.index(_BEGIN) :].split("\n")[1:] if _BEGIN in text else []
    found: list[Action] = []
    at = 0
    while at < len(lines) and lines[at].strip() != _END:
        head, at = lines[at], at + 1
        start = at
        while at < len(lines) and not lines[at].startswith((_ADD, _UPDATE, _DELETE, _END)):
            at += 1
        body = [line.removesuffix("\r") for line in lines[start:at]]
        if head.startswith(_ADD):
            content = "".join(line[1:] + "\n" for line in body if line.startswith("+"))
            found.append(Action(EventType.WRITE, path=_path(head, _ADD), content=content, creates=True))
        elif head.startswith(_DELETE):
            found.append(Action(EventType.DELETE, path=_path(head, _DELETE)))
        elif head.startswith(_UPDATE):
            found += _update(_path(head, _UPDATE), body)
    return tuple(found)


def _path(head: str, marker: str) -> str:
    return head[len(marker) :].strip()


def _update(path: str, body: list[str]) -> list[Action]:
    destination = None
    if body and body[0].startswith(_MOVE):
        destination = _path(body.pop(0), _MOVE)
    hunks = tuple(_hunks(body))
    found = [Action(EventType.EDIT, path=path, replacements=hunks)] if hunks or destination is None else []
    if destination is not None:
        found.append(Action(EventType.MOVE, path=path, destination=destination))
    return found


def _hunks(body: list[str]) -> list[Replacement]:
    hunks: list[Replacement] = []
    anchor: str | None = None
    old: list[str] = []
    new: list[str] = []

    def close(at_end: bool = False) -> None:
        if old != new:
            hunk = Replacement("".join(old), "".join(new), whole_lines=True, anchor=anchor, at_end=at_end)
            hunks.append(hunk)
        old.clear()
        new.clear()

    for line in body:
        if line.startswith("@@"):
            close()
            anchor = line[2:].strip() or None
        elif line == _EOF:
            close(at_end=True)
            anchor = None
        elif line.startswith("-"):
            old.append(line[1:] + "\n")
        elif line.startswith("+"):
            new.append(line[1:] + "\n")
        elif line.startswith(" ") or old or new:  # models drop the space of an empty context line
            old.append(line[1:] + "\n")
            new.append(line[1:] + "\n")
    while old and new and old[-1] == new[-1] == "\n":  # the patch text's own empty last line
        old.pop()
        new.pop()
    close()
    return hunks


def apply_hunk(text: str, hunk: Replacement) -> str | None:
    """`text` with the hunk applied at the first place that fits; None when there is none. Adds a missing last newline,
    as the tool does; a hunk without old lines goes behind its anchor, or to the end.
    """
    whole = text if not text or text.endswith("\n") else text + "\n"
    lines = whole.split("\n")[:-1]
    start = 0
    if hunk.anchor is not None:
        places = [number for number, line in enumerate(lines) if line.strip() == hunk.anchor]
        if not places:
            return None
        start = places[0] + 1
    old, new = hunk.old.split("\n")[:-1], hunk.new.split("\n")[:-1]
    if not old:
        start = start if hunk.anchor is not None else len(lines)
        return _joined(lines[:start] + new + lines[start:])
    for at in range(start, len(lines) - len(old) + 1):
        if lines[at : at + len(old)] == old:
            return _joined(lines[:at] + new + lines[at + len(old) :])
    return None


def _joined(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
