"""Where an edit lies in what is known of a file, and carrying it out there."""

from __future__ import annotations

from typing import Literal

from ocproxy.agents.base import Action, Agent, Replacement
from ocproxy.files.worktree import Sheet, common_ends, split_lines

Placed = Literal["exact", "partly"]


def place(sheet: Sheet, action: Action, agent: Agent) -> Placed | None:
    """Carry out an edit on the sheet, by the agent's own rules of matching.

    "partly": everything known was changed, but a replacement of all occurrences may have met lines that were never
    seen. None: the edit does not apply to what is known, and the sheet is as it was.
    """
    trial = sheet.copy()
    done = _place(trial, action, agent)
    if done is not None:
        sheet.base, sheet.base_count, sheet.pieces = trial.base, trial.base_count, trial.pieces
        sheet.exists, sheet.existed, sheet.blind = trial.exists, trial.existed, trial.blind
    return done


def _place(sheet: Sheet, action: Action, agent: Agent) -> Placed | None:
    if action.insert_after is not None:
        return _insert(sheet, *action.insert_after)
    if not action.replacements:
        return None
    text = sheet.text()
    if text is None and _creates(sheet, action):
        text = ""
    if text is not None:
        text = agent.replace_all(text, action.replacements)
        if text is None:
            return None
        if sheet.exists is not True:
            sheet.pieces, sheet.base_count, sheet.existed, sheet.exists = [], 0, False, False
        sheet.overwrite(text)
        return "exact"
    done: Placed = "exact"
    for replacement in action.replacements:
        one = _place_among_gaps(sheet, replacement, agent)
        if one is None:
            return None
        done = one if one == "partly" else done
    return done


def _creates(sheet: Sheet, action: Action) -> bool:
    """An empty old string makes a new file: of a file that nobody has seen, success says that it was not there."""
    is_new = sheet.exists is False or (sheet.exists is None and not any(True for _ in sheet.known()))
    return is_new and makes_file(action.replacements[0])


def makes_file(replacement: Replacement) -> bool:
    """Whether the replacement is one of those that make a new file where there is none."""
    return not (replacement.old or replacement.whole_lines or replacement.first or replacement.cell)


def _insert(sheet: Sheet, line: int, text: str) -> Placed | None:
    numbers = dict(sheet.known())
    count = sheet.count
    if line < 0 or (count is not None and line > count) or (line and line not in numbers):
        return None
    new = text if text.endswith("\n") else text + "\n"
    if line and not numbers[line].endswith("\n"):
        sheet.splice(line, line, [numbers[line] + "\n", *split_lines(new.removesuffix("\n"))])
    else:
        sheet.splice(line + 1, line, split_lines(new))
    return "exact"


def _place_among_gaps(sheet: Sheet, replacement: Replacement, agent: Agent) -> Placed | None:
    """One replacement on a sheet with unknown lines: it must fit one stretch of known lines and no other."""
    if not replacement.old:
        return None
    end = sheet.count
    fitting: list[tuple[int, list[str], list[str]]] = []
    for first, lines in sheet.runs():
        if replacement.first and (first > 1 or any(line.endswith("\r\n") for line in lines)):
            break  # the first place may lie before these lines; all other line ends change with these
        is_last = end is not None and first + len(lines) - 1 == end
        if replacement.at_end and not is_last:
            continue
        new = agent.replace("".join(lines), replacement)
        if new is None:
            continue
        if new and not new.endswith("\n") and not is_last:
            return None  # its last line runs into one that is not known
        fitting.append((first, lines, split_lines(new)))
    if not fitting or (len(fitting) > 1 and not replacement.everywhere):
        return None
    if replacement.everywhere and replacement.old.count("\n") != replacement.new.count("\n"):
        return None  # lines behind unseen occurrences would have moved
    for first, lines, changed in reversed(fitting):
        head, tail = common_ends(lines, changed)
        sheet.splice(first + head, first + len(lines) - tail - 1, changed[head : len(changed) - tail])
    return "partly" if replacement.everywhere else "exact"
